"""What a sampler returns, and what a callback sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from mri_alps.priors.spectrum import PriorSpectrum


class StepInfo(NamedTuple):
    """What a callback is told after each step.

    Attributes
    ----------
    step, n_steps : int
        Evaluations done and planned.
    level : int
        Noise level, counted from the outermost.
    sigma : float
        Smoothing of the prior at this step.
    phase : str
        "start", "anneal" or "final".
    x : torch.Tensor
        Current state of all chains, (n, *domain_shape): look, do not change.
    """

    step: int
    n_steps: int
    level: int
    sigma: float
    phase: str
    x: torch.Tensor


Callback = Callable[[StepInfo], Any]
"""Called after every step; a sampler stops early when it returns the string "stop"."""


@dataclass
class PosteriorSamples:
    """Samples of p(x | y) and how they came about.

    Attributes
    ----------
    samples : torch.Tensor
        (n_samples, *domain_shape), dtype of A^H y.
    n_evaluations : int
        Evaluations of the score model per sample; never more than asked.
    setup_evaluations : int
        Evaluations spent once on estimating the prior's spectrum; 0 if it was given.
    diagnostics : dict
        "levels": one dict for each noise level with sigma, noise_std, step_size, data_misfit
        (mean over chains of |y - A x|^2 / (m noise_std^2), about 1 at the end), score_energy
        (about 1 where the score can be trusted); "split_r_hat" and "effective_sample_size" of
        the final phase (None where it is too short, and noisy where it has few steps);
        "n_restarts"; "operator": applications of `normal` per evaluation, set-up included.
    prior_spectrum : PriorSpectrum or None
        What preconditioned the run, to be handed on.
    seed : int
        The seed from which all noise streams derive.
    """

    samples: torch.Tensor
    n_evaluations: int
    setup_evaluations: int = 0
    diagnostics: dict[str, Any] = field(default_factory=dict)
    prior_spectrum: PriorSpectrum | None = None
    seed: int = 0
