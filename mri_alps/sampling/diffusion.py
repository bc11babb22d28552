"""Unconditional reverse diffusion: drawing from the prior, or from p(x | noisy x)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from mri_alps.sampling.score import Score


def ancestral_step(
    x: torch.Tensor,
    mean: torch.Tensor,
    variance: float,
    following: float,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Go from smoothing variance v to w < v given the posterior mean D of the clean image.

    x' = (w/v) x + (1 - w/v) D + sqrt(w (1 - w/v)) noise: the law of x_w given x_v and x_0 = D
    (the ancestral step of denoising diffusion, variance-exploding form).

    Parameters
    ----------
    x, mean, noise : torch.Tensor
        (n, *domain_shape).
    variance, following : float
        v and w, per real component.
    """
    ratio = following / variance
    return ratio * x + (1 - ratio) * mean + math.sqrt(following * (1 - ratio)) * noise


def reverse_diffusion(
    score: Score,
    x: torch.Tensor,
    sigmas: Sequence[float],
    draw_noise: Callable[[], torch.Tensor],
    on_step: Callable[[int, float, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Run the reverse SDE through `sigmas`, one evaluation for each but the last.

    Parameters
    ----------
    score : object
        With score(x, sigma) and sigma_min, which stands for the prior itself.
    x : torch.Tensor
        State at the first level, (n, *domain_shape).
    sigmas : sequence of float
        Decreasing; the last is where the result lies.
    draw_noise : callable
        Returns unit noise shaped as x.
    on_step : callable, optional
        Told index, level and state after each step.
    """
    base = score.sigma_min**2
    for index, (sigma, lower) in enumerate(itertools.pairwise(sigmas)):
        variance, following = sigma**2 - base, max(lower**2 - base, 0.0)
        mean = x + variance * score.score(x, sigma)
        x = ancestral_step(x, mean, variance, following, draw_noise())
        if on_step is not None:
            on_step(index, lower, x)
    return x
