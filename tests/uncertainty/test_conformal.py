"""Split conformal calibration over volumes: its guarantee, its file, what it refuses."""

import dataclasses
import json

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import MAX_SETTINGS_BYTES
from mri_alps.uncertainty import (
    COVERAGE,
    Conditions,
    combine_scores,
    read_calibration,
    volume_score,
    widen_interval,
)

CONDITIONS = Conditions("AXT2", "regular lines", 4.0, "p" * 32, "alps", 8, 100, "prior")


def calibration(scores=(1.5, 2.0, 1.2), confidence=0.5, **other):
    names = [f"{number}.h5" for number in range(len(scores))]
    found = [dataclasses.replace(CONDITIONS, **other)] * len(scores)
    return combine_scores(names, scores, found, confidence)


def volume(generator, n_pixels=600):
    """Truths, and intervals that are too narrow, by a factor that differs from volume to volume."""
    needed = 2 * np.exp(0.3 * generator.standard_normal())
    middle, half_width = generator.random(n_pixels), 0.1 + generator.random(n_pixels)
    truth = middle + needed * half_width * generator.standard_t(4, n_pixels)
    return truth, middle - half_width, middle + half_width


def holds(truth, lower, upper):
    return np.mean((lower <= truth) & (truth <= upper)) >= COVERAGE


@pytest.mark.parametrize(("n_volumes", "confidence"), [(9, 0.9), (19, 0.9), (12, 0.6)])
def test_new_volumes_are_covered_as_often_as_is_guaranteed(n_volumes, confidence):
    generator, n_trials, n_before, n_after = np.random.default_rng(n_volumes), 800, 0, 0
    for _ in range(n_trials):
        known = [volume(generator) for _ in range(n_volumes)]
        scores = [volume_score(*each, np.ones(600, bool)) for each in known]
        found = calibration(scores, confidence)
        truth, lower, upper = volume(generator)
        n_before += holds(truth, lower, upper)
        n_after += holds(truth, *widen_interval(lower, upper, found.factor))
    assert n_before < 0.05 * n_trials
    # Without ties the probability is the guarantee itself; neither less nor much more.
    error = np.sqrt(found.guarantee * (1 - found.guarantee) / n_trials)
    assert confidence <= found.guarantee < confidence + 1 / (n_volumes + 1)
    assert n_after / n_trials == pytest.approx(found.guarantee, abs=3.5 * error)


def test_a_factor_below_one_narrows():
    lower, upper = widen_interval(np.array([1.0]), np.array([3.0]), 0.5)
    assert (lower, upper) == (1.5, 2.5)


def test_the_score_is_the_smallest_factor_that_holds_nine_in_ten():
    generator = np.random.default_rng(1)
    truth, lower, upper = volume(generator, 100)
    score = volume_score(truth, lower, upper, np.ones(100, bool))
    assert holds(truth, *widen_interval(lower, upper, score * (1 + 1e-9)))
    assert not holds(truth, *widen_interval(lower, upper, score * (1 - 1e-9)))


def test_intervals_without_width_hold_nothing():
    ones = np.ones(10)
    assert volume_score(ones, ones * 0, ones * 0, np.ones(10, bool)) == np.inf
    lower = np.where(np.arange(10) < 1, 0.0, -2.0)  # one pixel in ten may be lost
    assert volume_score(ones, lower, -lower, np.ones(10, bool)) == 0.5


@pytest.mark.parametrize(
    ("n_volumes", "confidence", "rank", "guarantee"),
    [(9, 0.9, 9, 0.9), (10, 0.9, 10, 10 / 11), (19, 0.9, 18, 0.9), (3, 0.9, 3, 0.75),
     (1, 0.9, 1, 0.5), (1, 0.1, 1, 0.5), (99, 0.9, 90, 0.9)],
)  # fmt: skip
def test_rank_and_guarantee(n_volumes, confidence, rank, guarantee):
    scores = tuple(float(value) for value in range(n_volumes, 0, -1))
    found = calibration(scores, confidence)
    assert found.factor == rank == found.rank
    assert found.guarantee == pytest.approx(guarantee)


def test_volumes_that_were_reconstructed_differently_are_not_mixed():
    others = [CONDITIONS, dataclasses.replace(CONDITIONS, n_samples=16)]
    with pytest.raises(ConfigurationError, match=r"b\.h5 and a\.h5 differ in n_samples \(16 and 8"):
        combine_scores(["a.h5", "b.h5"], [1.0, 2.0], others)


def test_it_holds_for_all_acquisitions_and_the_range_of_accelerations():
    conditions = [CONDITIONS, dataclasses.replace(CONDITIONS, acquisition="AXT1", acceleration=5.0)]
    found = combine_scores(["a.h5", "b.h5"], [1.0, 2.0], conditions)
    assert found.acquisitions == ("AXT1", "AXT2") and found.accelerations == (4.0, 5.0)
    assert found.anatomy == "AXT1, AXT2"
    assert all(found.differences(each) == [] for each in conditions)
    assert found.differences(dataclasses.replace(CONDITIONS, acceleration=4.5)) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("acquisition", "CORPD_FBK", "acquisition CORPD_FBK instead of AXT2"),
        ("acquisition", "", "acquisition without a name instead of AXT2"),
        ("acceleration", 8.0, "acceleration 8 instead of 4 to 4"),
        ("acceleration", 3.0, "acceleration 3 instead of 4 to 4"),
        ("pattern", "points", "pattern points instead of regular lines"),
        ("prior", "q" * 32, "prior qqqqqqqq... instead of pppppppp..."),
        ("method", "dps", "method dps instead of alps"),
        ("n_samples", 16, "n_samples 16 instead of 8"),
        ("n_evaluations", 50, "n_evaluations 50 instead of 100"),
        ("start", "file", "start file instead of prior"),
    ],
)
def test_what_differs_is_named(name, value, words):
    differ = dataclasses.replace(CONDITIONS, **{name: value})
    assert calibration().differences(differ) == [words]


def test_a_file_comes_back(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(calibration().to_dict()))
    assert read_calibration(path) == calibration()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(factor=1.1), "states a factor of 1.1 where its scores say 1.5"),
        (lambda c: c.update(guarantee=None), "states a guarantee of None"),
        (lambda c: c.update(guarantee=True), "states a guarantee of True"),
        (lambda c: c.update(coverage=0.5), "states a coverage of 0.5"),
        (lambda c: c.update(scores=[1.5, 2.0, float("nan")]), "scores is"),
        (lambda c: c.update(scores=[1.5, 2.0, -1]), "scores is"),
        (lambda c: c.update(scores="1.5"), "scores is"),
        (lambda c: c.update(scores=[1.5]), "1 scores and 3 volumes"),
        (lambda c: c.update(scores=[], volumes=[]), "0 scores and 0 volumes"),
        (lambda c: c.update(accelerations=[4.0]), "accelerations"),
        (lambda c: c.update(n_samples=1), "n_samples is 1"),
        (lambda c: c.update(prior=7), "prior is 7"),
        (lambda c: c.update(confidence=1.0), "confidence is 1.0"),
        (lambda c: c.update(more=1), "unknown setting more"),
        (lambda c: c.pop("method"), "method"),
        (lambda c: c.update(format="another"), "does not say that it is"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, words):
    content = calibration().to_dict()
    change(content)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError) as refused:
        read_calibration(path)
    assert words in str(refused.value) and str(path) in str(refused.value)
    assert "mri-alps calibrate" in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[1, 2", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (MAX_SETTINGS_BYTES + 1)],
    ids=["empty", "cut", "list", "null", "no text", "nested", "large"],
)
def test_what_is_no_calibration_is_refused(tmp_path, content):
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="calibration"):
        read_calibration(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_calibration(tmp_path / "missing.json")
