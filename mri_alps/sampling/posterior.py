"""`sample_posterior`: one call for every method."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.plugins import guarded
from mri_alps.core.values import FLAG, FUNCTION, Rule, check, instance, whole
from mri_alps.inverse_problem import OperatorLike, make_problem
from mri_alps.priors.spectrum import PriorSpectrum
from mri_alps.sampling.initial import InitialEstimate
from mri_alps.sampling.methods import find_method
from mri_alps.sampling.restarts import MIN_EVALUATIONS
from mri_alps.sampling.result import Callback, PosteriorSamples, drop_diverged, require_enough
from mri_alps.sampling.score import require_score_model
from mri_alps.sampling.task import Method, SamplingTask

if TYPE_CHECKING:
    from mri_alps.priors import ScoreModel

_RULES = {
    "n_samples": whole(1, 2**31 - 1),
    "n_evaluations": whole(MIN_EVALUATIONS, 2**31 - 1),
    "first_sample": whole(),
    "first_slice": whole(),
    "method": Rule(
        "a name or a function", lambda method: isinstance(method, str) or callable(method)
    ),
    "initial": instance(InitialEstimate).or_none(),
    "prior_spectrum": instance(PriorSpectrum).or_none(),
    "generator": instance(torch.Generator).or_none(),
    "callback": FUNCTION.or_none(),
    "allow_lost": FLAG,
    "antithetic": FLAG,
}


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
    antithetic: bool = False,
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
        Number of samples.
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
    antithetic : bool
        Let the noise of samples 0 to 3, 4 to 7, ... sum to zero (`core.random.NoiseStreams`). Each
        sample is drawn as without it, but the mean of four has about the Monte-Carlo error of
        thirty independent ones. Samples of a group are negatively correlated:
        `sample_statistics` with `antithetic_groups` compares those of different groups.

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
    run = method if callable(method) else find_method(method)
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
        antithetic=antithetic,
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


def _draw_seed(generator: torch.Generator | None) -> int:
    if generator is None:
        return secrets.randbits(62)
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
