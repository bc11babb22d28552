"""The algorithms of Xun, Gupta and Price (NeurIPS 2025, arXiv 2510.26324) as published.

Algorithm 1: from a prior sample, Langevin dynamics along data of decreasing noise. Algorithm 2:
the same for p(x | x0), given x0 = x + sigma n. Algorithm 3: x0 from a reconstruction within R
of the truth, with noise sigma = R / delta added. Euler-Maruyama steps without preconditioning.

What is promised (theorem 1.1): for a prior that is alpha-strongly log-concave with an L-Lipschitz
score, samples whose law is near the posterior's, for most data, after a number of steps that is
polynomial in d, m, L / alpha and |A| / eta. That is not a small number: each level runs for a time
of 1 / alpha in steps of 1 / (L + |A|^2 / eta^2). It is computed here from the largest alpha that
the prior's second moments allow and a bound on L (`curvature_bounds`). A warning names it where
fewer evaluations are given; each level then runs for that share of its time only. A prior that is
not log-concave, as that of images, has no alpha, and the theorem says nothing of it; p(x | x0) of
Algorithms 2 and 3 has one if sigma is small enough.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import ConfigurationError, DivergenceError, MriAlpsWarning
from mri_alps.core.random import standard_normal
from mri_alps.core.values import check, number
from mri_alps.priors.gaussian import apply_filter
from mri_alps.sampling.diffusion import reverse_diffusion
from mri_alps.sampling.kernels import euler_maruyama_step
from mri_alps.sampling.result import PosteriorSamples, StepInfo
from mri_alps.sampling.schedules import (
    ACCURATE_STEPS,
    AdmissibleSchedule,
    LangevinPlan,
    admissible_schedule,
    curvature_bounds,
    karras_ladder,
    plan_langevin,
)
from mri_alps.sampling.score import CountedScore, LocalScore, Score
from mri_alps.sampling.task import SamplingTask, require_spectrum

if TYPE_CHECKING:
    from mri_alps.inverse_problem import ChainNoise, Problem


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
    integrator : str
        "euler-maruyama", as published, whose steps of a / (curvature) leave a variance that is
        1 / (1 - a/2) times too large; or "leimkuhler-matthews", which is exact on a Gaussian.
    largest_step : float, optional
        a, in units of 1 / (largest curvature); both are stable below 2. Left out, that of
        `ACCURATE_STEPS`.
    mixing, constant, accuracy : float
        See `admissible_schedule`.
    """

    annealed: bool = True
    start_share: float = 0.5
    max_start: int = 200
    integrator: str = "euler-maruyama"
    largest_step: float | None = None
    mixing: float = 2.0
    constant: float = 1e-9
    accuracy: float = 1.0

    def __post_init__(self) -> None:
        if self.integrator not in ACCURATE_STEPS:
            raise ConfigurationError(
                f"XgpConfiguration: integrator is {self.integrator!r}, expected one of "
                f"{', '.join(ACCURATE_STEPS)}"
            )
        check("XgpConfiguration", {"largest_step": number(0, 2).or_none()}, vars(self))

    @property
    def step(self) -> float:
        """Largest step after the default is filled in."""
        if self.largest_step is not None:
            return self.largest_step
        return ACCURATE_STEPS[self.integrator]


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


class _Xgp:
    """One run: reverse diffusion, then Langevin dynamics along the nested data."""

    def __init__(self, task: SamplingTask, configuration: XgpConfiguration):
        self.task, self.configuration = task, configuration
        self.problem = task.problem
        self.spectrum, self.setup = require_spectrum(task)
        self.score = CountedScore(task.score_model, task.n_evaluations)
        self.noise: ChainNoise = task.noise()
        self.levels: list[dict[str, Any]] = []
        self.needs: dict[str, float] = {}

    def run(self, local: tuple[float, float] | None) -> PosteriorSamples:
        configuration, task = self.configuration, self.task
        n_start = min(
            max(1, int(configuration.start_share * task.n_evaluations)), configuration.max_start
        )
        if local is None:
            x, model = self._prior_start(n_start)
        else:
            x, model = self._local_start(n_start, *local)
        plan = self._plan(task.n_evaluations - self.score.count, local and local[0])
        x = self._langevin(x, model, plan)
        return PosteriorSamples(
            samples=x,
            n_evaluations=self.score.count,
            setup_evaluations=self.setup,
            diagnostics={
                "levels": self.levels,
                "schedule": self.needs,
                "split_r_hat": None,
                "effective_sample_size": None,
                "n_restarts": 0,
                "operator": {"normals_per_evaluation": 1.0},
            },
            prior_spectrum=self.spectrum,
            seed=task.seed,
        )

    def _prior_start(self, n: int) -> tuple[torch.Tensor, Score]:
        sigma = self.score.sigma_max
        shape = self.problem.image_shape
        power = 1 / self.spectrum.fisher(sigma, shape)
        spread = power.sqrt().to(self.problem.device, self.problem.noise_std.dtype)
        x = apply_filter(self.noise.image(), spread, self.problem.dims)
        return self._diffuse(x, sigma, n), self.score

    def _local_start(self, n: int, sigma0: float, added: float) -> tuple[torch.Tensor, Score]:
        assert self.task.initial is not None
        if sigma0 > self.score.sigma_max:
            how = "radius / delta" if added else "sigma"
            raise ConfigurationError(
                f"the initial estimate is noisy to {how} = {sigma0:.3g}, and the prior's score is "
                f"known up to sigma_max = {self.score.sigma_max:.3g} (of images of about unit "
                "size): it says nothing about the image; give a smaller one, or start from the "
                "prior with xgp1"
            )
        x0 = self.task.initial.image + added * self.noise.image()
        start = math.hypot(sigma0, self.score.sigma_min)
        return self._diffuse(x0, start, n), LocalScore(self.score, x0, sigma0)

    def _diffuse(self, x: torch.Tensor, sigma: float, n: int) -> torch.Tensor:
        ladder = karras_ladder(sigma, self.score.sigma_min, n + 1)
        return reverse_diffusion(
            self.score,
            x,
            ladder,
            self.noise.image,
            lambda index, level, state: self._tell(index, level, "start", state),
        )

    def _langevin(self, x: torch.Tensor, model: Score, plan: LangevinPlan) -> torch.Tensor:
        problem, sigma_min = self.problem, self.score.sigma_min
        draw = self._fluctuations()
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
                x = euler_maruyama_step(x, drift, step_size, next(draw))
                self._tell(level, sigma_min, "anneal" if factor > 1 else "final", x)
            self._close_level(level, noise_std, step_size, count, x)
        return x

    def _fluctuations(self) -> Iterator[torch.Tensor]:
        """Noise of each step: fresh, or the mean of two, one of them shared with the next step."""
        if self.configuration.integrator == "euler-maruyama":
            while True:
                yield self.noise.image()
        noise = self.noise.image()
        while True:
            following = self.noise.image()
            yield (noise + following) / 2
            noise = following

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

    def _plan(self, n_steps: int, sigma0: float | None) -> LangevinPlan:
        problem, configuration = self.problem, self.configuration
        shape = problem.image_shape
        smallest, largest = curvature_bounds(self.spectrum, self.score.sigma_min, shape, sigma0)
        parts = 2 if problem.back_projection.is_complex() else 1
        norm = operator_norm(problem)
        noise_std = float(problem.noise_std.min())
        power = self.spectrum.image(shape)
        schedule = admissible_schedule(
            noise_std,
            norm,
            problem.n_measured(),
            parts * power.numel(),
            math.sqrt(parts * float(power.sum())),
            smallest,
            configuration.mixing,
            configuration.constant,
            configuration.accuracy,
        )
        if not configuration.annealed:
            time = configuration.mixing / smallest
            schedule = AdmissibleSchedule(schedule.noise_levels[-2:], (time,))
        plan = plan_langevin(schedule, n_steps, largest, norm, configuration.step)
        self.needs = {
            "smallest_curvature": smallest,
            "largest_curvature": largest,
            "n_needed": plan.n_needed,
            "n_steps": n_steps,
        }
        if plan.n_needed > n_steps:
            enough = plan.n_needed + min(plan.n_needed, configuration.max_start)
            warnings.warn(
                f"the admissible schedule needs {_count(plan.n_needed)} Langevin steps for "
                f"curvatures of the prior from {smallest:.2g} to {largest:.2g}, and {n_steps} "
                "evaluations are left for it: each noise level runs for "
                f"{n_steps / plan.n_needed:.2g} of its time, and the samples are not from the "
                f"posterior yet; ask for at least {_count(enough)} evaluations, or use alps",
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


def _count(steps: int) -> str:
    return str(steps) if steps < 10**6 else f"{steps:.2e}"


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
