"""The default sampler: annealed, preconditioned Langevin dynamics, one evaluation per step.

The chain passes through the targets

    p_sigma(x) N(y_sigma; A x, noise_std^2 + b v),    y_sigma = y + c sqrt(v) A e,

with v = sigma^2 - sigma_min^2 and sigma falling from a level at which the smoothed prior is
Gaussian, where the chain starts from a draw given the data, to sigma_min, where the target is
the posterior. Each chain has one e for its whole path, so the y_sigma are nested like those of
XGP Algorithm 1: with b = 0 and c = 1, an image x + sqrt(v) e of the smoothed prior explains
y_sigma exactly as x explains y, and the score model sees noise of its own level in every
direction, the measured ones too. b > 0 does the same by widening the likelihood.

A large problem, whose preconditioner is not exact, does not follow that path from its start:
blurring the data with the prior's noise leaves to a few hundred steps what the data say, and on
real scans they did not find it again. There the levels above `handover` are taken by
`mri_alps.sampling.guided`, which keeps the data sharp but approximates the prior given a noisy
image as Gaussian; the annealed path below corrects what that leaves. Its steps solve for the
posterior's covariance (`mri_alps.sampling.covariance`) instead of taking more steps with an
approximate one. Below `finish` guided diffusion takes over again, now keeping the state's noise
(the ancestral step): there Langevin dynamics on a learned score contracts its spread, for the wide
directions of the posterior have curvatures that the score does not resolve beside 1 / sigma^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from mri_alps.core.errors import DivergenceError
from mri_alps.core.solvers import inner_product
from mri_alps.priors.spectrum import PriorSpectrum
from mri_alps.sampling.covariance import SolvedCovariance
from mri_alps.sampling.diagnostics import Trace
from mri_alps.sampling.diffusion import ancestral_step
from mri_alps.sampling.guided import GuidedDiffusion
from mri_alps.sampling.kernels import (
    Covariance,
    LangevinState,
    init_langevin,
    leimkuhler_matthews_step,
)
from mri_alps.sampling.path import AlpsConfiguration, plan_path
from mri_alps.sampling.preconditioner import make_preconditioner
from mri_alps.sampling.result import Callback, StepInfo

if TYPE_CHECKING:
    from mri_alps.sampling.noise import ChainNoise
    from mri_alps.sampling.problem import Problem
    from mri_alps.sampling.score import LocalSpectrum, Score

HANDOVER = 2.0
FINISH = 0.25
"""Where guided diffusion hands over to the annealed path and takes over from it again, relative
to the images' root mean square: below, a learned score is too inexact for Langevin dynamics,
which would have to resolve curvatures far smaller than 1 / sigma^2. Chosen, with the shares of
the evaluations, on draws of the network, held-out images and one real scan: higher ones, in
either place, spread the samples more and mostly put the mean a little further from the truth."""
DATA_NOISE, DATA_NOISE_EXACT = 1.0, 0.5
"""c: with 1 the score model sees noise of its own level everywhere, which a learned one needs."""


@dataclass
class AlpsRun:
    """Outcome of one pass over a batch of chains.

    Attributes
    ----------
    x : torch.Tensor
        (n, *domain_shape).
    diverged_at : torch.Tensor
        (n,) step at which a chain was found to have diverged; -1 for healthy ones.
    energy : torch.Tensor
        (n,) score energy at that step.
    levels : list of dict
        Diagnostics of each level.
    trace : Trace
        Functionals over the final phase.
    n_steps, n_normals : int
        Evaluations of the score, applications of A^H A.
    """

    x: torch.Tensor
    diverged_at: torch.Tensor
    energy: torch.Tensor
    levels: list[dict[str, Any]]
    trace: Trace
    n_steps: int
    n_normals: int


def run_alps(
    problem: Problem,
    score: Score,
    spectrum: PriorSpectrum | LocalSpectrum,
    noise: ChainNoise,
    n_evaluations: int,
    configuration: AlpsConfiguration,
    callback: Callback | None = None,
    prior_center: torch.Tensor | None = None,
) -> AlpsRun:
    """Take a batch of chains from the data-conditioned start to the posterior.

    Parameters
    ----------
    problem : Problem
        Data and likelihood.
    score : object
        With score(x, sigma), sigma_min, sigma_max.
    spectrum : PriorSpectrum
        Fisher information per level.
    noise : ChainNoise
        The chains' randomness.
    n_evaluations : int
        Steps, one evaluation each.
    configuration : AlpsConfiguration
        Constants.
    callback : callable, optional
        See `StepInfo`.
    prior_center : torch.Tensor, optional
        Mean of the prior at the start, (n, *domain_shape); zero if left out.
    """
    if isinstance(spectrum, PriorSpectrum):
        spectrum = spectrum.to(problem.device)
    chain = _Chain(problem, score, spectrum, noise, configuration)
    # A prior about a reconstruction starts near it, and has no spectrum of its images.
    handover, finish = math.inf, 0.0
    if prior_center is None:
        handover, finish = chain.handover(), chain.finish()
    path = plan_path(score, spectrum, n_evaluations, configuration, handover, finish)
    sigmas, n_guided = path.sigmas, path.n_guided
    state = chain.start_guided(sigmas[0]) if n_guided else chain.start(sigmas[0], prior_center)
    diverged = torch.full((noise.n,), -1, dtype=torch.long, device=problem.device)
    energies = torch.zeros(noise.n, dtype=torch.float64, device=problem.device)
    levels: list[dict[str, Any]] = []
    trace = Trace(problem.domain_shape, problem.dtype, problem.device)
    level, grace = -1, max(3, len(sigmas) // 8)
    for step, sigma in enumerate(sigmas):
        if step == 0 or sigma != sigmas[step - 1]:
            level += 1
            levels.append(chain.facts)
        following = sigmas[min(step + 1, len(sigmas) - 1)]
        phase = path.phase(step)
        if phase == "start":
            state, energy = chain.guided_step(state, following, last=step + 1 == n_guided)
        elif phase == "finish":
            state, energy = chain.finishing_step(state, following)
        else:
            state, energy = chain.step(state, following)
        # A prior whose mean is far from zero starts far away: steps are given to come in.
        limit = configuration.score_energy_limit if step >= grace else math.inf
        bad = ~(energy < limit) & (diverged < 0)
        diverged = torch.where(bad, torch.full_like(diverged, step), diverged)
        energies = torch.where(bad, energy, energies)
        # A chain that is lost is parked, so that it cannot overflow meanwhile.
        state = chain.keep(diverged < 0, state)
        if step + 1 == len(sigmas):
            levels[-1] |= _measures(problem.misfit(state.x), energy)
        elif sigmas[step + 1] != sigma:
            levels[-1] |= _measures(chain.misfit(state, phase in ("start", "finish")), energy)
        if phase == "final":
            trace.record(state.x)
        if callback is not None:
            info = StepInfo(step + 1, len(sigmas), level, sigma, phase, state.x)
            if callback(info) == "stop":
                break
    _read_measures(levels)
    return AlpsRun(
        state.x, diverged, energies, levels, trace, step + 1, chain.preconditioner.n_normals
    )


def _measures(misfit: torch.Tensor, energy: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is told of a level, left on the device: reading a number would wait for it."""
    return {"data_misfit": misfit.nanmedian(), "score_energy": energy.nanmedian()}


def _read_measures(levels: list[dict[str, Any]]) -> None:
    """Turn what was measured at all levels into numbers, at once."""
    found = [
        (k, name) for k, level in enumerate(levels) for name in level if _is_tensor(level[name])
    ]
    if not found:
        return
    values = torch.stack([levels[k][name].double() for k, name in found]).tolist()
    for (k, name), value in zip(found, values, strict=True):
        levels[k][name] = value


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def divergence_of(run: AlpsRun, attempts: int, n_samples: int) -> DivergenceError:
    """Return why chains are lost, naming level, step and magnitude of the first of them.

    Parameters
    ----------
    run : AlpsRun
        The last attempt, in which at least one chain diverged.
    attempts : int
        How many were made.
    n_samples : int
        Chains that were begun with.
    """
    lost = run.diverged_at >= 0
    first = int(lost.nonzero()[0])
    step, energy = int(run.diverged_at[first]), float(run.energy[first])
    level = min(step, len(run.levels) - 1)
    sigma = run.levels[level]["sigma"]
    return DivergenceError(
        f"{int(lost.sum())} of {n_samples} chains diverged, {attempts} attempts each: at level "
        f"{level} (sigma {sigma:.3g}), step {step}, the score had {energy:.3g} "
        "times the energy that it has on the prior; the prior does not fit this data or its "
        "scale, or noise_std is wrong",
        level=level,
        step=step,
        magnitude=energy,
    )


class _Chain:
    """One step of the path, with what is fixed per level."""

    def __init__(
        self,
        problem: Problem,
        score: Score,
        spectrum: PriorSpectrum | LocalSpectrum,
        noise: ChainNoise,
        configuration: AlpsConfiguration,
    ):
        self.problem, self.score, self.spectrum = problem, score, spectrum
        self.noise, self.configuration = noise, configuration
        self.preconditioner = make_preconditioner(problem)
        exact = self.preconditioner.exact
        self.covariance: Covariance = (
            self.preconditioner if exact else SolvedCovariance(self.preconditioner)
        )
        self.sigma = score.sigma_min
        self.facts: dict[str, Any] = {}
        self._target = problem.back_projection
        self._step_size = configuration.largest_step
        # Only a prior of its own is guided, and only its images' power is asked for.
        self._prior_spectrum = cast("PriorSpectrum", spectrum)
        self._guided = GuidedDiffusion(
            problem, self._prior_spectrum, self.preconditioner, noise, score.sigma_min
        )
        self._noise_levels = problem.noise_std.flatten().tolist()
        self._known: tuple[torch.Tensor, torch.Tensor] | None = None
        self._curvatures = None if spectrum.curvature is None else spectrum.curvature.tolist()
        self._log_levels = [math.log(sigma) for sigma in spectrum.sigmas.tolist()]
        self._path_noise = noise.image()
        self._path_projection: torch.Tensor | None = None
        usual = DATA_NOISE_EXACT if exact else DATA_NOISE
        chosen = configuration.data_noise
        self._data_noise: float = usual if chosen is None else chosen
        if self._data_noise:
            self._path_projection = problem.normal(self._path_noise)

    def start(self, sigma: float, center: torch.Tensor | None) -> LangevinState:
        """Draw from the posterior under the Gaussian prior of the start level's spectrum.

        One Langevin step on that Gaussian, which needs no evaluation of the score, is exact.
        """
        self.facts = self.set_level(sigma)
        x = torch.zeros_like(self.noise.image()) if center is None else center
        self._step_size = 1.0
        return self._move(init_langevin(x, self.draw()), torch.zeros_like(x))

    def draw(self) -> torch.Tensor:
        """Noise of a Langevin step."""
        return self.covariance.draw(self.noise)

    def handover(self) -> float:
        """Level above which diffusion is guided by the data instead of annealed."""
        return self._level(self.configuration.handover, HANDOVER, math.inf)

    def finish(self) -> float:
        """Level below which diffusion is guided by the data instead of annealed."""
        return self._level(self.configuration.finish, FINISH, 0.0)

    def _level(self, relative: float | None, usual: float, if_exact: float) -> float:
        if relative is None:
            relative = if_exact if self.preconditioner.exact else usual
        if not relative or math.isinf(relative):
            return relative
        power = self._prior_spectrum.image(self.problem.image_shape)
        return relative * math.sqrt(float(power.mean()))

    def start_guided(self, sigma: float) -> LangevinState:
        """Draw given the data under the Gaussian prior of the image spectrum, and add noise."""
        x0 = self._guided.start()
        self._set_guided_level(sigma)
        x = self._guided.renoise(x0, sigma, self.noise.image())
        return init_langevin(x, self.draw())

    def guided_step(
        self, state: LangevinState, following: float, last: bool
    ) -> tuple[LangevinState, torch.Tensor]:
        """Evaluate the score, draw the clean image given the data, and add the next noise.

        The last such step adds the path's own noise, so that the annealed path finds its data.
        """
        _, x0, energy = self._draw_clean(state, following)
        noise = self._path_noise if last else self.noise.image()
        x = self._guided.renoise(x0, following, noise)
        if last:
            self.facts = self.set_level(following)
        else:
            self._set_guided_level(following)
        return state._replace(x=x), energy

    def finishing_step(
        self, state: LangevinState, following: float
    ) -> tuple[LangevinState, torch.Tensor]:
        """Evaluate the score, draw the clean image given the data, and go towards it.

        The state's noise is kept as far as the next level has it, so that the Gaussian
        approximation enters only to the order of the step.
        """
        x, x0, energy = self._draw_clean(state, following)
        variance, lower = self._guided.variance(self.sigma), self._guided.variance(following)
        x = ancestral_step(x, x0, variance, lower, self.noise.image())
        if following == self.score.sigma_min:
            self.facts = self.set_level(following)
        else:
            self._set_guided_level(following)
        return state._replace(x=x), energy

    def _draw_clean(
        self, state: LangevinState, following: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """State, clean image given it and the data, and the score's energy."""
        score = self.score.score(state.x, self.sigma)
        energy = self._score_energy(self._spectrum_of(score))
        finite = torch.isfinite(energy)
        x, score = _where(finite, state.x), _where(finite, score)
        return x, self._guided.step(x, score, self.sigma, following), energy

    def _set_guided_level(self, sigma: float) -> None:
        self.sigma = sigma
        self._set_fisher(sigma)
        self.facts = {"sigma": sigma, "noise_std": self._noise_levels, "step_size": 1.0}

    def _set_fisher(self, sigma: float) -> torch.Tensor:
        """Fix F of the level, in the order of torch.fft; return it on the centred grid."""
        problem = self.problem
        fisher = self.spectrum.fisher(sigma, problem.image_shape)
        fisher = fisher.to(problem.device, problem.noise_std.dtype)
        self._fisher = torch.fft.ifftshift(fisher, dim=problem.dims)
        return fisher

    def set_level(self, sigma: float) -> dict[str, Any]:
        """Fix smoothing, data, preconditioner and step size; return the level's facts."""
        problem, configuration = self.problem, self.configuration
        self.sigma = sigma
        variance = max(sigma**2 - self.score.sigma_min**2, 0.0)
        width = configuration.data_variance
        noise_std, levels = problem.noise_std, self._noise_levels
        if width * variance:
            noise_std = (problem.noise_std**2 + width * variance).sqrt()
            levels = [math.sqrt(level**2 + width * variance) for level in levels]
        self.preconditioner.set_level(self._set_fisher(sigma), noise_std)
        self._step_size = self._stable_step(sigma)
        self._target = problem.back_projection
        if self._path_projection is not None:
            amplitude = self._data_noise * math.sqrt(variance)
            self._target = problem.back_projection + amplitude * self._path_projection
        return {
            "sigma": sigma,
            "noise_std": levels,
            "step_size": self._step_size,
        }

    def step(self, state: LangevinState, following: float) -> tuple[LangevinState, torch.Tensor]:
        """Evaluate the score at this level and move to the target of the next.

        Returns the next state and the energy of the score at this one, (n,). The score is taken
        to the following level by the ratio of Fisher informations per frequency, exactly so for
        a Gaussian prior: a chain never has more noise than the level at which it is evaluated.
        """
        score = self.score.score(state.x, self.sigma)
        spectrum = self._spectrum_of(score)
        energy = self._score_energy(spectrum)
        finite = torch.isfinite(energy)
        state = self.keep(finite, state)
        if following != self.sigma:
            before = self._fisher
            self.facts = self.set_level(following)
            moved = torch.fft.ifftn(spectrum * (self._fisher / before), dim=self.problem.dims)
            score = moved if score.is_complex() else moved.real
        return self._move(state, _where(finite, score)), energy

    def _move(self, state: LangevinState, score: torch.Tensor) -> LangevinState:
        weight = self.preconditioner.weight
        drift = (self._target - self.normal(state.x)).mul_(weight).add_(score)
        return leimkuhler_matthews_step(state, drift, self.covariance, self._step_size, self.draw())

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """A^H A x; that of the last x is kept, since a step begins where misfit was measured."""
        if self._known is None or self._known[0] is not x:
            self._known = x, self.preconditioner.normal(x)
        return self._known[1]

    def misfit(self, state: LangevinState, guided: bool) -> torch.Tensor:
        """Misfit of the data; that of the clean image, not of the state, while guided."""
        if guided:
            clean, normal = self._guided.clean_image()
            return self.problem.misfit(clean, normal)
        return self.problem.misfit(state.x, self.normal(state.x))

    def keep(self, alive: torch.Tensor, state: LangevinState) -> LangevinState:
        """Park the chains that are not alive at zero, A^H A x included."""
        x = _where(alive, state.x)
        if self._known is not None and self._known[0] is state.x:
            self._known = x, _where(alive, self._known[1])
        return state._replace(x=x)

    def _stable_step(self, sigma: float) -> float:
        """Step that is stable for the curvature of the prior."""
        curvature = 1.0
        if self._curvatures is not None:
            away = [abs(level - math.log(sigma)) for level in self._log_levels]
            curvature = self._curvatures[away.index(min(away))]
        limit = self.configuration.stable_curvature / max(curvature, 1.0)
        return min(self.configuration.largest_step, limit)

    def _spectrum_of(self, score: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftn(score, dim=self.problem.dims)

    def _score_energy(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Largest over the slices of sum_k |FFT(score)_k|^2 / F_k per real value, (n,)."""
        problem = self.problem
        power = inner_product(spectrum, spectrum / self._fisher, len(problem.image_shape)).real
        parts = 2 if problem.back_projection.is_complex() else 1
        n_pixels = torch.Size(problem.image_shape).numel()
        energy = power.double() / (parts * float(n_pixels) ** 2)
        return energy.reshape(len(spectrum), -1).amax(1)


def _where(keep: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Zero the chains that are not kept, non-finite values included."""
    return torch.where(keep.reshape(-1, *[1] * (x.ndim - 1)), x, torch.zeros_like(x))
