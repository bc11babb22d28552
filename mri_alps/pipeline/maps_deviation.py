"""Samples are given the deviation that the error of uncertain sensitivity maps brings about."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch

from mri_alps.calibration import DEVIATION_BLUR
from mri_alps.core.fourier import multiply_spectrum
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.core.solvers import conjugate_gradient

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition
    from mri_alps.sampling import PosteriorSamples

_ITERATIONS = 12
_STREAM = 3  # what the seeds of these draws have beside slice and sample


def with_maps_deviation(
    result: PosteriorSamples, acquisition: Acquisition, seed: int, index: int, first: int = 0
) -> PosteriorSamples:
    """Return samples with an error of the maps each, of the deviation that was measured of it.

    The mean stays. See `maps_errors`.

    Parameters
    ----------
    result : PosteriorSamples
        As they were drawn, with the maps of `acquisition`.
    acquisition : Acquisition
        Their slice.
    seed, index, first : int
        Of the draws: seed of the reconstruction, slice, and number of the first sample.
    """
    errors = maps_errors(acquisition, len(result.samples), seed, index, first)
    if errors is None:
        return result
    return dataclasses.replace(result, samples=result.samples + errors.to(result.samples.device))


def maps_errors(
    acquisition: Acquisition, count: int, seed: int, index: int, first: int = 0
) -> torch.Tensor | None:
    """Draw errors of the image that those of the maps bring about.

    An error is a smooth random field of unit variance times `maps_deviation`, less
    the part e that the data would see: with tau the root mean square of errors,

        min_u |A u|^2 / noise_std^2 + |u - e|^2 / tau^2.

    Images from two estimates of the maps differ by next to nothing on measured lines, since both
    explain these. The energy of the errors stays that of `maps_deviation`.

    Parameters
    ----------
    acquisition : Acquisition
        The slice.
    count : int
        How many.
    seed, index, first : int
        Of the draws: seed of the reconstruction, slice, and number of the first sample.

    Returns
    -------
    torch.Tensor or None
        Complex (count, H, W), of mean zero; None where the maps are certain, or for one sample.
    """
    deviation = acquisition.maps_deviation
    if deviation is None or count < 2:
        return None
    fields = [
        _smooth_field(acquisition.shape, stream_seed(seed, index, first + i, _STREAM))
        for i in range(count)
    ]
    errors = torch.stack(fields).to(deviation.device, acquisition.kspace.dtype) * deviation
    errors = _unseen(errors, acquisition)
    return errors - errors.mean(0)


def _unseen(errors: torch.Tensor, acquisition: Acquisition) -> torch.Tensor:
    """Errors without what the data would see, and of the same energy all together."""
    energy = errors.abs().square().mean()
    if not energy > 0:
        return errors
    operator = acquisition.operator()
    ratio = 2 * acquisition.noise_std**2 / energy.to(acquisition.kspace.device)
    seen = operator.normal(errors.to(acquisition.kspace.device))
    change = conjugate_gradient(lambda x: operator.normal(x) + ratio * x, seen, _ITERATIONS)
    unseen = errors - change.to(errors.device)
    left = unseen.abs().square().mean()
    # Where the data see all but a thousandth, what is left is the solver's rounding.
    return unseen * (energy / torch.maximum(left, 1e-3 * energy)).sqrt()


def _smooth_field(shape: tuple[int, int], seed: int) -> torch.Tensor:
    """Complex field, correlated over `DEVIATION_BLUR`, of unit mean squared magnitude."""
    white = standard_normal(shape, torch.Generator().manual_seed(seed), torch.complex64)
    y, x = (torch.fft.fftfreq(n, 1 / n) for n in shape)
    width = DEVIATION_BLUR * max(shape)
    distance = (y[:, None] / shape[0]).square() + (x / shape[1]).square()
    gauss = torch.exp(-2 * (math.pi * width) ** 2 * distance)
    smooth = multiply_spectrum(white, gauss, (-2, -1))
    return smooth / (2 * gauss.square().mean()).sqrt()
