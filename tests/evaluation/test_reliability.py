"""Coverage at every nominal level, from the stored interval of one."""

import numpy as np
import pytest

from mri_alps.evaluation import interval_coverage, reliability
from mri_alps.evaluation.pictures import write_reliability
from mri_alps.sampling.statistics import predictive_interval


def stored(n_samples, spread=1.0, n_pixels=40_000):
    draws = np.random.default_rng(n_samples).normal(size=(n_samples + 1, 1, 1, n_pixels))
    truth, samples = 10 + draws[0], 10 + spread * draws[1:]
    bounds = predictive_interval(samples.mean(0), samples.std(0, ddof=1), n_samples)
    return truth, bounds, np.ones(truth.shape, bool)


@pytest.mark.parametrize("n_samples", [2, 8, 30])
def test_draws_of_the_truths_own_law_are_held_as_often_as_nominal(n_samples):
    truth, bounds, region = stored(n_samples)
    curve = reliability(truth, *bounds, region, n_samples - 1)
    for nominal, observed in curve.items():
        assert observed == pytest.approx(nominal, abs=4 * 0.5 / np.sqrt(truth.size))
    assert curve[0.9] == pytest.approx(interval_coverage(truth, *bounds, region), abs=1e-4)


def test_samples_too_narrow_hold_less_at_every_level():
    truth, bounds, region = stored(8, 0.5)
    curve = reliability(truth, *bounds, region, 8)
    assert all(observed < nominal for nominal, observed in curve.items())


def test_the_curve_is_drawn(tmp_path):
    picture = write_reliability({"8 samples": {0.5: 0.4, 0.9: 0.8}}, tmp_path / "c.png", "title")
    assert picture.read_bytes().startswith(b"\x89PNG")
