"""Second stage: sensitivity maps of the whitened coils, given or estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.calibration.folding import Folding, find_folding
from mri_alps.calibration.joint_estimation import complete_center
from mri_alps.calibration.noise import apply_to_coils
from mri_alps.calibration.probable_center import complete_probably
from mri_alps.calibration.region import MINIMUM_LINES, require
from mri_alps.calibration.sensitivity import (
    central_block,
    enlarge_readout,
    local_operators,
    maps_of,
    reduce_readout,
)
from mri_alps.calibration.sets import (
    Completion,
    MapSets,
    complete_sets,
    estimate_sets,
    orthonormal_sets,
    powers_of_sets,
    turned_to_signal,
)
from mri_alps.calibration.support import SignalBesideMaps, signal_beside_maps
from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.core.magnitudes import root_sum_of_squares, unit_of

if TYPE_CHECKING:
    from mri_alps.calibration.chain.whitened import WhitenedSlice
    from mri_alps.rawdata import RawKSpace


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
        0 outside: the first set.
    source : str
        `GIVEN`, "ESPIRiT", or "ESPIRiT of a centre completed by joint estimation".
    unexplained : SignalBesideMaps or None
        What maps from outside leave of the calibration region, if there is one.
    center : numpy.ndarray or None
        The centre of k-space that was completed where too little of it was measured.
    folding : Folding or None
        Where two places of the object share a pixel, if estimating the maps told of it.
    further : torch.Tensor or None
        complex64 (sets - 1, coils, H, W), further sets where they are used, see `MapSets`.
    powers : tuple of float
        Of their images over that of the first.
    completion : Completion or None
        What of maps from outside was replaced, if there was a calibration region to judge them.
    n_given : int
        Sets of maps from outside.
    alternative : MappedSlice or None
        The same with maps of a second estimate, where too little of the centre was measured for
        one to be sure (`complete_probably`); or maps from outside, completed (`complete_sets`).
    """

    whitened: WhitenedSlice
    sensitivity_maps: torch.Tensor
    source: str
    unexplained: SignalBesideMaps | None = None
    center: np.ndarray | None = None
    folding: Folding | None = None
    further: torch.Tensor | None = None
    powers: tuple[float, ...] = ()
    completion: Completion | None = None
    n_given: int = 0
    alternative: MappedSlice | None = None


def estimate_maps(
    whitened: WhitenedSlice, device: torch.device | str, n_maps: int | None = None
) -> MappedSlice:
    """Estimate maps from the calibration region; a single coil has the map 1.

    Of fewer than 8 lines all samples near the centre make a larger region (`complete_center`).

    Parameters
    ----------
    whitened : WhitenedSlice
        The slice.
    device : torch.device or str
        Where the maps lie.
    n_maps : int, optional
        Sets of maps; two where the object is larger than the field of view, else one, if left out.

    Raises
    ------
    InputFileError
        If the calibration region is too small, or holds only zeros.
    ConfigurationError
        If more sets are asked for than can be estimated.
    """
    raw, region = whitened.raw, whitened.region
    _require_coils(whitened, n_maps)
    if raw.n_coils == 1:
        maps = torch.ones((1, *raw.shape), dtype=torch.complex64, device=device)
        return MappedSlice(whitened, maps, "ESPIRiT")
    require(raw, whitened.index, region)
    if min(region.size) < MINIMUM_LINES and region.is_part_of_scan:
        # An image of one set of maps completed it: it says nothing of a second.
        if n_maps is not None and n_maps > 1:
            raise ConfigurationError(
                f"n_maps is {n_maps}, and {whitened.name} has a calibration region of "
                f"{region.size[0]}x{region.size[1]}, where several sets of maps need "
                f"{MINIMUM_LINES} lines at least: leave n_maps out, or give maps"
            )
        centers, grid = _complete(whitened)
        first, second = (_of_center(whitened, center, grid, device) for center in centers)
        return replace(first, alternative=second)
    operators = local_operators(region.kspace, raw.shape, device=device)
    folding = find_folding(operators)
    n_sets = n_maps or (2 if _needs_second_set(folding, raw) else 1)
    if n_sets == 1:
        return MappedSlice(whitened, maps_of(operators), "ESPIRiT", folding=folding)
    mapped = _of_sets(whitened, "ESPIRiT", estimate_sets(operators, n_sets))
    return replace(mapped, folding=folding)


def _needs_second_set(folding: Folding, raw: RawKSpace) -> bool:
    """Whether one set of maps is not enough; along the readout, nothing folds from the border."""
    at_border = folding.reaches_border and raw.axes[folding.axis] != "readout"
    return folding.is_smaller_field_of_view or at_border


def _of_sets(whitened: WhitenedSlice, source: str, sets: MapSets) -> MappedSlice:
    """Take several sets, or the first alone where the others are nowhere needed."""
    first = sets.maps[0]
    if len(sets.maps) == 1 or not bool(sets.several.any()):
        return MappedSlice(whitened, first, source)
    powers = (1.0,) * (len(sets.maps) - 1)
    if _is_calibrated(whitened):
        powers = powers_of_sets(sets, central_block(whitened.region.kspace))
    return MappedSlice(whitened, first, source, further=sets.maps[1:], powers=powers)


def _is_calibrated(whitened: WhitenedSlice) -> bool:
    """Whether there are calibration lines enough to judge maps by."""
    block = whitened.region.kspace
    return min(block.shape[1:]) >= MINIMUM_LINES and bool(block.any())


def _require_coils(whitened: WhitenedSlice, n_maps: int | None) -> None:
    if n_maps is not None and n_maps > whitened.raw.n_coils:
        raise ConfigurationError(
            f"n_maps is {n_maps}, and {whitened.raw.path} has {whitened.raw.n_coils} coils: "
            "expected no more sets of maps than coils"
        )


def _complete(whitened: WhitenedSlice) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Complete the centre in two ways, from all samples near it; with its field of view's grid."""
    kspace = torch.as_tensor(whitened.kspace)
    mask = torch.as_tensor(whitened.measured).expand(kspace.shape[1:])
    if (mask == mask[:1]).all():  # whole lines
        kspace = enlarge_readout(kspace)
        mask = mask[:1].expand(kspace.shape[1:])
    ratio = (kspace.shape[1] / whitened.raw.shape[0], 1.0)
    centers = [
        complete_center(kspace, mask),
        complete_probably(kspace, mask, whitened.region.size, field_of_view=ratio),
    ]
    return [one.cpu().numpy() for one in centers], (kspace.shape[1], kspace.shape[2])


def _of_center(
    whitened: WhitenedSlice,
    center: np.ndarray,
    grid: tuple[int, int],
    device: torch.device | str,
) -> MappedSlice:
    """Take ESPIRiT's maps of a completed centre."""
    shape = whitened.raw.shape
    maps = maps_of(local_operators(center, shape, grid=grid, device=device))
    return MappedSlice(whitened, maps, _COMPLETED, center=reduce_readout(center, grid[0], shape[0]))


def use_given_maps(
    whitened: WhitenedSlice,
    given: np.ndarray | torch.Tensor,
    device: torch.device | str,
    n_maps: int | None = None,
) -> MappedSlice:
    """Whiten and normalise maps from outside, and look at them with the calibration region.

    Parameters
    ----------
    whitened : WhitenedSlice
        The slice.
    given : array
        Complex (coils, H, W), of the scan's own coils, in any normalisation; or (sets, coils, H,
        W).
    device : torch.device or str
        Where the maps lie.
    n_maps : int, optional
        Sets of maps that are used. Left out: several where the object is larger than the field of
        view, else one; all that are given where there is no calibration region to tell.

    Raises
    ------
    ShapeError
        If they do not fit the scan, or are not finite.
    ConfigurationError
        If more sets are asked for than there can be.
    """
    raw, block = whitened.raw, whitened.region.kspace
    sets = _checked(raw, given)
    _require_coils(whitened, n_maps)
    whitening = whitened.calibration.whitening
    maps = torch.as_tensor(
        np.stack([apply_to_coils(whitening, one.astype(np.complex64)) for one in sets]),
        device=device,
    )
    # The centre of k-space along a trajectory is a fit, with noise of its own.
    is_fit = whitened.trajectory is not None
    if raw.n_coils == 1 or is_fit or not _is_calibrated(whitened):
        n_sets = n_maps or len(maps)
        if n_sets > len(maps):
            raise ConfigurationError(
                f"n_maps is {n_maps}, and {len(maps)} sets of maps are given for {whitened.name}, "
                "which has no calibration region to estimate further ones of: give as many, or "
                "leave n_maps out"
            )
        mapped = _of_sets(whitened, GIVEN, orthonormal_sets(maps[:n_sets]))
    else:
        operators = local_operators(block, raw.shape, device=device)
        folding = find_folding(operators)
        found, completion = complete_sets(maps, operators, n_maps or 2)
        n_sets = n_maps or (len(found.maps) if _needs_second_set(folding, raw) else 1)
        mapped = _of_sets(whitened, GIVEN, MapSets(found.maps[:n_sets], found.several))
        mapped = replace(mapped, folding=folding, completion=completion)
        if len(sets) == n_sets == 1:
            # Images of few calibration lines leave signal across good maps, too: all data decide.
            own = turned_to_signal(maps[0], operators)
            kept = Completion(0.0, completion.part)
            other = _judged(mapped, block, 1) if completion.across > 0 else None
            mapped = replace(mapped, sensitivity_maps=own, completion=kept, alternative=other)
    return _judged(mapped, block, len(sets))


def _judged(mapped: MappedSlice, block: np.ndarray, n_given: int) -> MappedSlice:
    beside = signal_beside_maps(block, mapped.sensitivity_maps)
    return replace(mapped, unexplained=beside, n_given=n_given)


def _checked(raw: RawKSpace, given: np.ndarray | torch.Tensor) -> np.ndarray:
    """Return maps from outside with an axis of sets."""
    array = given.cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    expected = (raw.n_coils, *raw.shape)
    sets = array[None] if array.ndim == 3 else array
    if sets.ndim != 4 or sets.shape[1:] != expected or not 0 < len(sets) <= raw.n_coils:
        raise ShapeError(
            f"sensitivity maps of shape {array.shape} do not fit {raw.path}, which needs maps of "
            f"shape {expected} (coils, readout, phase encode), or several sets of them"
        )
    if not np.isfinite(array).all() or not sets[0].any():
        found = "zero everywhere" if np.isfinite(array).all() else "not finite everywhere"
        raise ConfigurationError(
            f"the sensitivity maps that are given for {raw.path} are {found}: hand in others, with "
            "zeros where no coil sees anything, or leave them out"
        )
    return sets


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
