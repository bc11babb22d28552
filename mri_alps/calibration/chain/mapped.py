"""Second stage: sensitivity maps of the whitened coils, given or estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.calibration.folding import Folding, find_folding, find_second_sets
from mri_alps.calibration.joint_estimation import complete_center
from mri_alps.calibration.noise import apply_to_coils
from mri_alps.calibration.region import MINIMUM_LINES, require
from mri_alps.calibration.sensitivity import (
    enlarge_readout,
    local_operators,
    maps_of,
    reduce_readout,
)
from mri_alps.calibration.support import (
    SignalBesideMaps,
    share_of_further_sets,
    signal_beside_maps,
)
from mri_alps.core.errors import ShapeError
from mri_alps.core.magnitudes import root_sum_of_squares, unit_of

if TYPE_CHECKING:
    from mri_alps.calibration.chain.whitened import WhitenedSlice


GIVEN = "user"
"""Source of maps from outside."""
_COMPLETED = "ESPIRiT of a centre completed by joint estimation"


@dataclass(frozen=True)
class MappedSlice:
    """A whitened slice with sensitivity maps.

    Parameters
    ----------
    whitened : WhitenedSlice
        The stage before.
    sensitivity_maps : torch.Tensor
        complex64 (coils, H, W) on the device, sum over coils of |S|^2 = 1 inside the support and
        0 outside.
    source : str
        `GIVEN`, "ESPIRiT", or "ESPIRiT of a centre completed by joint estimation".
    unexplained : SignalBesideMaps or None
        What maps from outside leave of the calibration region, if there is one.
    center : numpy.ndarray or None
        The centre of k-space that was completed where too little of it was measured.
    folding : Folding or None
        Where two places of the object share a pixel, if estimating the maps told of it.
    further_sets : float or None
        Part of the signal's norm that further sets of maps from outside take, if there are any;
        nan where the calibration region is too small to say.
    """

    whitened: WhitenedSlice
    sensitivity_maps: torch.Tensor
    source: str
    unexplained: SignalBesideMaps | None = None
    center: np.ndarray | None = None
    folding: Folding | None = None
    further_sets: float | None = None


def estimate_maps(whitened: WhitenedSlice, device: torch.device | str) -> MappedSlice:
    """Estimate maps from the calibration region; a single coil has the map 1.

    Of fewer than 8 lines all samples near the centre make a larger region (`complete_center`).

    Parameters
    ----------
    whitened : WhitenedSlice
        The slice.
    device : torch.device or str
        Where the maps lie.

    Raises
    ------
    InputFileError
        If the calibration region is too small, or holds only zeros.
    """
    raw, region = whitened.raw, whitened.region
    if raw.n_coils == 1:
        maps = torch.ones((1, *raw.shape), dtype=torch.complex64, device=device)
        return MappedSlice(whitened, maps, "ESPIRiT")
    require(raw, whitened.index, region)
    if min(region.size) < MINIMUM_LINES and region.is_part_of_scan:
        # An image of one set of maps completed it: it says nothing of a second.
        center, grid = _complete(whitened)
        maps = maps_of(local_operators(center, raw.shape, grid=grid, device=device))
        center = reduce_readout(center, grid[0], raw.shape[0])
        return MappedSlice(whitened, maps, _COMPLETED, center=center)
    operators = local_operators(region.kspace, raw.shape, device=device)
    return MappedSlice(whitened, maps_of(operators), "ESPIRiT", folding=find_folding(operators))


def _complete(whitened: WhitenedSlice) -> tuple[np.ndarray, tuple[int, int]]:
    """Complete the centre from all of the scan's samples near it; with its field of view's grid."""
    kspace = torch.as_tensor(whitened.kspace)
    mask = torch.as_tensor(whitened.measured).expand(kspace.shape[1:])
    if (mask == mask[:1]).all():  # whole lines
        kspace = enlarge_readout(kspace)
        mask = mask[:1].expand(kspace.shape[1:])
    return complete_center(kspace, mask).cpu().numpy(), (kspace.shape[1], kspace.shape[2])


def use_given_maps(
    whitened: WhitenedSlice, given: np.ndarray | torch.Tensor, device: torch.device | str
) -> MappedSlice:
    """Whiten and normalise maps from outside.

    Parameters
    ----------
    whitened : WhitenedSlice
        The slice.
    given : array
        Complex (coils, H, W), of the scan's own coils, in any normalisation; or (sets, coils, H,
        W), of which the first is used.
    device : torch.device or str
        Where the maps lie.

    Raises
    ------
    ShapeError
        If they do not fit the scan, or are not finite.
    """
    raw = whitened.raw
    array = given.cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    expected = (raw.n_coils, *raw.shape)
    sets = array[None] if array.ndim == 3 else array
    if (
        sets.ndim != 4
        or sets.shape[1:] != expected
        or not len(sets)
        or not np.isfinite(array).all()
    ):
        raise ShapeError(
            f"sensitivity maps of shape {array.shape} do not fit {raw.path}, which needs finite "
            f"maps of shape {expected} (coils, readout, phase encode), or several sets of them"
        )
    whitening, block = whitened.calibration.whitening, whitened.region.kspace
    maps = [apply_to_coils(whitening, one.astype(np.complex64)) for one in sets]
    unit = normalise(torch.as_tensor(maps[0], device=device))[0]
    further = _share_of_further_sets(block, maps) if len(maps) > 1 else None
    beside = signal_beside_maps(block, unit)
    return MappedSlice(whitened, unit, GIVEN, beside, further_sets=further)


def _share_of_further_sets(block: np.ndarray, maps: list[np.ndarray]) -> float:
    if min(block.shape[1:]) < MINIMUM_LINES or not block.any():
        return math.nan
    where = find_second_sets(local_operators(block, maps[0].shape[1:]))
    return share_of_further_sets(block, torch.as_tensor(np.stack(maps)), where)


def normalise(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide maps by their norm over coils; zero stays zero. Returns maps and norm.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (coils, H, W).
    """
    unit = unit_of(maps)
    maps = maps / unit
    norm = root_sum_of_squares(maps)
    return torch.where(norm > 0, maps / norm.clamp_min(1e-20), 0), norm * unit
