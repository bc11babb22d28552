"""Two estimates of maps from few lines, and what their difference says of the image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mri_alps.calibration import calibrate_volume, combined_mask, prepare_slice
from mri_alps.calibration.chain import choose_maps, estimate_maps, refine_maps, scale, whiten
from mri_alps.calibration.chain import scaled as scaled_stage
from mri_alps.calibration.maps_deviation import measure_maps_deviation
from mri_alps.calibration.maps_error import fit_maps_error
from mri_alps.calibration.probable_center import _Model, complete_probably
from mri_alps.calibration.refinement import RefinedMaps
from mri_alps.core.crop import center_crop
from mri_alps.core.solvers import inner_product
from mri_alps.pipeline.maps_deviation import with_maps_deviation
from mri_alps.rawdata import raw_from_arrays
from mri_alps.sampling import PosteriorSamples
from tests.calibration import calibration_simulation as simulation


def scan(shape=(64, 72), n_center=5):
    kspace, _, _, matrix = simulation.acquisition(8, shape, 0.005)
    mask = simulation.lines(shape[1], 3, n_center)
    return raw_from_arrays((kspace * mask)[None], mask, noise_covariance=matrix), kspace, mask


@pytest.fixture(scope="module")
def scaled():
    raw, _, _ = scan()
    measured = combined_mask(raw, 0, None)
    whitened = whiten(raw, 0, raw.read_slice(0) * measured, measured, calibrate_volume(raw))
    return scale(estimate_maps(whitened, "cpu"))


def with_wrong_maps(scaled):
    """The same with the maps of other coils."""
    wrong = scaled.sensitivity_maps.roll(1, 0)
    mapped = dataclasses.replace(scaled.mapped, sensitivity_maps=wrong)
    return dataclasses.replace(scaled, sensitivity_maps=wrong, mapped=mapped)


def test_the_adjoint_is_that_of_the_derivative():
    generator = torch.Generator().manual_seed(0)
    x, d, r = (torch.randn(n, 9, 8, generator=generator, dtype=torch.complex128) for n in (4, 4, 3))
    model = _Model(torch.rand(9, 8, generator=generator) > 0.4, 3, (1.25, 1.0))
    start = model.at(x)
    left = inner_product(model.derivative(d), r, 3)
    torch.testing.assert_close(left, inner_product(d, model.adjoint(r), 3))
    step = 1e-6
    difference = (model.at(x + step * d) - start) / step
    model.at(x)
    torch.testing.assert_close(difference, model.derivative(d), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "n_center"), [((64, 72), 5), ((63, 71), 6)])
def test_measured_samples_stay_and_the_others_come_near_the_truth(shape, n_center):
    _, kspace, mask = scan(shape, n_center)
    whole = torch.as_tensor(kspace)
    points = torch.as_tensor(mask).expand(shape)
    found = complete_probably(whole * points, points, (shape[0], n_center), 0.005)
    truth, known = center_crop(whole, (32, 32)), center_crop(points, (32, 32))
    torch.testing.assert_close(found[:, known], truth[:, known])
    missing = truth[:, ~known]
    assert (found[:, ~known] - missing).abs().square().sum() < 0.1 * missing.abs().square().sum()


def test_units_do_not_matter():
    _, kspace, mask = scan()
    whole = torch.as_tensor(kspace)
    points = torch.as_tensor(mask).expand(whole.shape[1:])
    one, other = (
        complete_probably(unit * whole * points, points, (64, 5), 0.005 * unit) / unit
        for unit in (1.0, 4096.0)
    )
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_of_two_estimates_the_one_is_taken_that_explains_the_data(scaled):
    kept = choose_maps(scaled)
    assert torch.equal(kept.sensitivity_maps, scaled.sensitivity_maps)
    assert torch.equal(kept.alternative, scaled.mapped.alternative.sensitivity_maps)
    wrong = with_wrong_maps(scaled)
    taken = choose_maps(wrong)
    assert torch.equal(taken.sensitivity_maps, scaled.mapped.alternative.sensitivity_maps)
    assert torch.equal(taken.alternative, wrong.sensitivity_maps)
    assert taken.scale == pytest.approx(scaled.scale, rel=0.05)


@pytest.mark.parametrize(("n_rounds", "is_taken"), [(0, False), (1, True)])
def test_the_second_estimate_is_not_taken_for_a_correction_alone(
    scaled, monkeypatch, n_rounds, is_taken
):
    """Whether both were corrected or one: a smooth change explains the data with any maps."""
    kept = choose_maps(scaled)

    def refined(kspace, mask, maps, noise_std, estimate):
        is_second = torch.equal(maps, kept.alternative)
        error = fit_maps_error(kspace, mask, maps, noise_std)
        misfit, rounds = (0.9, n_rounds) if is_second else (0.95, 0)
        return RefinedMaps(maps, error, rounds, misfit, 2, is_corrected=is_second)

    monkeypatch.setattr(scaled_stage, "refine_sensitivity_maps", refined)
    found = refine_maps(kept, lambda *_: None)
    wanted = kept.alternative if is_taken else kept.sensitivity_maps
    assert torch.equal(found.sensitivity_maps, wanted)
    assert found.refined.is_corrected == is_taken and found.refined.n_estimates == 4


def test_the_deviation_is_that_of_the_images(scaled):
    """None of equal maps, large of wrong ones, and none where there is one estimate."""
    maps = scaled.sensitivity_maps
    assert measure_maps_deviation(scaled) is None
    none = measure_maps_deviation(dataclasses.replace(scaled, alternative=maps))
    assert float(none.max()) < 1e-4
    found = measure_maps_deviation(choose_maps(scaled))
    wrong = measure_maps_deviation(dataclasses.replace(scaled, alternative=maps.roll(1, 0)))
    assert found.dtype == torch.float32 and found.shape == maps.shape[1:]
    assert (wrong[maps.abs().sum(0) == 0] == 0).all()
    assert float(wrong.square().mean()) > 25 * float(found.square().mean()) > 0


@pytest.mark.parametrize(("n_center", "is_uncertain"), [(5, True), (10, False)])
def test_few_lines_have_a_deviation_and_a_note(n_center, is_uncertain):
    found = prepare_slice(scan(n_center=n_center)[0], 0)
    assert (found.maps_deviation is not None) == is_uncertain
    assert ("maps_deviation" in found.info) == is_uncertain
    said = [note for note in found.info["notes"] if "calibration lines are uncertain" in note]
    assert len(said) == is_uncertain


def blind(acquisition, shape):
    """An acquisition whose data see nothing."""
    return dataclasses.replace(
        acquisition,
        sensitivity_maps=torch.ones(1, *shape, dtype=torch.complex64),
        mask=torch.zeros(shape[1], dtype=torch.bool),
        kspace=torch.zeros(1, *shape, dtype=torch.complex64),
        weights=None,
    )


def test_samples_get_errors_of_that_deviation_about_their_mean():
    y = torch.linspace(0, 1, 21)[:, None]
    deviation = (0.1 + y) * torch.ones(21, 24)
    acquisition = dataclasses.replace(prepare_slice(scan()[0], 0), maps_deviation=deviation)
    acquisition = blind(acquisition, (21, 24))
    plain = PosteriorSamples(torch.zeros(400, 21, 24, dtype=torch.complex64), 0)
    found = with_maps_deviation(plain, acquisition, 3, 0).samples
    assert float(found.mean(0).abs().max()) < 1e-6
    variance = found.abs().square().sum(0) / (len(found) - 1) / deviation.square()
    # Means over 400 draws and some 20 independent places: 0.01, at one place 0.05.
    assert float(variance.mean()) == pytest.approx(1, abs=0.05)
    assert float(variance.std()) < 0.12
    neighbours = (found[:, :, 1:] * found[:, :, :-1].conj()).real.sum(0) / 399
    assert float((neighbours / deviation[:, 1:].square()).mean()) > 0.3


def test_errors_of_the_maps_are_not_on_measured_lines_and_keep_their_energy():
    acquisition = prepare_slice(scan()[0], 0)
    deviation = torch.full(acquisition.shape, 0.3)
    acquisition = dataclasses.replace(acquisition, maps_deviation=deviation)
    plain = PosteriorSamples(torch.zeros(60, *acquisition.shape, dtype=torch.complex64), 0)
    errors = with_maps_deviation(plain, acquisition, 3, 0).samples
    assert float(errors.abs().square().mean()) == pytest.approx(0.09 * 59 / 60, rel=0.02)
    unseeing = dataclasses.replace(acquisition, mask=torch.zeros_like(acquisition.mask))
    whole = with_maps_deviation(plain, unseeing, 3, 0).samples
    seen, all_seen = (
        float(acquisition.operator().forward(x).abs().square().mean()) for x in (errors, whole)
    )
    assert seen < 0.1 * all_seen


def test_where_everything_was_measured_errors_of_the_maps_are_not_blown_up():
    acquisition = prepare_slice(scan()[0], 0)
    acquisition = dataclasses.replace(
        acquisition,
        maps_deviation=torch.full(acquisition.shape, 0.3),
        mask=torch.ones_like(acquisition.mask),
        weights=None,
    )
    plain = PosteriorSamples(torch.zeros(8, *acquisition.shape, dtype=torch.complex64), 0)
    errors = with_maps_deviation(plain, acquisition, 3, 0).samples
    assert torch.isfinite(torch.view_as_real(errors)).all()
    assert float(errors.abs().square().mean()) < 1.01 * 0.09


def test_without_a_deviation_and_of_one_sample_nothing_changes():
    acquisition = prepare_slice(scan()[0], 0)
    one = PosteriorSamples(torch.ones(1, 64, 72, dtype=torch.complex64), 0)
    assert with_maps_deviation(one, acquisition, 0, 0) is one
    certain = dataclasses.replace(acquisition, maps_deviation=None)
    two = PosteriorSamples(torch.ones(2, 64, 72, dtype=torch.complex64), 0)
    assert with_maps_deviation(two, certain, 0, 0) is two
    again = [with_maps_deviation(two, acquisition, 5, 1).samples for _ in range(2)]
    assert torch.equal(*again)
    assert not torch.equal(again[0], with_maps_deviation(two, acquisition, 5, 2).samples)
    assert np.isfinite(again[0].abs().numpy()).all()
