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
    DtypeError,
    MriAlpsWarning,
    ShapeError,
)
from mri_alps.core.plugins import guarded
from mri_alps.core.values import FLAG, FUNCTION, Rule, check, instance, number, whole
from mri_alps.sampling.alps import AlpsRun, divergence_of, run_alps
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
    initial : torch.Tensor or None
        Rough estimate, (n_samples, *domain_shape).
    initial_sigma, initial_radius : float or None
        How rough it is.
    initial_delta : float
        Probability that `initial_radius` does not hold.
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
    initial: torch.Tensor | None = None
    initial_sigma: float | None = None
    initial_radius: float | None = None
    initial_delta: float = 0.1
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
    "initial_sigma": number(0).or_none(),
    "initial_radius": number(0).or_none(),
    "initial_delta": number(0, 1),
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
    n_samples: int = 8,
    n_evaluations: int = 100,
    method: str | Method = "alps",
    initial: torch.Tensor | None = None,
    initial_sigma: float | None = None,
    initial_radius: float | None = None,
    initial_delta: float = 0.1,
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
    initial : torch.Tensor, optional
        A reconstruction x0, domain_shape or (n_samples, *domain_shape), for "xgp2", "xgp3" and
        "alps".
    initial_sigma : float, optional
        x0 = x + initial_sigma n already ("xgp2").
    initial_radius : float, optional
        |x0 - x| is at most this, with probability 1 - `initial_delta` ("xgp3", "alps").
    initial_delta : float
        See `initial_radius`.
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
        initial=_check_initial(initial, problem, n_samples),
        initial_sigma=initial_sigma,
        initial_radius=initial_radius,
        initial_delta=initial_delta,
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

    With `initial` and `initial_radius` it is XGP Algorithm 3 with this sampler inside: noise of
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
    sigma0, added = initial_noise(task)
    x0 = task.initial[pending] + added * noise.image()
    return LocalScore(score, x0, sigma0), LocalSpectrum(spectrum, sigma0), x0


def initial_noise(task: SamplingTask) -> tuple[float, float]:
    """Noise level of x0 after noise was added, and how much is to be added.

    Parameters
    ----------
    task : SamplingTask
        With `initial`.

    Raises
    ------
    ConfigurationError
        If neither radius nor noise level of the initial reconstruction was given.
    """
    if task.initial_radius is None and task.initial_sigma is None:
        raise ConfigurationError(
            "initial needs initial_radius (a bound on |initial - x|, the norm over the whole "
            "image) or initial_sigma (the noise it already carries)"
        )
    given = task.initial_radius if task.initial_radius is not None else task.initial_sigma
    if not (given is not None and given > 0 and 0 < task.initial_delta < 1):
        raise ConfigurationError(
            "initial_radius or initial_sigma must be positive and initial_delta between 0 and 1, "
            f"found {given} and {task.initial_delta}"
        )
    if task.initial_radius is None:
        return float(given), 0.0
    sigma0 = task.initial_radius / task.initial_delta
    assert task.initial is not None
    scale = float(task.initial.abs().square().mean().sqrt())
    if sigma0 > scale:
        warnings.warn(
            f"sigma = initial_radius / initial_delta = {sigma0:.3g} exceeds the image's own scale "
            f"{scale:.3g} (root mean square): the initial reconstruction says next to nothing; "
            "initial_radius is a norm over the whole image",
            MriAlpsWarning,
            stacklevel=2,
        )
    return sigma0, sigma0


def _diagnostics(run: AlpsRun, trace: Trace) -> dict[str, Any]:
    return {
        "levels": run.levels,
        **trace.summary(),
        "operator": {"normals_per_evaluation": run.n_normals / max(run.n_steps, 1)},
    }


def _find_method(method: str | Method) -> Method:
    if callable(method):
        return method
    from mri_alps.sampling.methods import find_method

    return find_method(method)


def _check_initial(
    initial: torch.Tensor | None, problem: Problem, n_samples: int
) -> torch.Tensor | None:
    if initial is None:
        return None
    try:
        initial = torch.as_tensor(initial).to(problem.device, problem.dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise DtypeError(
            f"initial must be a tensor of shape {problem.domain_shape}, found a "
            f"{type(initial).__name__}"
        ) from None
    if tuple(initial.shape) == problem.domain_shape:
        return initial.expand(n_samples, *problem.domain_shape)
    if tuple(initial.shape) != (n_samples, *problem.domain_shape):
        raise ShapeError(
            f"initial has shape {tuple(initial.shape)}, expected {problem.domain_shape} or "
            f"{(n_samples, *problem.domain_shape)}"
        )
    return initial


def _draw_seed(generator: torch.Generator | None) -> int:
    if generator is None:
        return secrets.randbits(62)
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
