"""Fifth stage: how far each measured line or sample is trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from mri_alps.calibration.chain.mapped import GIVEN
from mri_alps.calibration.chain.scaled import FEW_LINES
from mri_alps.calibration.line_weights import (
    LARGEST_ERROR,
    MAPS_ERROR,
    UNCERTAIN_ERROR,
    sampling_weights,
    spread_over_lines,
)
from mri_alps.calibration.maps_error import MapsError, fit_maps_error
from mri_alps.calibration.region import MINIMUM_LINES

if TYPE_CHECKING:
    from mri_alps.calibration.chain.compressed import CompressedSlice


@dataclass(frozen=True)
class WeightedSlice:
    """A slice with what is allowed for its maps.

    Parameters
    ----------
    compressed : CompressedSlice
        The stage before.
    weights : torch.Tensor or None
        See `Acquisition`; None for a single coil, which has no maps that could be wrong, with noise
        alike in all lines.
    maps_error : float or None
        Relative error of the maps that the weights allow for.
    found : MapsError or None
        What the data call for, if they were asked.
    line_noise : torch.Tensor or None
        See `Acquisition`.
    """

    compressed: CompressedSlice
    weights: torch.Tensor | None = None
    maps_error: float | None = None
    found: MapsError | None = None
    line_noise: torch.Tensor | None = None


def weigh(compressed: CompressedSlice, maps_error: float | None = None) -> WeightedSlice:
    """Weigh the samples of a slice of several coils.

    Parameters
    ----------
    compressed : CompressedSlice
        The slice.
    maps_error : float, optional
        Relative error of the maps to allow for; what the data call for if left out.
    """
    weighted = _weigh(compressed, maps_error)
    scaled = compressed.scaled
    spectrum = scaled.whitened.calibration.noise_spectrum
    if spectrum is None:
        return weighted
    line_noise = torch.as_tensor(spectrum.line_noise).to(scaled.mask.device, torch.float32)
    allowance = 0 if weighted.weights is None else weighted.weights.double().pow(-2) - 1
    weights = (line_noise.double().square() + allowance).rsqrt().to(torch.float32)
    weights = torch.where(scaled.mask, weights, torch.ones_like(weights))
    return replace(weighted, weights=weights, line_noise=line_noise)


def _weigh(compressed: CompressedSlice, maps_error: float | None) -> WeightedSlice:
    """Weigh samples whose noise is alike in all lines."""
    scaled, kspace = compressed.scaled, compressed.kspace
    if scaled.whitened.raw.n_coils == 1:
        return WeightedSlice(compressed)
    mask, noise_std = scaled.mask, scaled.noise_std
    if maps_error is not None:
        weights = sampling_weights(kspace, mask, noise_std, maps_error)
        return WeightedSlice(compressed, weights, maps_error)
    if scaled.refined is not None and compressed.compression is None:
        found = scaled.refined.error
    else:  # maps from outside are used as they were given: no more is allowed for than usual
        largest = MAPS_ERROR if scaled.mapped.source == GIVEN else LARGEST_ERROR
        maps, path = compressed.sensitivity_maps, scaled.trajectory
        found = fit_maps_error(kspace, mask, maps, noise_std, largest, path)
    n_lines = min(scaled.whitened.region.size)
    if mask.ndim > 1 or n_lines >= FEW_LINES or scaled.mapped.source == GIVEN:
        return WeightedSlice(compressed, found.weights, found.relative_error, found)
    if n_lines < MINIMUM_LINES:
        weights = sampling_weights(kspace, mask, noise_std, UNCERTAIN_ERROR, found.noise_factor)
        found = found._replace(weights=weights, relative_error=UNCERTAIN_ERROR)
    weights = spread_over_lines(found.weights, mask)
    return WeightedSlice(compressed, weights, found.relative_error, found)
