"""The default sampler: annealed, preconditioned Langevin dynamics, one evaluation per step.

The chain passes through the targets

    p_sigma(x) N(y_sigma; A x, noise_std^2 + b v),    y_sigma = y + c sqrt(v) A e,

with v = sigma^2 - sigma_min^2 and sigma falling from a level at which the smoothed prior is
Gaussian, where the chain starts from a draw given the data, to sigma_min, where the target is
the posterior. Each chain has one e for its whole path, so the y_sigma are nested like those of
XGP Algorithm 1: with b = 0 and c = 1, an image x + sqrt(v) e of the smoothed prior explains
y_sigma exactly as x explains y, and the score model sees noise of its own level in every
direction, the measured ones too. b > 0 does the same by widening the likelihood.

The path is exact for the score of a density, at every size. A learned score is none: its values
at different levels belong to no common one. Such a score (`PriorSpectrum.is_of_a_density`) does
not follow the path from its start, for blurring the data with the prior's noise leaves to a few
hundred steps what the data say, and on real scans they did not find it again. The levels above
`handover` are then taken by guided diffusion, which keeps the data sharp but approximates the
prior given a noisy image as Gaussian; the annealed path below corrects what that leaves. One
guided step takes the chain from `finish` to sigma_min, where a learned score is too steep for
Langevin dynamics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from mri_alps.core.errors import DivergenceError
from mri_alps.inverse_problem import make_covariance
from mri_alps.sampling._levels import Level, Levels
from mri_alps.sampling.diagnostics import Trace
from mri_alps.sampling.path import AlpsConfiguration, Path, plan_path
from mri_alps.sampling.result import Callback, StepInfo
from mri_alps.sampling.steps import (
    Info,
    State,
    StepContext,
    finishing_step,
    guided_step,
    keep,
    langevin_step,
    start_annealed,
    start_guided,
)

if TYPE_CHECKING:
    from mri_alps.inverse_problem import ChainNoise, Problem
    from mri_alps.priors.spectrum import PriorSpectrum
    from mri_alps.sampling.score import LocalSpectrum, Score

HANDOVER = 2.0
FINISH = 0.05
"""Where guided diffusion hands over to the annealed path and takes over from it again, relative
to the images' root mean square, for a score that is not known to be that of a density."""
DATA_NOISE, DATA_NOISE_OF_DENSITY = 1.0, 0.5
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
        (n,) energy of the score at that step.
    levels : list of dict
        Diagnostics of each level.
    trace : Trace
        Functionals over the final phase.
    n_steps, n_normals, n_unsolved : int
        Evaluations of the score, applications of A^H A, solutions less exact than they should be.
    """

    x: torch.Tensor
    diverged_at: torch.Tensor
    energy: torch.Tensor
    levels: list[dict[str, Any]]
    trace: Trace
    n_steps: int
    n_normals: int
    n_unsolved: int


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
        Mean of the Gaussian that stands for the prior at the start, (n, *domain_shape); zero if
        left out.
    """
    covariance = make_covariance(problem, configuration.dense_limit)
    handover, finish, data_noise = _ends(problem, spectrum, configuration, prior_center)
    path = plan_path(score, spectrum, n_evaluations, configuration, handover, finish)
    context = StepContext(problem, score, covariance, noise, noise.image())
    levels = Levels(
        problem, spectrum, covariance, score.sigma_min, configuration, context.path_noise,
        data_noise, max(finish, score.sigma_min), path.sigmas,
    )  # fmt: skip
    level = levels.at(path.sigmas[0])
    if path.n_guided:
        state, n_normals = start_guided(levels, level, context)
    else:
        state, n_normals = start_annealed(level, prior_center, context)
    observer = Observer(problem, noise.n, path, configuration, n_normals + covariance.n_setup)
    for step in range(len(path.sigmas)):
        sigma = path.sigmas[min(step + 1, len(path.sigmas) - 1)]
        following = level if sigma == level.sigma else levels.at(sigma)
        phase = path.phase(step)
        if phase == "start":
            last = step + 1 == path.n_guided
            state, info = guided_step(state, level, following, context, last)
        elif phase == "finish":
            state, info = finishing_step(state, level, following, context)
        else:
            state, info = langevin_step(state, level, following, context)
        state = observer.see(step, level, state, info)
        if callback is not None and callback(observer.told(step, state)) == "stop":
            break
        level = following
    return observer.run(state, step + 1)


def _ends(
    problem: Problem,
    spectrum: PriorSpectrum | LocalSpectrum,
    configuration: AlpsConfiguration,
    center: torch.Tensor | None,
) -> tuple[float, float, float]:
    """Levels of handover and finish, and c, as configured or as the score needs them.

    The annealed path is exact for the score of a density. A learned score is none: guided
    diffusion is used where that matters, and approximates.
    """
    is_of_a_density = spectrum.is_of_a_density
    handover, finish = configuration.handover, configuration.finish
    data_noise = configuration.data_noise
    if data_noise is None:
        data_noise = DATA_NOISE_OF_DENSITY if is_of_a_density else DATA_NOISE
    if center is not None:  # only a prior of its own is guided
        return math.inf, 0.0, data_noise
    if handover is None:
        handover = math.inf if is_of_a_density else HANDOVER
    if finish is None:
        finish = 0.0 if is_of_a_density else FINISH
    if math.isinf(handover) and not finish:
        return handover, finish, data_noise
    power = cast("PriorSpectrum", spectrum).image(problem.image_shape)
    if problem.n_sets is not None:  # a learned prior is that of the first image
        power = power[0]
    scale = math.sqrt(float(power.mean()))
    return handover * scale, finish * scale, data_noise


class Observer:
    """Sees every step: energy of the score, misfit of the data, traces, divergence.

    Parameters
    ----------
    problem : Problem
        Data and likelihood.
    n_chains : int
        How many there are.
    path : Path
        Which levels they pass.
    configuration : AlpsConfiguration
        Limits.
    n_normals : int
        Applications of A^H A before the first step.
    """

    def __init__(
        self,
        problem: Problem,
        n_chains: int,
        path: Path,
        configuration: AlpsConfiguration,
        n_normals: int,
    ):
        self._problem, self._path = problem, path
        self._limit, self._n_normals = configuration.score_energy_limit, n_normals
        # A prior whose mean is far from zero starts far away: steps are given to come in.
        self._grace = max(3, len(path.sigmas) // 8)
        self._diverged = torch.full((n_chains,), -1, dtype=torch.long, device=problem.device)
        self._energies = torch.zeros(n_chains, dtype=torch.float64, device=problem.device)
        self._unsolved = torch.zeros((), dtype=torch.long, device=problem.device)
        self._trace = Trace(problem.domain_shape, problem.dtype, problem.device)
        self._levels: list[dict[str, Any]] = []

    def see(self, step: int, level: Level, state: State, info: Info) -> State:
        """Take in a step; return the state with the chains that are lost parked at zero.

        Parameters
        ----------
        step : int
            Which.
        level : Level
            Where the score was evaluated.
        state : State
            After the step.
        info : Info
            Of the step.
        """
        limit = self._limit if step >= self._grace else math.inf
        self._mark(~(info.energy < limit), step, info.energy)
        self._n_normals += info.n_normals
        self._unsolved = self._unsolved + info.unsolved
        if not self._levels or self._levels[-1]["sigma"] != level.sigma:
            self._levels.append(level.describe())
        self._levels[-1] |= _measures(info.misfit, info.energy)
        # A chain that is lost is parked, so that it cannot overflow meanwhile.
        state = state._replace(x=keep(self._diverged < 0, state.x))
        if self._path.phase(step) == "final":
            self._trace.record(state.x)
        return state

    def told(self, step: int, state: State) -> StepInfo:
        """What a callback is told."""
        sigma, phase = self._path.sigmas[step], self._path.phase(step)
        n_steps = len(self._path.sigmas)
        return StepInfo(step + 1, n_steps, len(self._levels) - 1, sigma, phase, state.x)

    def run(self, state: State, n_steps: int) -> AlpsRun:
        """Look at the state after the last step, and return what was seen."""
        misfit = self._problem.misfit(state.x)
        bad = ~torch.isfinite(misfit.reshape(len(state.x), -1)).all(1)
        self._mark(bad, n_steps - 1, torch.full_like(self._energies, math.inf))
        self._levels[-1]["data_misfit"] = misfit.nanmedian()
        _read_measures(self._levels)
        return AlpsRun(
            state.x, self._diverged, self._energies, self._levels, self._trace, n_steps,
            self._n_normals, int(self._unsolved),
        )  # fmt: skip

    def _mark(self, bad: torch.Tensor, step: int, energy: torch.Tensor) -> None:
        bad = bad & (self._diverged < 0)
        self._diverged = torch.where(bad, torch.full_like(self._diverged, step), self._diverged)
        self._energies = torch.where(bad, energy, self._energies)


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
