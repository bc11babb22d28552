"""Langevin kernels: pure functions from state to state.

Both move towards the posterior with drift = gradient of its log density; they differ in how
noise enters, and so in the bias that a finite step leaves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

if TYPE_CHECKING:
    from mri_alps.sampling.noise import ChainNoise


class Covariance(Protocol):
    """M of a Langevin step, with noise of that covariance."""

    def apply(self, drift: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return M drift + M^(1/2) noise."""

    def draw(self, noise: ChainNoise) -> torch.Tensor:
        """Draw what `apply` takes for noise."""


class LangevinState(NamedTuple):
    """State of a batch of chains between two Leimkuhler-Matthews steps.

    Attributes
    ----------
    x : torch.Tensor
        (n, *domain_shape).
    noise : torch.Tensor
        White noise of the last step, used again by the next; same shape.
    """

    x: torch.Tensor
    noise: torch.Tensor


def init_langevin(x: torch.Tensor, noise: torch.Tensor) -> LangevinState:
    """Start chains at `x`.

    Parameters
    ----------
    x : torch.Tensor
        (n, *domain_shape).
    noise : torch.Tensor
        White, unit variance per real component, same shape.
    """
    return LangevinState(x, noise)


def leimkuhler_matthews_step(
    state: LangevinState,
    drift: torch.Tensor,
    preconditioner: Covariance,
    step_size: float,
    noise: torch.Tensor,
) -> LangevinState:
    """One preconditioned step, x + a M drift + sqrt(2 a) M^(1/2) (xi_k + xi_(k+1)) / 2.

    On a Gaussian target the stationary law of x is exact at any stable step, where
    Euler-Maruyama inflates the variance by 1 / (1 - a/2) (Leimkuhler and Matthews, Appl Math
    Res Express 2013:34).

    Parameters
    ----------
    state : LangevinState
        Where the chains are.
    drift : torch.Tensor
        Gradient of the log posterior at `state.x`.
    preconditioner : Preconditioner
        M, set to the level's Fisher information and noise.
    step_size : float
        a; stable below 2 / (largest curvature relative to M).
    noise : torch.Tensor
        White noise xi_(k+1), unit variance per real component.
    """
    fluctuation = math.sqrt(step_size / 2) * (state.noise + noise)
    return LangevinState(state.x + preconditioner.apply(step_size * drift, fluctuation), noise)


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
