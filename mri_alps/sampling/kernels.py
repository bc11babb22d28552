"""Langevin kernels: pure functions from state to state.

Both move towards the posterior with drift = gradient of its log density; they differ in how
noise enters, and so in the bias that a finite step leaves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from mri_alps.inverse_problem import CovarianceAtLevel, Solution


def leimkuhler_matthews_step(
    drift: torch.Tensor,
    covariance: CovarianceAtLevel,
    step_size: float,
    noise: torch.Tensor,
    following_noise: torch.Tensor,
) -> Solution:
    """One preconditioned step, a M drift + sqrt(2 a) M^(1/2) (xi_k + xi_(k+1)) / 2.

    On a Gaussian target the stationary law of x is exact at any stable step, where
    Euler-Maruyama inflates the variance by 1 / (1 - a/2) (Leimkuhler and Matthews, Appl Math
    Res Express 2013:34).

    Parameters
    ----------
    drift : torch.Tensor
        Spectrum of the gradient of the log posterior at the state, (n, *domain_shape).
    covariance : CovarianceAtLevel
        M, the inverse of the level's S.
    step_size : float
        a; stable below 2 / (largest curvature relative to M).
    noise, following_noise : torch.Tensor
        xi_k, used by the step before, and xi_(k+1), as `PosteriorCovariance.draw` returns them.

    Returns
    -------
    Solution
        What is to be added to the state.
    """
    fluctuation = math.sqrt(step_size / 2) * (noise + following_noise)
    return covariance.solve(covariance.perturbation(fluctuation).add_(drift, alpha=step_size))


def euler_maruyama_step(
    x: torch.Tensor, drift: torch.Tensor, step_size: float | torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """One step of dx = drift dt + sqrt(2) dB: x + h drift + sqrt(2 h) noise.

    Parameters
    ----------
    x : torch.Tensor
        (n, *domain_shape).
    drift : torch.Tensor
        Gradient of the log density at x.
    step_size : float or torch.Tensor
        h; stable below 2 / (largest curvature).
    noise : torch.Tensor
        Unit noise shaped as x.
    """
    root = (2 * torch.as_tensor(step_size)).sqrt().to(x.device)
    return x + step_size * drift + root.to(x.real.dtype) * noise
