"""Are the samples of this installation those of the posterior? Checked where the answer is known.

Under a Gaussian prior the posterior is Gaussian, and its mean and draws are solutions of linear
systems, which `mri_alps.diagnostics.exact_gaussian` finds in double precision to 1e-9.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch

from mri_alps.diagnostics.device_check import coil_maps
from mri_alps.diagnostics.exact_gaussian import ExactGaussian, GaussianProblem
from mri_alps.operators import SenseOperator, simulate
from mri_alps.priors import GaussianMixturePrior, exact_posterior, frequency_radius
from mri_alps.sampling import PosteriorSamples, predictive_interval, sample_posterior

if TYPE_CHECKING:
    from mri_alps.sampling import Method

DEVIATION, LOW_DEVIATION, MEAN, COVERAGE, WEIGHTS = 0.02, 0.04, 1.15, 0.01, 0.12
"""Bounds of an exact sampler, to which `MARGIN` Monte-Carlo standard errors are added."""
MARGIN = 3.0
_SLOPE = 0.34  # of a normal 90 % interval's coverage against the logarithm of its width


class Figure(NamedTuple):
    """A figure of the samples, and the range that it has to lie in."""

    name: str
    value: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Whether the value is a number within the range."""
        return self.low <= self.value <= self.high


class Verification(NamedTuple):
    """What was found for one problem.

    `normals` are applications of A^H A per evaluation of the score, `seconds` those of the
    sampler, `reference_seconds` those of the known answer.
    """

    name: str
    n_samples: int
    n_evaluations: int
    figures: tuple[Figure, ...]
    normals: float
    seconds: float
    reference_seconds: float

    @property
    def passed(self) -> bool:
        """Whether every figure is within its range."""
        return all(figure.passed for figure in self.figures)


def verify_gaussian(
    problem: GaussianProblem,
    device: torch.device | str = "cpu",
    n_samples: int = 24,
    n_evaluations: int = 20,
    n_draws: int = 48,
    method: str | Method = "alps",
) -> Verification:
    """Sample a Gaussian posterior in single precision and compare with the known answer.

    Parameters
    ----------
    problem : GaussianProblem
        The problem.
    device : torch.device or str
        Where to sample, and to find the answer.
    n_samples, n_evaluations : int
        As of `sample_posterior`.
    n_draws : int
        Exact draws, from which the exact variances are estimated and which are truths that the
        intervals have to cover.
    method : str or callable
        As of `sample_posterior`.

    Returns
    -------
    Verification
        With the deviation over the exact one, of all frequencies pooled and of unmeasured low
        ones; over every direction alike (of the whitened samples); the error of the mean over
        that of as many exact samples; the coverage of 90 % intervals of real and imaginary
        parts.
    """
    device = torch.device(device)
    generator = torch.Generator().manual_seed(problem.seed)
    exact = ExactGaussian(problem, device)
    truth = problem.prior.sample(
        1, problem.shape, generator, torch.complex128, problem.prior.sigma_min
    )[0].to(device)
    data = exact.measure(truth, generator)
    started = time.perf_counter()
    mean, draws = exact.solve(data, n_draws, generator)
    answered = time.perf_counter()
    result = sample_posterior(
        problem.prior,
        SenseOperator(problem.maps.to(device), problem.mask.to(device)),
        torch.fft.fftshift(data, dim=(-2, -1)).to(torch.complex64),
        problem.noise_std,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        method=method,
        generator=generator,
    )
    samples = exact.spectrum(torch.fft.ifftshift(result.samples, dim=(-2, -1)))
    sampled = time.perf_counter()
    low = torch.fft.ifftshift(problem.unmeasured_low).to(device)
    overall = _compare(samples, mean, draws, torch.ones_like(low))
    in_low = _compare(samples, mean, draws, low)
    whitened, whitened_error = exact.whitened_deviation(samples)
    truths = torch.cat([truth[None], exact.image(mean + draws)])
    figures = (
        _deviation("all frequencies", overall.deviation, DEVIATION, overall.deviation_error),
        _deviation("unmeasured low", in_low.deviation, LOW_DEVIATION, in_low.deviation_error),
        _deviation("whitened", whitened, DEVIATION, whitened_error),
        _mean(overall),
        _coverage(exact.image(samples), truths, overall),
    )
    return _verification(problem.name, result, figures, (started, answered, sampled))


def verify_mixture(
    device: torch.device | str = "cpu",
    n_samples: int = 256,
    n_evaluations: int = 50,
    seed: int = 0,
    method: str | Method = "alps",
) -> Verification:
    """Sample a posterior with several modes and compare with the known answer.

    The prior is a mixture of four Gaussians over 16x16 images, whose means differ by waves that
    the data hardly tell apart; the answer is `exact_posterior`, by dense algebra.

    Parameters
    ----------
    device : torch.device or str
        Where to sample.
    n_samples, n_evaluations : int
        As of `sample_posterior`.
    seed : int
        Of the truth, the noise and the samples.
    method : str or callable
        As of `sample_posterior`.

    Returns
    -------
    Verification
        With the deviation of pixels over the exact one, the error of the mean and the coverage
        as `verify_gaussian` has them, and how far the share of samples in each mode is from its
        probability (total variation).
    """
    generator = torch.Generator().manual_seed(seed)
    prior, operator = _mixture()
    noise_std = 0.4
    truth = prior.sample(1, generator, sigma=prior.sigma_min)[0][0]
    data = simulate(operator, truth, noise_std, generator)
    started = time.perf_counter()
    exact = exact_posterior(prior, operator, data, noise_std)
    truths = exact.sample(4096, generator)
    answered = time.perf_counter()
    result = sample_posterior(
        prior,
        operator.to(device, torch.float32),
        data.to(device, torch.complex64),
        noise_std,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        method=method,
        generator=generator,
    )
    sampled = time.perf_counter()
    samples = result.samples.to("cpu", torch.complex128)
    everywhere = torch.ones(exact.shape, dtype=torch.bool)
    compared = _compare(samples, exact.mean, truths - exact.mean, everywhere)
    shares = exact.responsibilities(samples).mean(0)
    variation = float((shares - exact.weights).abs().sum() / 2)
    figures = (
        _deviation("all pixels", compared.deviation, DEVIATION, compared.deviation_error),
        _mean(compared),
        _coverage(samples, truths, compared),
        Figure("weights, total variation", variation, 0.0, WEIGHTS),
    )
    name = f"mixture of {len(prior.weights)}, 16x16, lines, 4x, noise {noise_std:g}"
    return _verification(name, result, figures, (started, answered, sampled))


def verify_exactness(
    device: torch.device | str = "cpu",
    seed: int = 0,
    shape: tuple[int, int] = (96, 96),
    method: str | Method = "alps",
) -> Iterator[Verification]:
    """Check that samples of this installation, on a device, are those of the posterior.

    Parameters
    ----------
    device : torch.device or str
        Where to sample.
    seed : int
        Of truths, noise and samples.
    shape : tuple of int
        Image size of the Gaussian problems.
    method : str or callable
        As of `sample_posterior`: your own sampler can be checked as well.

    Yields
    ------
    Verification
        One problem after the other, as they are known: Gaussian with lines at 4x and 8x and
        points at 4x, and a mixture.
    """
    for pattern, acceleration in (("lines", 4), ("lines", 8), ("points", 4)):
        problem = GaussianProblem(shape, pattern, acceleration, seed=seed)
        yield verify_gaussian(problem, device, method=method)
    yield verify_mixture(device, seed=seed, method=method)


def _mixture() -> tuple[GaussianMixturePrior, SenseOperator]:
    """Four Gaussians with the spectrum of an image, and 4 coils at R = 4."""
    shape, amplitude = (16, 16), 0.03
    radius = frequency_radius(shape)
    power = 0.15 * (0.02 + 1 / (1 + (radius / 0.06) ** 3))
    y, x = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) / n for n in shape], indexing="ij")
    waves = [torch.zeros_like(x), 6 * x + y, 4 * x - 2 * y, -4 * x + 3 * y]
    means = torch.stack(
        [amplitude * bool(w.any()) * torch.polar(torch.ones_like(w), 6.2832 * w) for w in waves]
    )
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    prior = GaussianMixturePrior(weights, means, power.expand(4, *shape), sigma_min=0.02)
    mask = torch.zeros(shape[1], dtype=torch.bool)
    mask[1::4] = mask[7:9] = True
    return prior, SenseOperator(coil_maps(shape, 4).to(torch.complex128), mask)


class _Comparison(NamedTuple):
    """Standard deviation and error of the mean over those of exact samples, and their errors."""

    deviation: float
    deviation_error: float
    mean: float
    mean_error: float


def _compare(
    samples: torch.Tensor, mean: torch.Tensor, draws: torch.Tensor, where: torch.Tensor
) -> _Comparison:
    """Compare samples (n, ...) with exact draws less their mean (m, ...), pooled over `where`.

    The energies of the draws scatter as a sum of the modes' variances does, which gives the
    standard errors without knowing the modes.
    """
    samples, draws, mean = samples[:, where], draws[:, where], mean[where]
    energies = draws.abs().square().sum(1)
    exact, scatter = float(energies.mean()), float(energies.std() / energies.mean())
    n, m = len(samples), len(draws)
    center = samples.mean(0)
    variance = float((samples - center).abs().square().sum()) / (n - 1)
    offset = n * float((center - mean).abs().square().sum())
    return _Comparison(
        deviation=math.sqrt(variance / exact),
        deviation_error=scatter / 2 * math.sqrt(1 / (n - 1) + 1 / m),
        mean=math.sqrt(offset / exact),
        mean_error=scatter / 2 * math.sqrt(1 + 1 / m),
    )


def _deviation(name: str, value: float, bound: float, error: float) -> Figure:
    half = bound + MARGIN * error
    return Figure(f"deviation, {name}", value, 1 - half, 1 + half)


def _mean(compared: _Comparison) -> Figure:
    return Figure("error of the mean", compared.mean, 0.0, MEAN + MARGIN * compared.mean_error)


def _coverage(samples: torch.Tensor, truths: torch.Tensor, compared: _Comparison) -> Figure:
    """Share of values in truths that the predictive intervals of the samples hold.

    Of real and imaginary parts: they are normal, so an exact sampler holds 90 % whatever n is.
    """
    parts, values = (
        torch.view_as_real(t.cpu().to(torch.complex128)).numpy() for t in (samples, truths)
    )
    low, high = predictive_interval(parts.mean(0), parts.std(0, ddof=1), len(parts))
    held = ((values >= low) & (values <= high)).reshape(len(values), -1).mean(1)
    error = math.hypot(held.std() / math.sqrt(len(held)), _SLOPE * compared.deviation_error)
    half = COVERAGE + MARGIN * error
    return Figure("coverage of 90 % intervals", float(held.mean()), 0.9 - half, 0.9 + half)


def _verification(
    name: str, result: PosteriorSamples, figures: tuple[Figure, ...], times: tuple[float, ...]
) -> Verification:
    reference, sampling = (after - before for before, after in itertools.pairwise(times))
    return Verification(
        name=name,
        n_samples=len(result.samples),
        n_evaluations=result.n_evaluations,
        figures=figures,
        normals=result.diagnostics.get("operator", {}).get("normals_per_evaluation", math.nan),
        seconds=sampling,
        reference_seconds=reference,
    )
