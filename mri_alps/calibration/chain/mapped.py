"""Second stage: sensitivity maps of the whitened coils, given or estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.calibration.noise import apply_to_coils
from mri_alps.calibration.region import require
from mri_alps.calibration.sensitivity import estimate_sensitivity_maps
from mri_alps.calibration.support import SignalBesideMaps, signal_beside_maps
from mri_alps.core.errors import ShapeError
from mri_alps.core.magnitudes import root_sum_of_squares, unit_of

if TYPE_CHECKING:
    from mri_alps.calibration.chain.whitened import WhitenedSlice


GIVEN = "user"
"""Source of maps from outside."""


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
        `GIVEN` or "ESPIRiT".
    unexplained : SignalBesideMaps or None
        What maps from outside leave of the calibration region, if there is one.
    """

    whitened: WhitenedSlice
    sensitivity_maps: torch.Tensor
    source: str
    unexplained: SignalBesideMaps | None = None


def estimate_maps(whitened: WhitenedSlice, device: torch.device | str) -> MappedSlice:
    """Estimate maps from the calibration region; a single coil has the map 1.

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
    if raw.n_coils > 1:
        require(raw, whitened.index, region)
        maps = estimate_sensitivity_maps(region.kspace, raw.shape, noise_std=1.0, device=device)
    else:
        maps = torch.ones((1, *raw.shape), dtype=torch.complex64, device=device)
    return MappedSlice(whitened, maps, "ESPIRiT")


def use_given_maps(
    whitened: WhitenedSlice, given: np.ndarray | torch.Tensor, device: torch.device | str
) -> MappedSlice:
    """Whiten and normalise maps from outside.

    Parameters
    ----------
    whitened : WhitenedSlice
        The slice.
    given : array
        Complex (coils, H, W), of the scan's own coils, in any normalisation.
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
    if array.shape != expected or not np.isfinite(array).all():
        raise ShapeError(
            f"sensitivity maps of shape {array.shape} do not fit {raw.path}, which needs finite "
            f"maps of shape {expected} (coils, readout, phase encode)"
        )
    maps = apply_to_coils(whitened.calibration.whitening, array.astype(np.complex64))
    unit = normalise(torch.as_tensor(maps, device=device))[0]
    return MappedSlice(whitened, unit, GIVEN, signal_beside_maps(whitened.region.kspace, unit))


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
