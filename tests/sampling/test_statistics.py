"""Sample statistics and the predictive interval."""

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.sampling.statistics import predictive_interval, sample_statistics


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
