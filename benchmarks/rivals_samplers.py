"""Four published samplers for scans, as methods that `sample_posterior` takes.

DDS, DiffPIR, PiGDM and the predictor-corrector of score-MRI, written from the equations of their
papers; DPS and the annealed Langevin dynamics of csgm-mri-langevin are the package's own. The
papers write diffusions for states scaled to unit variance, u = x / sqrt(1 + sigma^2); here all are
in the form x = x0 + sigma n, which is the same up to that scale. All draw on the same counted
score, and the noise of a sample depends on nothing but its address. Operators with |A| <= 1, such
as SENSE with normalised maps, are expected.
"""

from __future__ import annotations

import math

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.solvers import conjugate_gradient
from mri_alps.sampling import (
    CountedScore,
    PosteriorSamples,
    SamplingTask,
    karras_ladder,
    proximal,
)
from mri_alps.sampling.baselines import vp_ladder
from mri_alps.sampling.half_quadratic import SOLVER_ITERATIONS


def ddim_step(x, mean, sigma: float, following: float, eta: float, noise) -> torch.Tensor:
    """DDIM (Song, Meng and Ermon, ICLR 2021, equation 12) from level sigma to `following`.

    A share of the noise that the denoised image leaves is kept, the rest drawn anew; eta = 1 is
    the ancestral step, eta = 0 has no new noise.
    """
    fresh = eta * following * math.sqrt(max(1 - (following / sigma) ** 2, 0.0))
    kept = math.sqrt(max(following**2 - fresh**2, 0.0))
    return mean + kept * (x - mean) / sigma + fresh * noise


def levels(score: CountedScore, n: int) -> list[tuple[float, float]]:
    """Pairs of a level and the one that follows, the last of which is 0."""
    ladder = vp_ladder(score.sigma_min, score.sigma_max, n)
    return list(zip(ladder, [*ladder[1:], 0.0], strict=True))


def start(task: SamplingTask):
    """Score, noise and pairs of levels of a task, and its first state."""
    score, noise = CountedScore(task.score_model, task.n_evaluations), task.noise()
    pairs = levels(score, task.n_evaluations)
    return score, noise, pairs, pairs[0][0] * noise.image()


def result(task: SamplingTask, score: CountedScore, x: torch.Tensor) -> PosteriorSamples:
    return PosteriorSamples(samples=x, n_evaluations=score.count, seed=task.seed)


def sample_dds(
    task: SamplingTask, gamma: float = 5.0, eta: float = 0.85, n_iterations: int = 5
) -> PosteriorSamples:
    """DDS, the decomposed diffusion sampler of Chung, Lee and Ye (ICLR 2024).

    At each level the denoised image D is replaced by that of M steps of conjugate gradients, begun
    at D, towards argmin gamma/2 |y - A x|^2 + 1/2 |x - D|^2, the paper's step for noisy data; then
    follows a step of DDIM, whose kept noise is that which D leaves.

    Parameters
    ----------
    task : SamplingTask
        What to sample.
    gamma, eta, n_iterations : float, float, int
        Weight of the data, share of new noise, M. Published for MRI: 5, 0.15 to 0.85, 5.
    """
    score, noise, pairs, x = start(task)
    for sigma, following in pairs:
        denoised = score.denoise(x, sigma)
        mean = proximal(task.problem, denoised, 1 / gamma, n_iterations)
        # The noise is that of the denoised image before the data were looked at.
        step = ddim_step(x, denoised, sigma, following, eta, noise.image())
        x = step + mean - denoised
    return result(task, score, x)


def sample_diffpir(
    task: SamplingTask,
    weight: float = 7.0,
    zeta: float = 0.3,
    n_iterations: int = SOLVER_ITERATIONS,
) -> PosteriorSamples:
    """DiffPIR, Zhu et al. (CVPR workshops 2023), algorithm 1.

    The denoised image D is brought to the data by argmin |y - A x|^2 + rho |x - D|^2 with
    rho = weight noise_std^2 / sigma^2, the noise is what this image leaves, and a share zeta of it
    is drawn anew.

    Parameters
    ----------
    task : SamplingTask
        What to sample.
    weight, zeta : float
        lambda and zeta of the paper.
    n_iterations : int
        Of the solver, where the paper has a closed form.
    """
    score, noise, pairs, x = start(task)
    noise_std = float(task.problem.noise_std)
    kept, fresh = math.sqrt(1 - zeta), math.sqrt(zeta)
    for sigma, following in pairs:
        rho = weight * noise_std**2 / sigma**2
        mean = proximal(task.problem, score.denoise(x, sigma), rho, n_iterations)
        predicted = (x - mean) / sigma
        x = mean + following * (kept * predicted + fresh * noise.image())
    return result(task, score, x)


def sample_pigdm(
    task: SamplingTask,
    scale: float = 1.0,
    prior_std: float = 1.0,
    eta: float = 1.0,
    n_iterations: int = SOLVER_ITERATIONS,
) -> PosteriorSamples:
    """PiGDM, pseudo-inverse guided diffusion of Song, Vahdat, Mardani and Kautz (ICLR 2023).

    The image given its noisy version is taken to be Gaussian about the denoised one with variance
    r^2 = sigma^2 s^2 / (sigma^2 + s^2) (s = `prior_std` is 1 in the paper), so that the gradient of
    log p(y | x) is J^H A^H (r^2 A A^H + noise_std^2)^-1 (y - A D), with J the denoiser's Jacobian.
    Each step of DDIM is moved by r^2 times that gradient, in the units of the state with unit
    variance.

    Parameters
    ----------
    task : SamplingTask
        What to sample.
    scale : float
        Factor of the guidance, 1 in the paper.
    prior_std : float
        s, standard deviation of images per real component.
    eta : float
        Share of new noise.
    n_iterations : int
        Of the solver, where the paper has singular vectors.
    """
    score, noise, pairs, x = start(task)
    for sigma, following in pairs:
        variance = sigma**2 * prior_std**2 / (sigma**2 + prior_std**2)
        mean, gradient = pigdm_gradient(task.problem, score, x, sigma, variance, n_iterations)
        move = scale * math.sqrt(1 + following**2) * variance * gradient
        x = ddim_step(x, mean, sigma, following, eta, noise.image()) + move
    return result(task, score, x)


def pigdm_gradient(problem, score, x, sigma: float, variance: float, n_iterations: int):
    """Denoised image, and the gradient of log N(y; A D(x), variance A A^H + noise_std^2).

    The matrix counts as constant, as in the paper. (r^2 A^H A + s^2)^-1 A^H is
    A^H (r^2 A A^H + s^2)^-1.
    """
    noise_std = problem.noise_std
    with torch.enable_grad():
        point = x.detach().requires_grad_(True)
        mean = score.denoise(point, sigma)
        if not mean.requires_grad:
            raise ConfigurationError("PiGDM needs a denoiser that passes gradients on")
        with torch.no_grad():
            solved = conjugate_gradient(
                lambda z: variance * problem.normal(z) + noise_std**2 * z,
                problem.back_projection - problem.normal(mean.detach()),
                n_iterations,
                n_axes=len(problem.image_shape),
            )
        product = (solved.conj() * mean).real.sum()
        (gradient,) = torch.autograd.grad(product, point)
    return mean.detach(), gradient


def sample_score_mri(
    task: SamplingTask,
    snr: float = 0.16,
    sigma_start: float | None = None,
    consistency: float = 1.0,
) -> PosteriorSamples:
    """Predictor-corrector of score-MRI for several coils, Chung and Ye (Med Image Anal 80, 2022).

    Levels in geometric progression. At each a predictor x + (s_i^2 - s_j^2) score + noise of
    variance s_i^2 - s_j^2 (reverse diffusion, variance-exploding), then a corrector of Langevin
    dynamics x + e score + sqrt(2 e) z with e = 2 (snr |z| / |score|)^2, and after either a step to
    the data, x + consistency A^H (y - A x). The last predictor adds no noise. The norms are of each
    image, where the published code has means over the batch.

    Parameters
    ----------
    task : SamplingTask
        What to sample; two evaluations make a level.
    snr : float
        Of the corrector, 0.16 in the paper.
    sigma_start : float, optional
        Highest level, the prior's sigma_max if left out.
    consistency : float
        lambda, 1 in the paper.
    """
    problem, noise = task.problem, task.noise()
    score = CountedScore(task.score_model, task.n_evaluations)
    highest = min(sigma_start or score.sigma_max, score.sigma_max)
    # A ladder with a large rho is geometric.
    ladder = karras_ladder(highest, score.sigma_min, (task.n_evaluations + 1) // 2, rho=1e3)
    axes = tuple(range(-len(problem.image_shape), 0))

    def to_data(x):
        return x + consistency * (problem.back_projection - problem.normal(x))

    x = ladder[0] * noise.image()
    for sigma, following in zip(ladder, [*ladder[1:], 0.0], strict=True):
        variance = sigma**2 - following**2
        x = x + variance * score.score(x, sigma)
        if not following:
            return result(task, score, to_data(x))
        x = to_data(x + math.sqrt(variance) * noise.image())
        drift, z = score.score(x, following), noise.image()
        norms = [v.abs().square().sum(axes, keepdim=True).sqrt() for v in (z, drift)]
        step = 2 * (snr * norms[0] / norms[1]) ** 2
        x = to_data(x + step * drift + (2 * step).sqrt() * z)
    raise AssertionError("the last level follows none")
