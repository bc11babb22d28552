"""An image has to explain the centre of k-space, or the likeliest cause is named."""

import numpy as np
import pytest
import torch

from mri_alps.calibration import explain, judge, prepare_slice
from mri_alps.calibration.chain.mapped import GIVEN
from mri_alps.calibration.doubts import likeliest_cause
from mri_alps.calibration.explanation import LARGEST_MISFIT
from mri_alps.calibration.line_weights import LARGEST_ERROR, MAPS_ERROR
from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.calibration.peak import distance_from_center
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation

SHAPE = (64, 56)


def scan(n_center=16, radius=0.7):
    """An undersampled scan, its image and its true maps, all of them everywhere."""
    kspace, image, maps, matrix = simulation.acquisition(8, SHAPE, level=0.02, radius=radius)
    mask = simulation.lines(SHAPE[1], 3, n_center)
    return raw_from_arrays((kspace * mask)[None], mask, noise_covariance=matrix), image, maps


def judged(acquisition):
    image = gaussian_mean(acquisition.operator(), acquisition.data(), acquisition.noise_std)
    explanation = explain(acquisition, image)
    return explanation, judge(acquisition, explanation)


def circle(radius):
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return np.hypot(y, x) < radius


@pytest.mark.parametrize("given", [False, True])
def test_right_maps_explain_the_data(given):
    raw, _, maps = scan()
    found = prepare_slice(raw, 0, sensitivity_maps=maps if given else None)
    explanation, verdict = judged(found)
    assert explanation.center < 0.02 and explanation.outer < 1.3
    assert verdict.sentence is None and not verdict.is_refused
    assert found.info["notes"] == []


@pytest.mark.parametrize(
    "fault",
    [
        lambda maps: np.roll(maps, 1, 0),
        np.conj,
        lambda maps: maps[:, ::-1],
        lambda maps: maps * circle(0.35),
    ],
    ids=["permuted", "conjugated", "flipped", "support"],
)
def test_images_by_wrong_maps_are_refused_and_the_maps_blamed(fault):
    raw, _, maps = scan()
    with pytest.warns(MriAlpsWarning, match="maps"):
        found = prepare_slice(raw, 0, sensitivity_maps=fault(maps).copy())
    explanation, verdict = judged(found)
    assert explanation.center > LARGEST_MISFIT and verdict.is_refused
    assert "likeliest cause is the maps that were given" in verdict.sentence
    assert found.info["maps_error"] == MAPS_ERROR


def test_a_support_that_ends_beside_the_object_is_used_as_it_is():
    raw, _, maps = scan()
    found = prepare_slice(raw, 0, sensitivity_maps=maps * circle(0.75))
    support = found.sensitivity_maps.abs().sum(0).numpy() > 0
    np.testing.assert_array_equal(support, circle(0.75))
    assert found.info["signal_beside_maps"]["outside"] < 0.02
    assert judged(found)[1].sentence is None


def test_signal_outside_of_given_maps_is_told_with_numbers():
    raw, image, maps = scan()
    inside = circle(0.45)
    with pytest.warns(MriAlpsWarning, match="sensitivity maps"):
        found = prepare_slice(raw, 0, sensitivity_maps=maps * inside)
    assert "which folds into the image: hand in maps with a larger" in found.info["notes"][0]
    power = np.abs(image * maps) ** 2
    actual = np.sqrt(power[:, ~inside].sum() / power.sum())
    # Signal within the resolution of the support counts as inside.
    assert 0.4 * actual < found.info["signal_beside_maps"]["outside"] < actual


def test_maps_that_are_wrong_in_a_part_cost_no_information_of_the_centre():
    """More of the image than is completed has the sensitivity of the other side."""
    raw, image, maps = scan()
    wrong = maps.copy()
    wrong[:, 40:] = maps[:, 24:0:-1]
    with pytest.warns(MriAlpsWarning, match="maps that were given"):
        found = prepare_slice(raw, 0, sensitivity_maps=wrong)
    center = found.weights[found.mask].min()
    usual = prepare_slice(raw, 0, sensitivity_maps=maps)
    usual = usual.weights[usual.mask].min()
    assert float(center) == pytest.approx(float(usual), rel=0.2)
    mean = gaussian_mean(found.operator(), found.data(), found.noise_std)
    magnitude = mean.abs().numpy() * found.rss_weight.numpy() * found.scale
    truth = np.sqrt((np.abs(image * maps) ** 2).sum(0))
    error = np.linalg.norm((magnitude - truth)[:32]) / np.linalg.norm(truth[:32])
    assert error < 0.12


def test_a_centre_that_is_off_is_blamed_before_the_maps():
    kspace, _, _, _ = simulation.acquisition(8, SHAPE, level=0.02)
    shifted = torch.as_tensor(np.roll(kspace, (-1, 12), (-2, -1)))
    assert distance_from_center(shifted) == (0, 12)
    cause = likeliest_cause(distance_from_center(shifted), GIVEN, [16, 16])
    assert cause.startswith("the centre of k-space") and "12 (phase encode)" in cause


def test_measured_delays_are_blamed_before_maps_of_more_shots():
    known = {"largest_delay": 0.25, "delays_corrected": False}
    assert "--correct-delays" in likeliest_cause((0, 0), GIVEN, [16, 16], known)
    corrected = known | {"delays_corrected": True}
    assert "maps that were given" in likeliest_cause((0, 0), GIVEN, [16, 16], corrected)
    unknown = {"delays_corrected": False}
    assert "maps that were given" in likeliest_cause((0, 0), GIVEN, [16, 16], unknown)


def test_samples_beside_the_centre_are_looked_at():
    """Motion between calibration and imaging: the outer lines are those of another pose."""
    kspace, _, _, matrix = simulation.acquisition(8, SHAPE, level=0.002)
    mask = simulation.lines(SHAPE[1], 2, 24)
    moved = np.where(simulation.lines(SHAPE[1], 999, 24), kspace, np.roll(kspace, 1, 0))
    raw = raw_from_arrays((moved * mask)[None], mask, noise_covariance=matrix)
    found = prepare_slice(raw, 0, maps_error=MAPS_ERROR)
    explanation, verdict = judged(found)
    assert explanation.center < LARGEST_ERROR and explanation.outer > 2
    assert not verdict.is_refused and "motion" in verdict.sentence


def test_the_sampler_is_blamed_where_data_and_maps_agree():
    raw, _, _ = scan()
    found = prepare_slice(raw, 0)
    verdict = judge(found, explain(found, torch.zeros(SHAPE, dtype=torch.complex64)))
    assert not verdict.is_refused and "evaluations" in verdict.sentence
