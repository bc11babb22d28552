"""`sample_posterior`: one call for every method."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import (
    ConfigurationError,
    DivergenceError,
    MriAlpsWarning,
)
from mri_alps.core.plugins import guarded
from mri_alps.core.values import FLAG, FUNCTION, Rule, check, instance, whole
from mri_alps.sampling.alps import AlpsRun, divergence_of, run_alps
from mri_alps.sampling.initial import InitialEstimate
from mri_alps.sampling.noise import ChainNoise
from mri_alps.sampling.path import AlpsConfiguration
from mri_alps.sampling.problem import OperatorLike, Problem, make_problem
from mri_alps.sampling.result import (
    Callback,
    PosteriorSamples,
    drop_diverged,
    require_enough,
)
from mri_alps.sampling.score import (
    CountedScore,
    LocalScore,
    LocalSpectrum,
    Score,
    require_score_model,
)
from mri_alps.sampling.spectrum_estimate import count_and_estimate

if TYPE_CHECKING:
    from mri_alps.priors.protocol import ScoreModel
    from mri_alps.priors.spectrum import PriorSpectrum
    from mri_alps.sampling.diagnostics import Trace

MAX_ATTEMPTS = 3
MIN_EVALUATIONS = 2
MOST_UNSOLVED = 0.05
"""Share of solutions that stopped too early from which this is said."""


@dataclass(frozen=True)
class SamplingTask:
    """Everything that a sampling method is given.

    Attributes
    ----------
    problem : Problem
        Operator, data and noise level.
    score_model : ScoreModel
        The prior.
    spectrum : PriorSpectrum or None
        Its spectrum; a method that needs one and finds None calls `require_spectrum`.
    n_samples, n_evaluations, first_sample, first_slice, seed : int
        As `sample_posterior` has them.
    initial : InitialEstimate or None
        With an image for each sample.
    callback : callable or None
        See `StepInfo`.
    """

    problem: Problem
    score_model: ScoreModel
    spectrum: PriorSpectrum | None
    n_samples: int
    n_evaluations: int
    first_sample: int
    first_slice: int
    seed: int
    initial: InitialEstimate | None = None
    callback: Callback | None = None

    def noise(self, samples: list[int] | None = None, attempt: int = 0) -> ChainNoise:
        """Noise streams of the given samples (indices from 0 within this call), or of all.

        Parameters
        ----------
        samples : list of int, optional
            Which samples.
        attempt : int
            Counts restarts.
        """
        chosen = range(self.n_samples) if samples is None else samples
        indices = [self.first_sample + i for i in chosen]
        return ChainNoise(self.problem, self.seed, indices, attempt, self.first_slice)


_RULES = {
    "n_samples": whole(1, 2**31 - 1),
    "n_evaluations": whole(MIN_EVALUATIONS, 2**31 - 1),
    "first_sample": whole(),
    "first_slice": whole(),
    "method": Rule(
        "a name or a function", lambda method: isinstance(method, str) or callable(method)
    ),
    "initial": instance(InitialEstimate).or_none(),
    "prior_spectrum": Rule(
        "an object with fisher(sigma, shape)", lambda spectrum: callable(spectrum.fisher)
    ).or_none(),
    "generator": instance(torch.Generator).or_none(),
    "callback": FUNCTION.or_none(),
    "allow_lost": FLAG,
}

Method = Callable[[SamplingTask], PosteriorSamples]
"""A sampling method: task in, samples out."""


def sample_posterior(
    score_model: ScoreModel,
    operator: OperatorLike,
    data: torch.Tensor,
    noise_std: float | torch.Tensor,
    *,
    n_samples: int = 8,
    n_evaluations: int = 100,
    method: str | Method = "alps",
    initial: InitialEstimate | None = None,
    prior_spectrum: PriorSpectrum | None = None,
    first_sample: int = 0,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    first_slice: int = 0,
    allow_lost: bool = False,
) -> PosteriorSamples:
    """Draw samples from p(x | y) for y = A x + n and a prior known through its score.

    The target is the posterior under the prior at `sigma_min`; there is no final denoising.

    Parameters
    ----------
    score_model : ScoreModel
        With denoise(x, sigma), score(x, sigma), sigma_min, sigma_max. x has the shape
        (n, *domain_shape); sigma is per real component.
    operator : LinearOperator
        A, with forward, adjoint, normal and domain_shape. Maps of shape (B, coils, H, W) give
        the domain (B, H, W): B slices at a time.
    data : torch.Tensor
        y, complex or real, shaped as the operator's range.
    noise_std : float or torch.Tensor
        Standard deviation of n per real component, a scalar or (B,).
    n_samples : int
        Number of independent samples.
    n_evaluations : int
        Most evaluations of the score model per sample.
    method : str or callable
        "alps" (default), "xgp1", "xgp2", "xgp3" (the published algorithms), "csgm", "dps" (for
        comparison), the name of an installed package's method, or a callable from
        `SamplingTask` to `PosteriorSamples`.
    initial : InitialEstimate, optional
        A reconstruction, and how far it can be trusted, for "xgp2", "xgp3" and "alps".
    prior_spectrum : PriorSpectrum, optional
        See `estimate_prior_spectrum`. If left out, the score model's own is used, or one is
        estimated, which `setup_evaluations` of the result counts.
    first_sample : int
        Index of the first sample: a run of 8 samples continued with first_sample=8 and a
        generator seeded alike gives what 16 samples at once would have given.
    generator : torch.Generator, optional
        One number is drawn from it, and all noise follows from that. Fresh entropy if left
        out; the seed used is in the result.
    callback : callable, optional
        Called after every step with a `StepInfo`; returning "stop" ends the run there.
    first_slice : int
        Index in the volume of the first slice of the operator: part of the noise's address.
    allow_lost : bool
        Return whatever is left of chains that diverge, even nothing, and say nothing: for
        batches, whose caller looks at `lost` of all of them together.

    Returns
    -------
    PosteriorSamples
        `samples` is (n_samples, *domain_shape), without those whose chains diverge in every
        attempt: `lost` names them.

    Raises
    ------
    ConfigurationError, ShapeError, DtypeError
        If arguments do not fit.
    DivergenceError
        If chains leave the region where the score can be trusted, restarts do not help, and
        fewer than half of the samples are left (or than two, where several were asked for).

    Warns
    -----
    MriAlpsWarning
        If samples are lost and the others are used.
    """
    check("sample_posterior", _RULES, locals())
    require_score_model(score_model)
    problem = make_problem(operator, data, noise_std)
    run = _find_method(method)
    task = SamplingTask(
        problem=problem,
        score_model=score_model,
        spectrum=prior_spectrum
        if prior_spectrum is not None
        else getattr(score_model, "prior_spectrum", None),
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        first_sample=first_sample,
        first_slice=first_slice,
        seed=_draw_seed(generator),
        initial=initial and initial.fitted(problem, n_samples),
        callback=callback,
    )
    with torch.no_grad(), guarded("the sampling method", run):
        result = run(task)
    if not isinstance(result, PosteriorSamples):
        raise ConfigurationError(
            f"the sampling method {method!r} returned a {type(result).__name__}: expected "
            "PosteriorSamples"
        )
    result = drop_diverged(result, first_sample)
    if not allow_lost:
        require_enough(result)
    return result


def require_spectrum(task: SamplingTask) -> tuple[PriorSpectrum, int]:
    """Return the task's spectrum, or estimate one; and the evaluations that took.

    Parameters
    ----------
    task : SamplingTask
        Given to a method.
    """
    if task.spectrum is not None:
        return task.spectrum, 0
    problem = task.problem
    generator = torch.Generator(device=problem.device).manual_seed(0)
    return count_and_estimate(task.score_model, problem.image_shape, generator, problem.dtype)


def sample_alps(
    task: SamplingTask, configuration: AlpsConfiguration | None = None
) -> PosteriorSamples:
    """The default method; see `mri_alps.sampling.alps`.

    With `initial` it is XGP Algorithm 3 with this sampler inside: noise of
    sigma = R / delta is added to the reconstruction, anew for each sample, and p(x | x0) takes
    the prior's place.

    Parameters
    ----------
    task : SamplingTask
        What to sample.
    configuration : AlpsConfiguration, optional
        Constants.

    Returns
    -------
    PosteriorSamples
        Without the samples whose chains diverge in every attempt, which `lost` names.
    """
    configuration = configuration or AlpsConfiguration()
    spectrum, setup = require_spectrum(task)
    problem = task.problem
    samples = torch.zeros(
        (task.n_samples, *problem.domain_shape), dtype=problem.dtype, device=problem.device
    )
    pending, spent, attempt = list(range(task.n_samples)), 0, 0
    first: AlpsRun | None = None
    failure: DivergenceError | None = None
    while True:
        left = task.n_evaluations - spent
        noise = task.noise(pending, attempt)
        score, local_spectrum, center = _local_prior(task, spectrum, noise, pending, left)
        run = run_alps(
            problem,
            score,
            local_spectrum,
            noise,
            left,
            configuration,
            task.callback if attempt == 0 else None,
            center,
        )
        first = first or run
        samples[pending] = run.x
        lost = (run.diverged_at >= 0).nonzero().flatten().tolist()
        attempt += 1
        if not lost:
            break
        spent += int(run.diverged_at[lost].max()) + 1
        enough = task.n_evaluations - spent >= max(MIN_EVALUATIONS, task.n_evaluations // 5)
        pending = [pending[i] for i in lost]
        if attempt >= MAX_ATTEMPTS or not enough:
            failure = divergence_of(run, attempt, task.n_samples)
            break
    _warn_of_unsolved(first)
    gone = pending if failure is not None else []
    healthy = (first.diverged_at < 0).nonzero().flatten().tolist()
    trace = first.trace if len(healthy) == task.n_samples else first.trace.kept(healthy)
    return PosteriorSamples(
        samples=samples[[i for i in range(task.n_samples) if i not in gone]] if gone else samples,
        n_evaluations=task.n_evaluations if attempt > 1 else first.n_steps,
        setup_evaluations=setup,
        diagnostics={**_diagnostics(first, trace), "n_restarts": attempt - 1},
        prior_spectrum=spectrum,
        seed=task.seed,
        trace=trace,
        lost=tuple(task.first_sample + i for i in gone),
        failure=failure,
    )


def _local_prior(
    task: SamplingTask, spectrum: PriorSpectrum, noise: ChainNoise, pending: list[int], budget: int
) -> tuple[Score, PriorSpectrum | LocalSpectrum, torch.Tensor | None]:
    """Score, spectrum and centre of the prior, or of p(x | x0) where x0 was given."""
    score = CountedScore(task.score_model, budget)
    if task.initial is None:
        return score, spectrum, None
    sigma0, added = task.initial.noise()
    x0 = task.initial.image[pending] + added * noise.image()
    return LocalScore(score, x0, sigma0), LocalSpectrum(spectrum, sigma0), x0


def _warn_of_unsolved(run: AlpsRun) -> None:
    share = run.n_unsolved / max(run.n_steps * len(run.x), 1)
    if share > MOST_UNSOLVED:
        warnings.warn(
            f"{share:.0%} of the solutions for the posterior's covariance stopped before they were "
            "exact: the deviation may be too small; noise_std may be far too small for this data, "
            "or use double precision",
            MriAlpsWarning,
            stacklevel=4,
        )


def _diagnostics(run: AlpsRun, trace: Trace) -> dict[str, Any]:
    return {
        "levels": run.levels,
        **trace.summary(),
        "operator": {
            "normals_per_evaluation": run.n_normals / max(run.n_steps, 1),
            "unsolved": run.n_unsolved,
        },
    }


def _find_method(method: str | Method) -> Method:
    if callable(method):
        return method
    from mri_alps.sampling.methods import find_method

    return find_method(method)


def _draw_seed(generator: torch.Generator | None) -> int:
    if generator is None:
        return secrets.randbits(62)
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
