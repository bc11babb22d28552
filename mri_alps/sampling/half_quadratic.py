"""A point estimate in seconds: half-quadratic splitting with the prior's denoiser plugged in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.core.errors import DivergenceError
from mri_alps.core.solvers import conjugate_gradient
from mri_alps.core.values import check, number, whole
from mri_alps.sampling.mirroring import mirror_axes_of, mirroring
from mri_alps.sampling.score import CountedScore, require_score_model

if TYPE_CHECKING:
    from mri_alps.inverse_problem import Problem
    from mri_alps.priors.protocol import ScoreModel

STEPS = 8
"""Of the published algorithm, as are the next two."""
START = 49 / 255
"""Highest noise level, of images whose largest magnitude is about one."""
WEIGHT = 0.23
"""Of the prior against the data."""
SOLVER_ITERATIONS = 20
"""Of equations that the paper solves in closed form; SENSE has none that is cheap."""

_RULES = {"n_steps": whole(1, 10_000), "weight": number(0), "start": number(0)}


def plug_and_play(
    score_model: ScoreModel,
    problem: Problem,
    n_steps: int = STEPS,
    weight: float = WEIGHT,
    start: float = START,
) -> tuple[torch.Tensor, int]:
    """Return DPIR's point estimate: no sample, and nothing that says how far it can be trusted.

    In turn argmin |y - A z|^2 + weight noise_std^2 / sigma^2 |z - x|^2 and the denoiser at sigma,
    which falls in geometric progression from `start` to the noise level of the data, within the
    noise levels of the prior; first x is A^H y.

    Parameters
    ----------
    score_model : ScoreModel
        With denoise(x, sigma), score, sigma_min, sigma_max; `denoise` is what is called.
    problem : Problem
        A, y and noise_std, see `make_problem`.
    n_steps : int
        Evaluations of the denoiser.
    weight : float
        Of the prior.
    start : float
        First sigma, per real component, in units of the image.

    Returns
    -------
    torch.Tensor
        The image, (*domain_shape).
    int
        Evaluations of the denoiser.

    Raises
    ------
    ConfigurationError
        If an argument does not fit.
    DivergenceError
        If the image is not finite.
    MriAlpsError
        If the prior has no denoiser that works.

    Notes
    -----
    Zhang, Li, Zuo, Zhang, Van Gool and Timofte, "Plug-and-Play Image Restoration with Deep Denoiser
    Prior", IEEE TPAMI 44:6360 (2022), algorithm 1, with a denoiser of complex images. Where the
    prior's images may be mirrored, each step does so in another way, in turn and not at random as
    Terris et al., "Equivariant plug-and-play image reconstruction", CVPR 2024, do.
    """
    check("plug_and_play", _RULES, locals())
    require_score_model(score_model)
    score = CountedScore(score_model)
    axes = mirror_axes_of(score_model, len(problem.image_shape))
    highest = min(start, score.sigma_max)
    end = min(max(float(problem.noise_std.max()), score.sigma_min), highest)
    x = problem.back_projection[None]
    with torch.no_grad():
        for step, sigma in enumerate(np.geomspace(highest, end, n_steps).tolist()):
            z = proximal(problem, x, weight * problem.noise_std**2 / sigma**2)
            flipped = mirroring(step, axes)
            x = score.denoise(z.flip(flipped), sigma).flip(flipped)
    if not bool(torch.isfinite(torch.view_as_real(x) if x.is_complex() else x).all()):
        raise DivergenceError(
            "the point estimate is not finite: the prior's denoiser diverged, or noise_std is not "
            "that of the data",
            level=-1,
            step=score.count,
            magnitude=math.inf,
        )
    return x[0], score.count


def proximal(
    problem: Problem,
    x: torch.Tensor,
    rho: float | torch.Tensor,
    n_iterations: int = SOLVER_ITERATIONS,
) -> torch.Tensor:
    """Return argmin |y - A z|^2 + rho |z - x|^2 by conjugate gradients that start at x.

    Parameters
    ----------
    problem : Problem
        A and y.
    x : torch.Tensor
        (n, *domain_shape).
    rho : float or torch.Tensor
        Positive; (B, 1, ...) for a batch of slices.
    n_iterations : int
        Of conjugate gradients.

    Returns
    -------
    torch.Tensor
        (n, *domain_shape).
    """
    return conjugate_gradient(
        lambda z: problem.normal(z) + rho * z,
        problem.back_projection + rho * x,
        n_iterations,
        n_axes=len(problem.image_shape),
        x=x,
    )
