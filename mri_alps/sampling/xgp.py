"""The algorithms of Xun, Gupta and Price (NeurIPS 2025, arXiv 2510.26324) as published.

Algorithm 1: from a prior sample, Langevin dynamics along data of decreasing noise. Algorithm 2:
the same for p(x | x0), given x0 = x + sigma n. Algorithm 3: x0 from a reconstruction within R
of the truth, with noise sigma = R / delta added. Euler-Maruyama steps without preconditioning.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import ConfigurationError, DivergenceError, MriAlpsWarning
from mri_alps.core.random import standard_normal
from mri_alps.priors.gaussian import apply_filter
from mri_alps.sampling.diffusion import reverse_diffusion
from mri_alps.sampling.kernels import euler_maruyama_step
from mri_alps.sampling.posterior import SamplingTask, require_spectrum
from mri_alps.sampling.result import PosteriorSamples, StepInfo
from mri_alps.sampling.schedules import AdmissibleSchedule, admissible_schedule, karras_ladder
from mri_alps.sampling.score import CountedScore, LocalScore, LocalSpectrum, Score

if TYPE_CHECKING:
    from mri_alps.priors.spectrum import PriorSpectrum
    from mri_alps.sampling.noise import ChainNoise
    from mri_alps.sampling.problem import Problem


@dataclass(frozen=True)
class XgpConfiguration:
    """Constants that the paper leaves open.

    Attributes
    ----------
    annealed : bool
        False runs Langevin dynamics at the final noise at once, as section F warns against.
    start_share : float
        Largest share of the evaluations for the reverse diffusion.
    max_start : int
        Most evaluations for the reverse diffusion.
    stable_step : float
        Largest step in units of 1 / (largest curvature); Euler-Maruyama is stable below 2.
    mixing, constant, accuracy : float
        See `admissible_schedule`.
    """

    annealed: bool = True
    start_share: float = 0.5
    max_start: int = 200
    stable_step: float = 1.0
    mixing: float = 2.0
    constant: float = 1e-9
    accuracy: float = 1.0


@dataclass(frozen=True)
class LangevinPlan:
    """How the evaluations left are divided among the noise levels.

    Attributes
    ----------
    factors : tuple of float
        Noise levels in units of the data's own noise, the last being 1.
    step_sizes : tuple of float
        Euler-Maruyama step at each level.
    n_steps : tuple of int
        Steps at each level.
    n_needed : int
        Steps that would cover the schedule's time with stable steps.
    """

    factors: tuple[float, ...]
    step_sizes: tuple[float, ...]
    n_steps: tuple[int, ...]
    n_needed: int


def sample_xgp1(
    task: SamplingTask, configuration: XgpConfiguration | None = None
) -> PosteriorSamples:
    """XGP Algorithm 1: annealed Langevin dynamics from a prior sample.

    Parameters
    ----------
    task : SamplingTask
        What to sample.
    configuration : XgpConfiguration, optional
        Open constants.
    """
    return _Xgp(task, configuration or XgpConfiguration()).run(None)


def sample_xgp2(
    task: SamplingTask, configuration: XgpConfiguration | None = None
) -> PosteriorSamples:
    """XGP Algorithm 2: `initial.image` is x + sigma n; samples p(x | y, x0).

    Parameters
    ----------
    task : SamplingTask
        With `initial`, which has a `sigma`.
    configuration : XgpConfiguration, optional
        Open constants.

    Raises
    ------
    ConfigurationError
        If it is missing.
    """
    if task.initial is None or task.initial.sigma is None:
        raise ConfigurationError(
            "xgp2 needs initial=InitialEstimate(image, sigma=...): a reconstruction that carries "
            "white noise of that level; for one without added noise use xgp3 with radius"
        )
    return _Xgp(task, configuration or XgpConfiguration()).run(task.initial.noise())


def sample_xgp3(
    task: SamplingTask, configuration: XgpConfiguration | None = None
) -> PosteriorSamples:
    """XGP Algorithm 3: `initial.image` is within a radius of the truth; noise is added.

    Parameters
    ----------
    task : SamplingTask
        With `initial`, which has a `radius`.
    configuration : XgpConfiguration, optional
        Open constants.

    Raises
    ------
    ConfigurationError
        If it is missing.
    """
    if task.initial is None or task.initial.radius is None:
        raise ConfigurationError(
            "xgp3 needs initial=InitialEstimate(image, radius=...): a reconstruction and a bound "
            "on its distance from the truth, the norm over the whole image"
        )
    return _Xgp(task, configuration or XgpConfiguration()).run(task.initial.noise())


def plan_langevin(
    schedule: AdmissibleSchedule,
    n_steps: int,
    prior_curvature: float,
    operator_norm: float,
    stable_step: float = 1.0,
) -> LangevinPlan:
    """Divide `n_steps` among the levels of a schedule.

    Steps are at most stable_step / (L + |A|^2 / eta^2). Where more evaluations are left than
    the schedule's time needs, steps get smaller, and with them the Euler-Maruyama bias.

    Parameters
    ----------
    schedule : AdmissibleSchedule
        Noise levels and times.
    n_steps : int
        Evaluations left.
    prior_curvature : float
        L, largest curvature of -log p(x).
    operator_norm : float
        |A|.
    stable_step : float
        See above.
    """
    levels, times = schedule.noise_levels[1:], schedule.times
    if not levels:
        levels, times = schedule.noise_levels, (schedule.noise_levels[0],)
    stable = [stable_step / (prior_curvature + (operator_norm / eta) ** 2) for eta in levels]
    needed = [max(1, math.ceil(t / h)) for t, h in zip(times, stable, strict=True)]
    total = sum(needed)
    # Cumulative rounding: every level gets its share, and the shares add up.
    bounds = [round(n_steps * sum(needed[: i + 1]) / total) for i in range(len(needed))]
    counts = [b - a for a, b in zip([0, *bounds[:-1]], bounds, strict=True)]
    rows = [
        (eta, min(h, time / count), count)
        for eta, h, time, count in zip(levels, stable, times, counts, strict=True)
        if count
    ]
    final = levels[-1]
    factors, steps, n = zip(*rows, strict=True)
    return LangevinPlan(tuple(eta / final for eta in factors), steps, n, total)


class _Xgp:
    """One run: reverse diffusion, then Langevin dynamics along the nested data."""

    def __init__(self, task: SamplingTask, configuration: XgpConfiguration):
        self.task, self.configuration = task, configuration
        self.problem = task.problem
        self.spectrum, self.setup = require_spectrum(task)
        self.score = CountedScore(task.score_model, task.n_evaluations)
        self.noise: ChainNoise = task.noise()
        self.levels: list[dict[str, Any]] = []

    def run(self, local: tuple[float, float] | None) -> PosteriorSamples:
        configuration, task = self.configuration, self.task
        n_start = min(
            max(1, int(configuration.start_share * task.n_evaluations)), configuration.max_start
        )
        if local is None:
            x, model, spectrum = self._prior_start(n_start)
        else:
            x, model, spectrum = self._local_start(n_start, *local)
        x = self._langevin(x, model, spectrum)
        return PosteriorSamples(
            samples=x,
            n_evaluations=self.score.count,
            setup_evaluations=self.setup,
            diagnostics={
                "levels": self.levels,
                "split_r_hat": None,
                "effective_sample_size": None,
                "n_restarts": 0,
                "operator": {"normals_per_evaluation": 1.0},
            },
            prior_spectrum=self.spectrum,
            seed=task.seed,
        )

    def _prior_start(self, n: int) -> tuple[torch.Tensor, Score, PriorSpectrum | LocalSpectrum]:
        sigma = self.score.sigma_max
        shape = self.problem.image_shape
        power = 1 / self.spectrum.fisher(sigma, shape)
        spread = power.sqrt().to(self.problem.device, self.problem.noise_std.dtype)
        x = apply_filter(self.noise.image(), spread, self.problem.dims)
        return self._diffuse(x, sigma, n), self.score, self.spectrum

    def _local_start(
        self, n: int, sigma0: float, added: float
    ) -> tuple[torch.Tensor, Score, PriorSpectrum | LocalSpectrum]:
        assert self.task.initial is not None
        x0 = self.task.initial.image + added * self.noise.image()
        start = math.hypot(sigma0, self.score.sigma_min)
        x = self._diffuse(x0, start, n)
        model = LocalScore(self.score, x0, sigma0)
        return x, model, LocalSpectrum(self.spectrum, sigma0)

    def _diffuse(self, x: torch.Tensor, sigma: float, n: int) -> torch.Tensor:
        ladder = karras_ladder(sigma, self.score.sigma_min, n + 1)
        return reverse_diffusion(
            self.score,
            x,
            ladder,
            self.noise.image,
            lambda index, level, state: self._tell(index, level, "start", state),
        )

    def _langevin(
        self, x: torch.Tensor, model: Score, spectrum: PriorSpectrum | LocalSpectrum
    ) -> torch.Tensor:
        problem, sigma_min = self.problem, self.score.sigma_min
        left = self.task.n_evaluations - self.score.count
        plan = self._plan(spectrum, left)
        # e = y_i - y; the nested path, walked inwards by its conditional law given y.
        excess = 0.0
        path = torch.zeros_like(problem.data).expand(len(x), *problem.data.shape)
        for level, (factor, step_size, count) in enumerate(
            zip(plan.factors, plan.step_sizes, plan.n_steps, strict=True)
        ):
            path, excess = self._walk_path(path, excess, factor**2 - 1)
            target = problem.back_projection
            if excess > 0:
                target = target + problem.adjoint(path)
            noise_std = factor * problem.noise_std
            for _ in range(count):
                drift = problem.data_gradient(x, noise_std, target)
                drift = drift + model.score(x, sigma_min)
                x = euler_maruyama_step(x, drift, step_size, self.noise.image())
                self._tell(level, sigma_min, "anneal" if factor > 1 else "final", x)
            self._close_level(level, noise_std, step_size, count, x)
        return x

    def _walk_path(
        self, path: torch.Tensor, before: float, after: float
    ) -> tuple[torch.Tensor, float]:
        """Draw e at excess variance `after` (in units of noise_std^2) given e at `before`.

        Brownian bridge: mean (after/before) e, variance after (before - after) / before.
        """
        problem = self.problem
        noise_std = problem.over_data(problem.noise_std)
        if after <= 0:
            return torch.zeros_like(path), 0.0
        if before <= 0:  # the outermost level, reached from y itself
            return math.sqrt(after) * noise_std * self.noise.data(), after
        spread = math.sqrt(after * max(before - after, 0.0) / before)
        return (after / before) * path + spread * noise_std * self.noise.data(), after

    def _plan(self, spectrum: PriorSpectrum | LocalSpectrum, n_steps: int) -> LangevinPlan:
        problem, configuration = self.problem, self.configuration
        fisher = spectrum.fisher(self.score.sigma_min, problem.image_shape)
        curvature = 1.0
        if spectrum.curvature is not None:
            curvature = max(1.0, float(spectrum.curvature[0]))
        parts = 2 if problem.back_projection.is_complex() else 1
        norm = operator_norm(problem)
        noise_std = float(problem.noise_std.min())
        power = self.spectrum.image(problem.image_shape)
        schedule = admissible_schedule(
            noise_std,
            norm,
            problem.n_measured(),
            parts * fisher.numel(),
            math.sqrt(parts * float(power.sum())),
            float(fisher.min()),
            configuration.mixing,
            configuration.constant,
            configuration.accuracy,
        )
        if not configuration.annealed:
            schedule = AdmissibleSchedule((noise_std, noise_std), schedule.times[-1:])
        plan = plan_langevin(
            schedule, n_steps, curvature * float(fisher.max()), norm, configuration.stable_step
        )
        if plan.n_needed > n_steps:
            enough = plan.n_needed + min(plan.n_needed, configuration.max_start)
            warnings.warn(
                f"the admissible schedule needs {plan.n_needed} Langevin steps with stable step "
                f"sizes, {n_steps} evaluations are left for it: the samples are not from the "
                f"posterior yet; ask for at least {enough} evaluations",
                MriAlpsWarning,
                stacklevel=2,
            )
        return plan

    def _close_level(
        self, level: int, noise_std: torch.Tensor, step_size: float, count: int, x: torch.Tensor
    ) -> None:
        misfit = self.problem.misfit(x)
        if not bool(torch.isfinite(misfit).any()):  # single ones are dropped at the end
            raise DivergenceError(
                f"all chains diverged at level {level} (noise {float(noise_std.max()):.3g}) with "
                f"the step {step_size:.3g}: the prior's curvature is larger than its spectrum says",
                level=level,
                step=self.score.count,
                magnitude=float("inf"),
            )
        self.levels.append(
            {
                "sigma": self.score.sigma_min,
                "noise_std": noise_std.flatten().tolist(),
                "step_size": step_size,
                "n_steps": count,
                "data_misfit": float(misfit.nanmedian()),
            }
        )

    def _tell(self, level: int, sigma: float, phase: str, x: torch.Tensor) -> None:
        if self.task.callback is not None:
            info = StepInfo(self.score.count, self.task.n_evaluations, level, sigma, phase, x)
            self.task.callback(info)


def operator_norm(problem: Problem, n_iterations: int = 30) -> float:
    """Largest singular value of A, by power iteration on A^H A.

    Parameters
    ----------
    problem : Problem
        Holds the operator.
    n_iterations : int
        Applications of `normal`.
    """
    generator = torch.Generator(device=problem.device).manual_seed(0)
    x = standard_normal((1, *problem.domain_shape), generator, problem.dtype)
    value = torch.zeros(())
    for _ in range(n_iterations):
        x = problem.normal(x / x.abs().square().sum().sqrt())
        value = x.abs().square().sum().sqrt()
    return max(float(value) ** 0.5, 1e-12)
