"""The mixture's bounds, robustness and simulation-based calibration: long statistics."""

import pytest
import torch
from scipy.stats import chi2

from mri_alps.core.random import standard_normal
from mri_alps.operators import BlurOperator, DownsamplingOperator, InpaintingOperator
from mri_alps.operators.restoration.blur import gaussian_kernel
from mri_alps.sampling import estimate_prior_spectrum, sample_posterior
from tests.sampling.posterior_bed import (
    FlippedOutside,
    SmoothError,
    compare,
    make_wide_prior,
    measure,
    sense_bed,
    whitened_variance,
)
from tests.sampling.test_alps_gaussian import solved

pytestmark = pytest.mark.slow
C128 = torch.complex128


def figures(
    score_model, prior, operator, spectrum, n_evaluations, n_measurements=3, n=192, method="alps"
):
    """Average figures over measurements, as the benchmark prints them."""
    generator = torch.Generator().manual_seed(11)
    rows = []
    for _ in range(n_measurements):
        measurement = measure(prior, operator, 0.4, generator)
        samples = sample_posterior(
            score_model, operator, measurement.data, 0.4, n_samples=n, n_evaluations=n_evaluations,
            prior_spectrum=spectrum, generator=generator, method=method,
        ).samples  # fmt: skip
        rows.append(compare(samples, measurement, generator))
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


@pytest.fixture(scope="module")
def bed():
    prior, operator = sense_bed(8)
    return prior, operator, estimate_prior_spectrum(prior, (16, 16), dtype=C128)


@pytest.mark.parametrize("method", ["alps", solved], ids=["dense", "solved"])
@pytest.mark.parametrize(
    ("n_evaluations", "mean", "std", "wasserstein", "weights"),
    [(20, 2.0, 0.05, 1.25, 0.20), (100, 1.2, 0.02, 1.12, 0.13)],
)
def test_mixture_within_the_bounds(bed, n_evaluations, mean, std, wasserstein, weights, method):
    found = figures(bed[0], *bed, n_evaluations, method=method)
    assert found["mean"] < mean
    assert abs(found["std"] - 1) < std
    assert found["wasserstein"] < wasserstein
    assert found["weights"] < weights


def test_score_errors_do_not_pass_silently(bed):
    prior, operator, spectrum = bed
    smooth = figures(SmoothError(prior, (16, 16)), *bed, 100)
    assert smooth["mean"] < 1.5 * 1.2 and smooth["weights"] < 1.5 * 0.13
    flipped = FlippedOutside(prior)
    generator = torch.Generator().manual_seed(3)
    measurement = measure(prior, operator, 0.4, generator)
    samples = sample_posterior(
        flipped, operator, measurement.data, 0.4, n_samples=256, n_evaluations=100,
        prior_spectrum=spectrum, generator=generator,
    ).samples  # fmt: skip
    outside = flipped.outside(samples, prior.sigma_min)
    assert outside.double().mean() < 0.01


@pytest.mark.parametrize("n_components", [1, 8])
def test_simulation_based_calibration(n_components):
    """Ranks of 500 truths among 19 samples, for 10 functionals, are uniform (chi-square)."""
    shape, n_truths, n_samples, n_functionals = (8, 8), 500, 19, 10
    prior, operator = sense_bed(n_components, shape)
    spectrum = estimate_prior_spectrum(prior, shape, dtype=C128)
    generator = torch.Generator().manual_seed(2025)
    weights = standard_normal((n_functionals, 64), generator, C128)
    counts = torch.zeros(n_functionals, n_samples + 1)
    for _ in range(n_truths):
        measurement = measure(prior, operator, 0.4, generator)
        samples = sample_posterior(
            prior, operator, measurement.data, 0.4, n_samples=n_samples, n_evaluations=24,
            prior_spectrum=spectrum, generator=generator,
        ).samples.reshape(n_samples, -1)  # fmt: skip
        truth = (weights @ measurement.truth.reshape(-1)).real
        rank = ((samples @ weights.mT).real < truth).sum(0)
        counts[torch.arange(n_functionals), rank] += 1
    expected = n_truths / (n_samples + 1)
    statistic = ((counts - expected) ** 2 / expected).sum(1)
    limit = chi2.ppf(1 - 0.01 / n_functionals, n_samples)
    assert float(statistic.max()) < limit, statistic


def hole(shape):
    mask = torch.ones(shape, dtype=torch.bool)
    mask[shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4] = False
    return InpaintingOperator(mask)


PROBLEMS = {
    "lines": (lambda shape: sense_bed(8, shape)[1], 0.3),
    "hole": (hole, 0.1),
    "deblurring": (
        lambda shape: BlurOperator(gaussian_kernel(1.0, dtype=torch.float64), shape),
        0.1,
    ),
    "super-resolution": (lambda shape: DownsamplingOperator(shape, 2), 0.1),
}


@pytest.mark.parametrize("method", ["alps", solved], ids=["dense", "solved"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_score_of_a_mixture_gives_its_posterior(problem, method):
    """Where the prior is wide beside sigma_min and no stationary Gaussian: no narrowing."""
    shape, n = (16, 16), 128
    build, noise_std = PROBLEMS[problem]
    prior, operator = make_wide_prior(shape=shape), build(shape)
    spectrum = estimate_prior_spectrum(prior, shape, dtype=C128)
    assert spectrum.is_of_a_density
    generator = torch.Generator().manual_seed(21)
    variances, coverages = [], []
    for _ in range(2):
        measurement = measure(prior, operator, noise_std, generator)
        samples = sample_posterior(
            prior, operator, measurement.data, noise_std, n_samples=n, n_evaluations=50,
            prior_spectrum=spectrum, generator=generator, method=method,
        ).samples  # fmt: skip
        variances.append(whitened_variance(samples, measurement.exact))
        coverages.append(compare(samples, measurement, generator)["coverage"])
    # 2 x 128 x 512 real values: Monte-Carlo error 0.004 if independent.
    assert abs(sum(variances) / 2 - 1) < 0.03
    assert abs(sum(coverages) / 2) < 0.03
