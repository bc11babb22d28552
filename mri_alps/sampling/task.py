"""What a sampling method is given, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from mri_alps.inverse_problem import ChainNoise
from mri_alps.priors.sets import PriorOfSets
from mri_alps.sampling.result import Callback, PosteriorSamples
from mri_alps.sampling.spectrum_estimate import count_and_estimate

if TYPE_CHECKING:
    from mri_alps.inverse_problem import Problem
    from mri_alps.priors import PriorSpectrum, ScoreModel
    from mri_alps.sampling.initial import InitialEstimate


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
    antithetic : bool
        As `sample_posterior` has it.
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
    antithetic: bool = False

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
        return ChainNoise(
            self.problem, self.seed, indices, attempt, self.first_slice, antithetic=self.antithetic
        )


Method = Callable[[SamplingTask], PosteriorSamples]
"""A sampling method: task in, samples out."""


def require_spectrum(task: SamplingTask) -> tuple[PriorSpectrum, int]:
    """Return the task's spectrum, or estimate one; and the evaluations that took.

    Parameters
    ----------
    task : SamplingTask
        Given to a method.
    """
    if task.spectrum is not None:
        return task.spectrum, 0
    problem, model = task.problem, task.score_model
    generator = torch.Generator(device=problem.device).manual_seed(0)
    if isinstance(model, PriorOfSets):
        shape = problem.image_shape[1:]
        spectrum, count = count_and_estimate(model.first, shape, generator, problem.dtype)
        return cast("PriorSpectrum", model.spectrum_with(spectrum)), count
    return count_and_estimate(task.score_model, problem.image_shape, generator, problem.dtype)
