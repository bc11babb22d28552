"""Two published samplers, for comparison: annealed Langevin of csgm-mri-langevin, and DPS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError, DivergenceError
from mri_alps.sampling.diffusion import ancestral_step
from mri_alps.sampling.kernels import euler_maruyama_step
from mri_alps.sampling.result import PosteriorSamples, StepInfo
from mri_alps.sampling.schedules import karras_ladder
from mri_alps.sampling.score import CountedScore

if TYPE_CHECKING:
    from mri_alps.sampling.task import SamplingTask

CSGM_STEPS_PER_LEVEL = 3
CSGM_STEP = 0.5
DPS_SCALE = 1.0


def sample_csgm(task: SamplingTask, step: float = CSGM_STEP) -> PosteriorSamples:
    """Annealed Langevin dynamics for MRI of Jalal et al. (NeurIPS 2021).

    x + a (s_sigma(x) + A^H (y - A x) / (noise_std^2 + sigma^2)) + sqrt(2 a) noise with
    a = `step` sigma^2, three steps a level, levels in geometric progression from the scale of
    sigma_max. The step is that of the paper's text; its code rescales the data gradient by
    norms taken over the batch, which couples the samples and is left out.

    Parameters
    ----------
    task : SamplingTask
        What to sample.
    step : float
        Of the square of the noise level; the published one is 0.5.
    """
    problem, score = task.problem, CountedScore(task.score_model, task.n_evaluations)
    noise = task.noise()
    n_levels = max(1, task.n_evaluations // CSGM_STEPS_PER_LEVEL)
    # A ladder with a large rho is geometric.
    ladder = karras_ladder(score.sigma_max, score.sigma_min, n_levels, rho=1e3)
    x = score.sigma_max * noise.image()
    levels = []
    for level, sigma in enumerate(ladder):
        noise_std = (problem.noise_std**2 + sigma**2).sqrt()
        step_size = step * sigma**2
        for _ in range(CSGM_STEPS_PER_LEVEL):
            if score.count >= task.n_evaluations:
                break
            drift = score.score(x, sigma) + problem.data_gradient(x, noise_std)
            x = euler_maruyama_step(x, drift, step_size, noise.image())
            _tell(task, score.count, level, sigma, x)
        levels.append({"sigma": sigma, "noise_std": noise_std.flatten().tolist()})
        levels[-1]["step_size"] = step_size
    return _result(task, score, x, levels)


def sample_dps(task: SamplingTask, scale: float = DPS_SCALE) -> PosteriorSamples:
    """Diffusion posterior sampling of Chung et al. (ICLR 2023), Algorithm 1.

    Ancestral sampling in the variance-preserving parametrisation, after each step moved by
    zeta' / |y - A D| times the gradient of |y - A D|^2 with respect to the noisy image. The
    gradient goes through the denoiser.

    Parameters
    ----------
    task : SamplingTask
        What to sample.
    scale : float
        zeta'.

    Raises
    ------
    ConfigurationError
        If the denoiser does not pass gradients on.
    """
    problem, score = task.problem, CountedScore(task.score_model, task.n_evaluations)
    noise = task.noise()
    ladder = vp_ladder(score.sigma_min, score.sigma_max, task.n_evaluations)
    x = ladder[0] * noise.image()
    levels = []
    for level, sigma in enumerate(ladder):
        following = ladder[level + 1] if level + 1 < len(ladder) else 0.0
        mean, gradient = _guidance(task, score, x, sigma)
        # One step of size zeta in x / sqrt(1 + sigma^2), brought back.
        step_size = scale * math.sqrt((1 + sigma**2) * (1 + following**2))
        x = ancestral_step(x, mean, sigma**2, following**2, noise.image())
        x = x - step_size * gradient
        levels.append({"sigma": sigma, "noise_std": problem.noise_std.flatten().tolist()})
        levels[-1]["step_size"] = step_size
        _tell(task, score.count, level, sigma, x)
    return _result(task, score, x, levels)


def _guidance(
    task: SamplingTask, score: CountedScore, x: torch.Tensor, sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Denoised image, and twice the gradient of |y - A D(x)| for each sample."""
    problem = task.problem
    with torch.enable_grad():
        point = x.detach().requires_grad_(True)
        mean = score.denoise(point, sigma)
        if not mean.requires_grad:
            raise ConfigurationError(
                "dps differentiates through the denoiser, and this prior's denoise passes no "
                "gradients on: use another method, or a denoise without torch.no_grad"
            )
        residual = problem.data - problem.forward(mean)
        axes = tuple(range(-len(problem.data_shape), 0))
        norms = residual.abs().square().sum(axes).clamp_min(1e-30).sqrt()
        (gradient,) = torch.autograd.grad(norms.sum(), point)
    return mean.detach(), 2 * gradient


def vp_ladder(sigma_min: float, sigma_max: float, n: int) -> list[float]:
    """Noise levels of DDPM's linear schedule (beta 1e-4 to 0.02, 1000 steps), n of them.

    Parameters
    ----------
    sigma_min, sigma_max : float
        Levels outside are left out.
    n : int
        How many.

    Returns
    -------
    list of float
        Decreasing, per unit of the clean image.
    """
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = torch.cumprod(1 - beta, 0)
    sigmas = ((1 - kept) / kept).sqrt()
    inside = sigmas[(sigmas >= sigma_min) & (sigmas <= sigma_max)]
    if not len(inside):
        return karras_ladder(sigma_max, sigma_min, n)
    index = torch.linspace(len(inside) - 1, 0, n).round().long()
    return [float(sigma) for sigma in inside[index]]


def _tell(task: SamplingTask, step: int, level: int, sigma: float, x: torch.Tensor) -> None:
    if task.callback is not None:
        task.callback(StepInfo(step, task.n_evaluations, level, sigma, "anneal", x))


def _result(
    task: SamplingTask, score: CountedScore, x: torch.Tensor, levels: list[dict]
) -> PosteriorSamples:
    misfit = task.problem.misfit(x)
    if not bool(torch.isfinite(misfit).any()):  # single ones are dropped by `sample_posterior`
        raise DivergenceError(
            f"all chains diverged: the states after level {len(levels) - 1} are not finite",
            level=len(levels) - 1,
            step=score.count,
            magnitude=float("inf"),
        )
    levels[-1]["data_misfit"] = float(misfit.nanmedian())
    return PosteriorSamples(
        samples=x,
        n_evaluations=score.count,
        diagnostics={
            "levels": levels,
            "split_r_hat": None,
            "effective_sample_size": None,
            "n_restarts": 0,
        },
        seed=task.seed,
    )
