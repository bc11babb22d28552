"""The default method: chains that diverge are begun anew, within the same budget."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import DivergenceError, MriAlpsWarning
from mri_alps.sampling.alps import AlpsRun, divergence_of, run_alps
from mri_alps.sampling.mirroring import MirroredScore, mirror_axes_of
from mri_alps.sampling.path import AlpsConfiguration
from mri_alps.sampling.result import PosteriorSamples
from mri_alps.sampling.score import CountedScore, LocalScore, LocalSpectrum, Score
from mri_alps.sampling.task import SamplingTask, require_spectrum

if TYPE_CHECKING:
    from mri_alps.inverse_problem import ChainNoise
    from mri_alps.priors import PriorSpectrum
    from mri_alps.sampling.diagnostics import Trace

MAX_ATTEMPTS = 3
MIN_EVALUATIONS = 2
MOST_UNSOLVED = 0.05
"""Share of solutions that stopped too early from which this is said."""


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
        stopped = run.n_steps < left  # a callback wanted no more
        if attempt >= MAX_ATTEMPTS or not enough or stopped:
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
    indices = [task.first_sample + i for i in pending]
    axes = mirror_axes_of(task.score_model, len(task.problem.image_shape))
    counted = CountedScore(task.score_model, budget)
    score = MirroredScore(counted, axes, indices, task.problem.device)
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
