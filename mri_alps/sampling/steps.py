"""The steps of the default sampler: pure functions (state, level, following, ...) to a state.

Each evaluates the score at its level and moves to the following one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from mri_alps.core.solvers import inner_product
from mri_alps.inverse_problem import to_image, to_spectrum
from mri_alps.sampling.diffusion import ancestral_step
from mri_alps.sampling.kernels import leimkuhler_matthews_step

if TYPE_CHECKING:
    from mri_alps.inverse_problem import (
        ChainNoise,
        CovarianceAtLevel,
        PosteriorCovariance,
        Problem,
        Solution,
    )
    from mri_alps.sampling._levels import Level, Levels
    from mri_alps.sampling.score import Score


class State(NamedTuple):
    """Of a batch of chains between two steps.

    Attributes
    ----------
    x : torch.Tensor
        (n, *domain_shape).
    noise : torch.Tensor
        Of the last Langevin step, used again by the next; (2, n, *domain_shape).
    clean : Solution or None
        The last draw of the clean image, near which the next is looked for.
    """

    x: torch.Tensor
    noise: torch.Tensor
    clean: Solution | None = None


class Info(NamedTuple):
    """What a step found out, left on the device: reading a number would wait for it.

    Attributes
    ----------
    energy : torch.Tensor
        (n,) energy of the score relative to its Fisher information: about 1.
    misfit : torch.Tensor
        Of the data, per chain (and slice), of the state before a Langevin step, and of the clean
        image drawn in a guided one.
    n_normals : int
        Applications of A^H A.
    unsolved : torch.Tensor
        () chains whose solution is not as exact as it should be.
    """

    energy: torch.Tensor
    misfit: torch.Tensor
    n_normals: int
    unsolved: torch.Tensor


@dataclass(frozen=True)
class StepContext:
    """What steps are taken with: nothing here changes but the streams of noise.

    Attributes
    ----------
    problem : Problem
        Data and likelihood.
    score : Score
        The prior's.
    covariance : PosteriorCovariance
        Of the problem.
    noise : ChainNoise
        The chains' randomness.
    path_noise : torch.Tensor
        e of each chain, (n, *domain_shape).
    """

    problem: Problem
    score: Score
    covariance: PosteriorCovariance
    noise: ChainNoise
    path_noise: torch.Tensor

    def draw(self) -> torch.Tensor:
        """Noise of a Langevin step."""
        return self.covariance.draw(self.noise)


def start_annealed(
    level: Level, center: torch.Tensor | None, context: StepContext
) -> tuple[State, int]:
    """Draw from the posterior under the Gaussian prior of the level's spectrum.

    One Langevin step of size 1 on that Gaussian, which needs no evaluation of the score, is
    exact.

    Parameters
    ----------
    level : Level
        Where the path starts.
    center : torch.Tensor or None
        Mean of that Gaussian; zero if left out.
    context : StepContext
        What steps are taken with.

    Returns
    -------
    tuple
        State, and applications of A^H A.
    """
    x = torch.zeros_like(context.path_noise) if center is None else center
    problem = context.problem
    drift = to_spectrum((level.target - problem.normal(x)) / level.noise_std**2, problem)
    first, second = context.draw(), context.draw()
    move = leimkuhler_matthews_step(drift, level.covariance, 1.0, first, second)
    return State(x + to_image(move.x, problem), second), move.n_normals + 1


def start_guided(levels: Levels, level: Level, context: StepContext) -> tuple[State, int]:
    """Draw given the data under the Gaussian prior of the image spectrum, and add noise.

    Parameters
    ----------
    levels : Levels
        Of the problem.
    level : Level
        Where the path starts.
    context : StepContext
        What steps are taken with.

    Returns
    -------
    tuple
        State, and applications of A^H A.
    """
    nothing = torch.zeros_like(context.path_noise)
    clean = _draw_clean(nothing, levels.prior_covariance(), None, 0.0, context)
    x = to_image(clean.x, context.problem) + math.sqrt(level.variance) * context.noise.image()
    return State(x, context.draw(), clean), clean.n_normals


def langevin_step(
    state: State, level: Level, following: Level, context: StepContext
) -> tuple[State, Info]:
    """Evaluate the score at this level and move to the target of the next.

    The score is taken to the following level by the ratio of Fisher informations per frequency,
    exactly so for a Gaussian prior: a chain never has more noise than the level at which it is
    evaluated.

    Parameters
    ----------
    state : State
        Where the chains are.
    level, following : Level
        Where the score is evaluated, and whose target is moved to; may be the same.
    context : StepContext
        What the step is taken with.
    """
    problem = context.problem
    x, score, energy = _evaluate(state.x, level, context)
    if following is not level:
        score = score * (following.fisher / level.fisher)
    normal = problem.normal(x)
    likelihood = (following.target - normal) / following.noise_std**2
    drift = score + to_spectrum(likelihood, problem)
    noise = context.draw()
    move = leimkuhler_matthews_step(
        drift, following.covariance, following.step_size, state.noise, noise
    )
    info = Info(energy, problem.misfit(x, normal), move.n_normals + 1, move.unsolved)
    return State(x + to_image(move.x, problem), noise, state.clean), info


def guided_step(
    state: State, level: Level, following: Level, context: StepContext, last: bool = False
) -> tuple[State, Info]:
    """Draw the clean image given state and data, and add the following level's noise anew.

    At level sigma, x = x0 + sqrt(v) n. Given x, the prior knows x0 as mean D and covariance C;
    taken as Gaussian with C diagonal in the Fourier domain and multiplied by the likelihood of
    the data at their own noise, that is

        x0 ~ N(D + M A^H (y - A D) / noise_std^2, M),   M = (A^H A / noise_std^2 + C^-1)^-1.

    Parameters
    ----------
    state : State
        Where the chains are.
    level, following : Level
        Where the score is evaluated, and whose noise is added.
    context : StepContext
        What the step is taken with.
    last : bool
        Add the path's own noise, so that the annealed path finds its data.
    """
    _, clean, info = _clean_given(state, level, following, context)
    noise = context.path_noise if last else context.noise.image()
    x = to_image(clean.x, context.problem) + math.sqrt(following.variance) * noise
    return State(x, state.noise, clean), info


def finishing_step(
    state: State, level: Level, following: Level, context: StepContext
) -> tuple[State, Info]:
    """Draw the clean image given state and data, and go towards it.

    The state's noise is kept as far as the following level has it.

    Parameters
    ----------
    state : State
        Where the chains are.
    level, following : Level
        Where the score is evaluated, and where to.
    context : StepContext
        What the step is taken with.
    """
    x, clean, info = _clean_given(state, level, following, context)
    image = to_image(clean.x, context.problem)
    x = ancestral_step(x, image, level.variance, following.variance, context.noise.image())
    return State(x, state.noise, clean), info


def _clean_given(
    state: State, level: Level, following: Level, context: StepContext
) -> tuple[torch.Tensor, Solution, Info]:
    x, score, energy = _evaluate(state.x, level, context)
    mean = to_spectrum(x, context.problem).add_(score, alpha=level.variance)
    covariance = level.clean_covariance
    clean = _draw_clean(mean, covariance, state.clean, following.variance, context)
    image, variance = to_image(clean.x, context.problem), context.problem.noise_std**2
    misfit = context.problem.misfit(image, to_image(clean.explained, context.problem) * variance)
    return x, clean, Info(energy, misfit, clean.n_normals, clean.unsolved)


def _draw_clean(
    mean: torch.Tensor,
    covariance: CovarianceAtLevel,
    near: Solution | None,
    added: float,
    context: StepContext,
) -> Solution:
    problem = context.problem
    data = to_spectrum(problem.back_projection / problem.noise_std**2, problem)
    target = covariance.perturbation(context.draw()).add_(data).add_(mean * covariance.fisher)
    return covariance.solve(target, near, added)


def _evaluate(
    x: torch.Tensor, level: Level, context: StepContext
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """State, spectrum of the score, and the score's energy; chains without a score are zeroed.

    Energy: the largest over the slices of sum_k |FFT(score)_k|^2 / F_k per real value.
    """
    problem = context.problem
    spectrum = to_spectrum(context.score.score(x, level.sigma), problem)
    n_axes = len(problem.image_shape)
    power = inner_product(spectrum, spectrum / level.fisher, n_axes).real
    energy = power.double() / (problem.n_values * float(problem.n_pixels))
    energy = energy.reshape(len(spectrum), -1).amax(1)
    finite = torch.isfinite(energy)
    return keep(finite, x), keep(finite, spectrum), energy


def keep(alive: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Zero the chains that are not kept, non-finite values included.

    Parameters
    ----------
    alive : torch.Tensor
        (n,), bool.
    x : torch.Tensor
        (n, *domain_shape).
    """
    return torch.where(alive.reshape(-1, *[1] * (x.ndim - 1)), x, torch.zeros_like(x))
