"""Samples are given the deviations that left-out samples call for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.solvers import conjugate_gradient
from mri_alps.uncertainty.factors import frequency_radius

if TYPE_CHECKING:
    from mri_alps.operators import LinearOperator
    from mri_alps.uncertainty.factors import UncertaintyFactors

_ITERATIONS = 12
_RINGS = 16  # of |k| in which deviations are averaged; the last one holds the corners


def scale_deviations(
    samples: torch.Tensor,
    factors: UncertaintyFactors,
    operator: LinearOperator,
    noise_std: float,
) -> torch.Tensor:
    """Scale the deviations of samples from their mean, where the data leave them open.

    With d a sample's deviation and G the factors as a filter of |k|, the new deviation u solves

        min_u |A (u - d)|^2 / noise_std^2 + |T^-1 (u - G d)|^2.

    T^2 is the variance that d has at this |k| or farther out, but not more than its mean over
    bright pixels, times (1 + g) / (2 g), with g the overall factor. Directions that the data
    determine keep the deviation that the noise gives them, so that measured samples stay explained
    to their noise.

    Parameters
    ----------
    samples : torch.Tensor
        Complex (n, H, W), or (n, sets, H, W) of several sets of maps.
    factors : UncertaintyFactors
        From `fit_factors`.
    operator : LinearOperator
        A, with its weights.
    noise_std : float
        Per real component.

    Returns
    -------
    torch.Tensor
        Complex, of the shape and the mean of `samples`.

    Notes
    -----
    Of a direction where data of the signal-to-noise ratio s^(1/2) meet a prior whose standard
    deviation is g times too small, the error has 1 + (g^2 - 1) / (1 + s) times the variance that
    the posterior says. That of u has (1 + (g - 1) / (1 + (1 + g) s / (2 g)))^2 times as much: the
    same to first order in s where data say little, and at most a ninth less of the change for a
    factor of 2 where they decide.
    """
    mean = samples.mean(0)
    deviation = samples - mean
    shape = (samples.shape[-2], samples.shape[-1])
    gain = torch.as_tensor(factors.filter(shape), device=samples.device)
    scaled = ifftc(gain * fftc(deviation))
    spread = _spread(deviation) * math.sqrt((1 + factors.overall) / (2 * factors.overall))
    if not spread.any():
        return samples

    def open_part(x: torch.Tensor) -> torch.Tensor:
        return ifftc(spread * fftc(x))

    change = conjugate_gradient(
        lambda x: open_part(operator.normal(open_part(x))) + noise_std**2 * x,
        open_part(operator.normal(deviation - scaled)),
        _ITERATIONS,
        samples.ndim - 1,
    )
    changed = scaled + open_part(change)
    return mean + changed - changed.mean(0)  # iterations that end early would move it


def _spread(deviation: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each frequency, per real component, (H, W).

    It stands for what would be open if nothing were measured there, of which an image has more at
    low frequencies: no ring has less than those around it, as the fully sampled centre would. What
    bright pixels have on average bounds it, so that a few iterations solve for it.
    """
    energy = deviation.abs().square().mean(0)
    bright = energy[energy > 0.1 * energy.max()]
    largest = bright.mean() / 2 if bright.numel() else energy.new_zeros(())
    power = fftc(deviation).abs().square().mean(0) / 2
    power = power.reshape(-1, *power.shape[-2:]).mean(0)
    radius = torch.as_tensor(frequency_radius((power.shape[0], power.shape[1])))
    ring = (_RINGS * radius).long().clamp(max=_RINGS - 1).to(power.device)
    total = torch.bincount(ring.flatten(), power.flatten().double(), _RINGS)
    mean = total / torch.bincount(ring.flatten(), minlength=_RINGS).clamp_min(1)
    mean = mean.flip(0).cummax(0).values.flip(0)
    return torch.minimum(mean[ring].to(power.dtype), largest).sqrt()
