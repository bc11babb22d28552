"""Sample statistics and the predictive interval."""

import numpy as np
import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import NoiseStreams
from mri_alps.evaluation.coverage import predictive_std
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.sampling.statistics import (
    antithetic_groups,
    decorrelated,
    degrees_of_freedom,
    predictive_interval,
    sample_statistics,
)


@pytest.mark.parametrize("n_samples", [2, 4, 8, 30])
def test_interval_covers_the_next_draw_at_any_number_of_samples(n_samples):
    rng = np.random.default_rng(n_samples)
    draws = 3 + 2 * rng.standard_normal((n_samples + 1, 40_000))
    samples, truth = draws[:-1], draws[-1]
    lower, upper = predictive_interval(samples.mean(0), samples.std(0, ddof=1), n_samples)
    coverage = np.mean((lower <= truth) & (truth <= upper))
    # Monte-Carlo standard error of a proportion near 0.9 over 40,000 independent trials.
    assert coverage == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / 40_000))


def test_interval_is_the_stated_formula():
    lower, upper = predictive_interval(np.array([1.0]), np.array([0.5]), 8)
    half_width = 1.8945786050900069 * 0.5 * np.sqrt(1 + 1 / 8)  # t(0.95, 7) from tables
    np.testing.assert_allclose([lower[0], upper[0]], [1 - half_width, 1 + half_width], atol=1e-9)


def test_statistics_match_numpy(rng=None):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((5, 3, 4)) + 1j * rng.standard_normal((5, 3, 4))
    found = sample_statistics(samples.astype(np.complex64))
    assert_equal_to_rounding(
        found.mean, samples.mean(0), n_summed=5, scale=np.abs(samples).max(), dtype="float32"
    )
    assert_equal_to_rounding(
        found.magnitude_std,
        np.abs(samples).std(0, ddof=1),
        n_summed=5,
        scale=np.abs(samples).max(),
        dtype="float32",
    )
    assert_equal_to_rounding(
        found.magnitude_mean,
        np.abs(samples).mean(0),
        n_summed=5,
        scale=np.abs(samples).max(),
        dtype="float32",
    )
    assert_equal_to_rounding(
        (found.lower + found.upper) / 2,
        found.magnitude_mean,
        n_summed=5,
        scale=np.abs(samples).max(),
        dtype="float32",
    )


def test_one_sample_has_no_interval():
    with pytest.raises(ConfigurationError, match="at least 2 samples"):
        predictive_interval(np.zeros(3), np.zeros(3), 1)


def draws_of(n_samples, n_pixels, curvature=0.0):
    """Antithetic samples of 20 + 2 (z + curvature (z^2 - 1)), and a truth of the same law."""
    streams = NoiseStreams(n_samples, range(n_samples), [0], torch.device("cpu"), antithetic=True)
    z = np.concatenate(
        [
            streams.normal((n_pixels,), torch.float64).numpy(),
            np.random.default_rng(1).standard_normal((1, n_pixels)),
        ]
    )
    draws = 20 + 2 * (z + curvature * (z**2 - 1))
    return draws[:-1], draws[-1], 2 * np.sqrt(1 + 2 * curvature**2)


@pytest.mark.parametrize("curvature", [0.0, 0.3])
@pytest.mark.parametrize("n_samples", [5, 6, 8, 16])
def test_the_variance_of_antithetic_samples_has_no_bias(n_samples, curvature):
    samples, _, std = draws_of(n_samples, 40_000, curvature)
    found = sample_statistics(samples, antithetic_groups(range(n_samples)))
    variance = found.magnitude_std**2
    error = 5 * variance.std() / np.sqrt(len(variance))  # Monte-Carlo
    assert variance.mean() == pytest.approx(std**2, abs=error)
    # as the textbook's estimate of the decorrelated
    other = decorrelated(samples, antithetic_groups(range(n_samples)))
    np.testing.assert_allclose(other.var(0, ddof=1), variance, rtol=1e-9)
    np.testing.assert_allclose(other.mean(0), samples.mean(0), rtol=1e-12)


@pytest.mark.parametrize("n_samples", [6, 8, 16])
def test_the_interval_of_antithetic_samples_covers_the_truth(n_samples):
    samples, truth, _ = draws_of(n_samples, 40_000)
    found = sample_statistics(samples, antithetic_groups(range(n_samples)))
    coverage = np.mean((found.lower <= truth) & (truth <= found.upper))
    error = 4 * np.sqrt(0.09 / 40_000)  # Monte-Carlo, of a proportion
    # Of an incomplete group degrees of freedom and the mean's error are told on the safe side.
    assert 0.9 - error < coverage < 0.9 + error + (0.02 if n_samples % 4 else 0)
    assert found.degrees_of_freedom == n_samples - -(-n_samples // 4)
    predicted = predictive_std(found.lower, found.upper, found.degrees_of_freedom)
    assert np.square(predicted).mean() == pytest.approx(
        np.square(truth - samples.mean(0)).mean(), rel=0.1 if n_samples % 4 else 0.03
    )


def test_one_group_alone_is_told_too_wide_rather_than_too_narrow():
    samples, truth, std = draws_of(4, 40_000)
    found = sample_statistics(samples, antithetic_groups(range(4)))
    assert np.square(found.magnitude_std).mean() == pytest.approx(4 / 3 * std**2, rel=0.02)
    coverage = np.mean((found.lower <= truth) & (truth <= found.upper))
    assert 0.9 < coverage < 0.95
    assert degrees_of_freedom(antithetic_groups(range(4))) == 3


def test_independent_samples_may_be_called_groups():
    """Groups that nothing correlates lose only pairs."""
    samples = 20 + np.random.default_rng(0).standard_normal((8, 40_000))
    found = sample_statistics(samples, antithetic_groups(range(8)))
    variance = found.magnitude_std**2
    assert variance.mean() == pytest.approx(1, abs=5 * variance.std() / 200)
