"""Samples are given the deviations that left-out samples call for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.solvers import conjugate_gradient

if TYPE_CHECKING:
    from mri_alps.operators import LinearOperator
    from mri_alps.uncertainty.factors import UncertaintyFactors

_ITERATIONS = 12


def scale_deviations(
    samples: torch.Tensor,
    factors: UncertaintyFactors,
    operator: LinearOperator,
    noise_std: float,
) -> torch.Tensor:
    """Scale the deviations of samples from their mean, where the data leave them open.

    With d a sample's deviation and G the factors as a filter of |k|, the new deviation u solves

        min_u |A (u - d)|^2 / noise_std^2 + |u - G d|^2 / tau^2,

    with tau the root mean square of G d: directions that the data determine keep the deviation
    that the noise gives them, so that measured samples stay explained to their noise.

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
    """
    mean = samples.mean(0)
    deviation = samples - mean
    shape = (samples.shape[-2], samples.shape[-1])
    gain = torch.as_tensor(factors.filter(shape), device=samples.device)
    scaled = ifftc(gain * fftc(deviation))
    energy = scaled.abs().square().mean(0)
    variance = energy[energy > 0.1 * energy.max()].mean() / 2
    if not variance > 0:
        return samples
    ratio = noise_std**2 / variance
    target = operator.normal(deviation - scaled)
    change = conjugate_gradient(
        lambda x: operator.normal(x) + ratio * x, target, _ITERATIONS, samples.ndim - 1
    )
    changed = scaled + change
    return mean + changed - changed.mean(0)  # iterations that end early would move it
