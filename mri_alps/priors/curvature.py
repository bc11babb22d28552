"""How sharply a log density bends where its score is known: what limits a sampler's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

N_ITERATIONS = 6
STEP = 0.3
"""Length of the difference quotient, in standard deviations of the whitened image."""
SHIFT = 3.0
"""Added to every eigenvalue, so that the largest positive one is that of largest modulus."""


def largest_curvature(
    score: Callable[[torch.Tensor], torch.Tensor],
    whiten: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    value: torch.Tensor,
    start: torch.Tensor,
    n_axes: int = 2,
) -> float:
    """Return the largest eigenvalue of W H W, H being minus the derivative of a score.

    Power iteration on differences of the score. Between the modes of a prior H has large
    negative eigenvalues, which limit no step: the iteration runs on W H W + `SHIFT`.

    Parameters
    ----------
    score : callable
        x -> score, of the shape of `x`.
    whiten : callable
        W, Hermitian, for example F^(-1/2) for a Fisher information F.
    x : torch.Tensor
        Complex or real (..., *image_shape), where the curvature is taken.
    value : torch.Tensor
        The score there, which callers have.
    start : torch.Tensor
        First direction, shape of `x`; random.
    n_axes : int
        Number of trailing axes that make up one image.

    Returns
    -------
    float
        Over all images; 0 where no curvature is positive.
    """
    direction, largest = _unit(start, n_axes), 0.0
    for _ in range(N_ITERATIONS):
        change = whiten(value - score(x + STEP * whiten(direction))) / STEP
        quotient = (direction.conj() * change).real.sum(tuple(range(-n_axes, 0)))
        largest = max(largest, float(quotient.max()))
        direction = _unit(change + SHIFT * direction, n_axes)
    return largest


def _unit(x: torch.Tensor, n_axes: int) -> torch.Tensor:
    norm = x.abs().square().sum(tuple(range(-n_axes, 0)), keepdim=True).sqrt()
    return x / norm.clamp_min(1e-30)
