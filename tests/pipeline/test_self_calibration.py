"""Self-calibration through the road that all programs take."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch

from mri_alps import reconstruct
from mri_alps.calibration import combined_mask
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline import ReconstructionConfiguration, SliceReconstructor, self_calibration
from mri_alps.pipeline.self_calibration import (
    N_PREDICTIONS,
    is_calibrated,
    plan_predictions,
    self_calibrated,
)
from mri_alps.pipeline.slice_store import ComputeSettings, SliceStore
from mri_alps.priors import load_prior
from mri_alps.rawdata import raw_from_arrays
from mri_alps.uncertainty import UncertaintyFactors, choose_left_out
from tests.calibration import calibration_simulation as simulation
from tests.calibration.test_maps_error import NOISE, SHAPE, scan
from tests.pipeline.simulated_scan import coil_maps, simulate

CPU = torch.device("cpu")
SETTINGS = ReconstructionConfiguration(
    prior="gaussian", mask="equispaced", acceleration=3, center_fraction=0.25, n_samples=3,
    n_evaluations=6, self_calibration="scan", seed=4,
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")


def road_of(kspace, settings=SETTINGS):
    raw = raw_from_arrays(kspace)
    return SliceReconstructor.of_scan(raw, settings, load_prior("gaussian"), CPU)


@pytest.fixture(scope="module")
def kspace():
    return simulate(n_slices=4)[0].astype(np.complex64)


def test_what_is_left_out_takes_no_part_in_the_calibration(kspace):
    """Maps refined on left-out lines predict these better than what was never measured."""
    road = road_of(kspace)
    measured = combined_mask(road.raw, 1, road.mask)
    (fold,) = choose_left_out(measured, (80, 16))
    other = kspace.copy()
    other[1][:, fold] *= -3  # more would be taken for the centre of k-space
    spoilt = dataclasses.replace(road_of(other), mask=road.mask, calibration=road.calibration)
    ours, theirs = (each.prepare(1, left_out=fold) for each in (road, spoilt))
    assert not ours.mask.expand(ours.shape)[torch.as_tensor(fold)].any()
    for name in ("kspace", "sensitivity_maps", "weights"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.scale == theirs.scale
    whole = (each.prepare(1).kspace for each in (road, spoilt))
    assert not torch.equal(*whole)


def test_factors_do_not_depend_on_what_is_done_already_and_are_kept(kspace, tmp_path, monkeypatch):
    store = SliceStore(tmp_path / "scan.h5", "identity")
    store.open(ComputeSettings("cpu", 1, None, "test"), print)
    first = self_calibrated(road_of(kspace), store, range(4)).factors
    assert first is not None and first.slices == (0, 2, 3)
    assert road_of(kspace).self_calibrated(range(4)).factors == first

    def forbidden(*_):
        raise AssertionError("it is done already")

    monkeypatch.setattr(self_calibration, "measure_left_out", forbidden)
    assert self_calibrated(road_of(kspace), store, range(4)).factors == first


def test_a_slice_in_slice_mode_has_factors_of_its_own(kspace):
    road = road_of(kspace, dataclasses.replace(SETTINGS, self_calibration="slice"))
    assert road.self_calibrated(range(4)).factors is None
    found = [road.draw(road.load(index)).factors for index in (0, 2)]
    assert [factors.slices for factors in found] == [(0,), (2,)]
    assert found[0].overall != found[1].overall


def test_samples_are_scaled_about_their_mean_and_the_slice_says_by_how_much(kspace):
    road = road_of(kspace)
    loaded = road.load(1)
    plain = road.draw(loaded)
    twice = UncertaintyFactors(2.0, 0.1, (0.5,), (2.0,), (0.1,), 0.9, 0.9, 4, 60)
    scaled = dataclasses.replace(road, factors=twice).draw(loaded)
    assert_equal_to_rounding(scaled.samples.mean(0), plain.samples.mean(0), dtype="float32")
    ratio = scaled.samples.std(0).sum() / plain.samples.std(0).sum()
    assert 1.2 < ratio < 2
    assert road.reduce(plain).scalars["uncertainty_factor"] == 1
    reduced = road.reduce(scaled)
    assert reduced.scalars["uncertainty_factor"] == 2
    assert reduced.diagnostics["self_calibration"]["overall"] == 2


def test_given_maps_are_those_that_predict(kspace, monkeypatch):
    """Arrays too; estimated maps in their place would calibrate another reconstruction."""
    given = coil_maps().astype(np.complex64)
    seen = []
    earnest = self_calibration.compare_left_out
    monkeypatch.setattr(
        self_calibration,
        "compare_left_out",
        lambda maps, *rest: seen.append(maps) or earnest(maps, *rest),
    )
    reconstruct(kspace[:1], **SETTINGS.to_dict() | {"sensitivity_maps": given})
    road = dataclasses.replace(road_of(kspace[:1]), given_maps=given)
    expected = road.prepare(0).maps_uncompressed
    assert len(seen) == 2
    for maps in seen:
        assert_equal_to_rounding(maps, expected, dtype="float32")


def sentences(kspace, **changes):
    """What is said of left-out samples, and what the result says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MriAlpsWarning)
        found = reconstruct(kspace, **SETTINGS.to_dict() | changes)
    said = [str(one.message) for one in caught if "left out to calibrate" in str(one.message)]
    return len(said), found.attributes["self_calibration"]


def test_what_cannot_be_calibrated_is_said_and_a_full_scan_is_not_blamed(kspace):
    only_centre = np.zeros((1, 64), bool)
    only_centre[:, 24:40] = True
    assert sentences(kspace[:1], mask=None) == (0, "not possible")
    assert sentences(kspace[:1], self_calibration="off") == (0, "off")
    assert sentences(kspace[:1], mask=only_centre) == (1, "not possible")


def test_learned_priors_are_calibrated_unless_told_otherwise():
    gaussian, learned = load_prior("gaussian"), load_prior("brain-small")
    settings = ReconstructionConfiguration()
    assert is_calibrated(settings, learned) and not is_calibrated(settings, gaussian)
    assert is_calibrated(dataclasses.replace(settings, self_calibration="slice"), gaussian)
    assert not is_calibrated(dataclasses.replace(settings, self_calibration="off"), learned)


def test_a_volume_spends_a_twentieth_and_slices_share_the_sets(kspace):
    n_samples, n_evaluations = 8, 40  # the default
    for n_slices, n_all, share in ((1, 1, 0.375), (3, 16, 0.05)):
        plan = plan_predictions(n_evaluations, n_slices)
        spent = n_slices * plan.n_sets * N_PREDICTIONS * plan.n_evaluations
        assert spent <= share * n_all * n_samples * n_evaluations
    assert plan_predictions(4, 1).n_evaluations == 4
    road = road_of(kspace)
    found = [self_calibration.measure_left_out(road, 1, n_slices) for n_slices in (1, 3)]
    assert [len(one) for one in found] == [2, 1]
    factors = road.self_calibrated(range(4)).factors
    assert factors.n_evaluations == 3 * N_PREDICTIONS * SETTINGS.n_evaluations


def test_an_error_of_the_maps_is_in_the_samples_and_not_in_their_mean(kspace):
    road = road_of(kspace)
    loaded = road.load(1)
    plain = road.draw(loaded)
    deviation = torch.full(loaded.acquisition.shape, 0.5)
    acquisition = dataclasses.replace(loaded.acquisition, maps_deviation=deviation)
    wide = road.draw(dataclasses.replace(loaded, acquisition=acquisition))
    assert_equal_to_rounding(wide.samples.mean(0), plain.samples.mean(0), dtype="float32")
    errors = wide.samples - plain.samples
    # Some hundred independent places, two complex degrees of freedom each: 7 %.
    assert errors.var(0, ddof=1).mean() == pytest.approx(0.25, rel=0.25)


def test_an_error_of_the_maps_is_part_of_the_prediction(kspace, monkeypatch):
    road = road_of(kspace)
    certain = self_calibration.measure_left_out(road, 1)
    earnest = SliceReconstructor.prepare

    def uncertain(self, *arguments, **settings):
        found = earnest(self, *arguments, **settings)
        return dataclasses.replace(found, maps_deviation=torch.full(found.shape, 0.5))

    monkeypatch.setattr(SliceReconstructor, "prepare", uncertain)
    found = self_calibration.measure_left_out(road, 1)
    assert [one.maps is None for one in certain + found] == [True, True, False, False]
    for one, other in zip(certain, found, strict=True):
        assert other.maps.sum() > 0.5 * one.predicted.sum()  # eight draws: some 20 %
        assert other.maps_variance.shape == other.variance.shape
        np.testing.assert_allclose(other.predicted, one.predicted, rtol=1e-3)
        np.testing.assert_allclose(other.error, one.error, rtol=1e-3)


@pytest.mark.parametrize(("name", "expected"), [("periphery", True), ("corners", False)])
def test_signal_in_what_the_noise_was_measured_by_is_part_of_what_is_found(kspace, name, expected):
    witnesses = ({"witness": name, "has_signal": True}, {"witness": "none", "has_signal": False})
    road = road_of(kspace)
    calibration = dataclasses.replace(
        road.calibration, noise_source="periphery", witnesses=witnesses
    )
    assert calibration.noise_has_signal is expected
    found = self_calibration.measure_left_out(dataclasses.replace(road, calibration=calibration), 1)
    assert [one.noise_has_signal for one in found] == [expected] * 2


def test_factors_scale_the_priors_part_and_not_that_of_the_maps(kspace):
    road = road_of(kspace)
    loaded = road.load(1)
    deviation = torch.full(loaded.acquisition.shape, 0.5)
    uncertain = dataclasses.replace(
        loaded, acquisition=dataclasses.replace(loaded.acquisition, maps_deviation=deviation)
    )
    twice = UncertaintyFactors(2.0, 0.1, (0.5,), (2.0,), (0.1,), 0.9, 0.9, 4, 60)
    added = [
        one.draw(uncertain).samples - one.draw(loaded).samples
        for one in (road, dataclasses.replace(road, factors=twice))
    ]
    assert_equal_to_rounding(added[1], added[0], dtype="float32", scale=np.abs(added[0]).max())


def test_every_evaluation_of_the_prior_is_counted(monkeypatch):
    """Those for maps too, and those of a set whose chains are lost."""
    data, mask, _, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8))
    raw = raw_from_arrays(data.numpy()[None], mask.numpy(), noise_covariance=NOISE**2 * np.eye(8))
    settings = ReconstructionConfiguration(prior="brain-small", n_samples=2, n_evaluations=4)
    prior = load_prior("brain-small")
    road = SliceReconstructor.of_scan(raw, settings, prior, CPU)
    asked, sets = [], []
    denoise, draw = prior.denoise, self_calibration.sample_posterior

    def counted(x, sigma):
        asked.append(x[..., 0, 0].numel())
        return denoise(x, sigma)

    def one_chain_of_the_last_set(*problem, **settings):
        result = draw(*problem, **settings)
        sets.append(sum(asked))
        samples = result.samples if len(sets) == 1 else result.samples[:1]
        return dataclasses.replace(result, samples=samples)

    monkeypatch.setattr(prior, "denoise", counted)
    monkeypatch.setattr(self_calibration, "sample_posterior", one_chain_of_the_last_set)
    (found,) = self_calibration.measure_left_out(road, 0)
    assert len(sets) == 2
    assert found.n_evaluations == sum(asked) > 2 * 2 * 4
