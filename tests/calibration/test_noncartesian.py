"""Calibration of radial and spiral scans: noise, delays, the centre, maps; nothing in silence."""

import warnings

import numpy as np
import pytest
import torch

from mri_alps.calibration import (
    calibrate_volume,
    explain,
    fit_maps_error,
    judge,
    measure_delays,
    portray_calibration,
    prepare_slice,
)
from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning
from mri_alps.operators import NonCartesianSenseOperator
from mri_alps.pipeline import reconstruct
from mri_alps.rawdata import trajectory_from_arrays
from tests.rawdata import trajectory_scans as scans

pytest.importorskip("finufft", reason="scans along trajectories take finufft")
warnings_are_notes = pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")


def scan(places, **options):
    return trajectory_from_arrays(scans.samples_at(places, **options), places, scans.SHAPE)


def least_squares(acquisition):
    """The image that explains the data best, nearly."""
    from mri_alps.core.solvers import conjugate_gradient

    operator, data, _ = acquisition.problem()
    return conjugate_gradient(operator.normal, operator.adjoint(data), 40)


@pytest.mark.parametrize("noise_std", [0.01, 0.05])
def test_noise_beside_the_object(noise_std):
    places = scans.radial(48)
    samples = scans.samples_at(places, noise_std=noise_std)
    calibration = calibrate_volume(trajectory_from_arrays(samples, places, scans.SHAPE))
    assert calibration.noise_source == "quiet readout positions"
    level = np.sqrt(np.diag(calibration.noise_covariance).real)
    np.testing.assert_allclose(level, noise_std, rtol=0.06)


@warnings_are_notes
def test_an_object_that_fills_the_readout_is_no_noise():
    # not oversampled and twice as large as the field of view: every position has signal
    places = scans.radial(48, oversampling=1)
    raw = scan(2 * places / 2, noise_std=0.001)
    calibration = calibrate_volume(raw)
    level = np.sqrt(np.diag(calibration.noise_covariance).real).mean()
    if calibration.noise_source == "quiet readout positions":
        assert level < 0.0015


@pytest.mark.parametrize("delay", [(0.25, 0.0, 0.25), (0.5, 0.1, 0.2), (-0.3, 0.05, 1.0)])
@pytest.mark.parametrize("n_shots", [60, 200])
def test_delays_come_back(delay, n_shots):
    from mri_alps.calibration.noncartesian.delays import GradientDelays

    places = scans.radial(n_shots)
    true = GradientDelays(*delay, 0).applied_to(places)
    samples = scans.samples_at(np.clip(true, -24, 24), noise_std=0.005)
    found = measure_delays([(samples, places)])
    measured = np.array([found.first, found.mixed, found.second])
    np.testing.assert_allclose(measured, delay, atol=0.015 + 0.04 * np.abs(delay).max())


def test_no_delays_without_opposed_spokes():
    angle = np.pi * np.arange(30) / 30  # over half a turn: each direction is read one way
    along = (np.arange(96) - 48) / 2
    places = np.stack([np.cos(angle), np.sin(angle)], -1)[:, None] * along[:, None]
    raw = scan(places[:-2])
    calibration = calibrate_volume(raw)
    assert calibration.delays is None
    assert any("could not be measured" in note for note in calibration.notes)
    with pytest.warns(MriAlpsWarning, match="could not be measured"):
        calibrate_volume(raw, correct_delays=True)


def test_no_delays_of_noise():
    places = scans.radial(60)
    noise = np.random.default_rng(0).standard_normal((2, 4, 60, 96))
    assert measure_delays([(noise[0] + 1j * noise[1], places)]) is None


def delayed(n_shots=60, delay=(0.3, 0.0, 0.3)):
    from mri_alps.calibration.noncartesian.delays import GradientDelays

    places = scans.radial(n_shots)
    true = np.clip(GradientDelays(*delay, 0).applied_to(places), -24, 24)
    return trajectory_from_arrays(scans.samples_at(true, noise_std=0.005), places, scans.SHAPE)


def test_delays_are_told_and_corrected():
    raw = delayed()
    with pytest.warns(MriAlpsWarning, match="--correct-delays"):
        as_read = calibrate_volume(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        before = prepare_slice(raw, 0, calibration=as_read)
        corrected = calibrate_volume(raw, correct_delays=True)
        after = prepare_slice(raw, 0, calibration=corrected)
    assert after.info["trajectory"]["delays_corrected"]
    assert any("are corrected" in note for note in after.info["notes"])
    rest = [
        float((a.data() - a.operator().forward(least_squares(a))).norm() / a.data().norm())
        for a in (before, after)
    ]
    assert rest[1] < 0.3 * rest[0]


@warnings_are_notes
def test_what_delays_spoil_is_refused_with_the_remedy():
    raw = delayed(delay=(1.0, 0.0, 1.0))
    acquisition = prepare_slice(raw, 0)
    verdict = judge(acquisition, explain(acquisition, least_squares(acquisition)))
    assert verdict.is_refused and "--correct-delays" in verdict.sentence


@warnings_are_notes
def test_a_wrong_trajectory_is_refused():
    places = scans.radial(60)
    samples = scans.samples_at(places)
    # Rotated or mirrored spokes are those of a rotated or mirrored object; others fit none.
    angle = np.deg2rad(137.5) * np.arange(60)
    along = places[0, :, 0]
    others = np.stack([np.cos(angle), np.sin(angle)], -1)[:, None] * along[:, None]
    wrong = trajectory_from_arrays(samples, others, scans.SHAPE)
    acquisition = prepare_slice(wrong, 0, noise_std=scans.NOISE_STD)
    verdict = judge(acquisition, explain(acquisition, least_squares(acquisition)))
    assert verdict.is_refused and "trajectory" in verdict.sentence


@pytest.mark.parametrize("places", [scans.radial(24), scans.radial(40), scans.spirals(6)])
def test_maps_scale_and_misfit(places):
    raw = scan(places)
    acquisition = prepare_slice(raw, 0, noise_std=scans.NOISE_STD)
    maps = acquisition.raw_sensitivity_maps().numpy()
    true = scans.coil_maps()
    inside = np.abs(scans.truth()) > 0.2
    product = np.abs((maps.conj() * true).sum(0))
    norms = np.linalg.norm(maps, axis=0) * np.linalg.norm(true, axis=0)
    sine = np.sqrt(np.maximum(1 - (product[inside] / norms[inside]) ** 2, 0))
    assert sine.mean() < 0.03
    cartesian = np.abs(scans.root_sum_of_squares())[inside]
    image = np.abs(least_squares(acquisition).numpy()) * acquisition.scale
    weight = acquisition.rss_weight.numpy()
    np.testing.assert_allclose((image * weight)[inside].mean(), cartesian.mean(), rtol=0.03)
    assert acquisition.info["maps_misfit"] < 1.06
    assert acquisition.info["calibration_source"] == "least-squares center of the shots"


def test_exact_zeros_and_what_is_beyond_the_grid_are_not_measured():
    places = scans.radial(24)
    samples = scans.samples_at(places)
    samples[:, 3, 40:50] = 0
    stretched = places * 1.02
    raw = trajectory_from_arrays(samples, stretched, scans.SHAPE)
    assert "beyond the image's grid" in " ".join(raw.provenance["processing"])
    acquisition = prepare_slice(raw, 0, noise_std=scans.NOISE_STD)
    kept = (np.abs(stretched) <= 24.01).all(-1)
    kept[3, 40:50] = False
    assert acquisition.kspace.shape == (scans.N_COILS, kept.sum(), 1)
    assert isinstance(acquisition.operator(), NonCartesianSenseOperator)


def test_an_empty_slice():
    places = scans.radial(24)
    samples = scans.samples_at(places)
    kspace = np.stack([np.zeros_like(samples), samples])
    raw = trajectory_from_arrays(kspace, places, scans.SHAPE)
    assert prepare_slice(raw, 0).is_empty
    assert not prepare_slice(raw, 1).is_empty


def test_a_center_that_is_not_covered():
    few = scans.radial(8)
    with pytest.raises(InputFileError, match=r"densely only up to \d+ cycles.*--sensitivity-maps"):
        prepare_slice(scan(few), 0, noise_std=scans.NOISE_STD)
    around = scans.radial(40)
    around = around[:, np.abs(around).max(axis=(0, 2)) > 6]
    with pytest.raises(InputFileError, match="only up to 0 cycles"):
        prepare_slice(scan(around), 0, noise_std=scans.NOISE_STD)


def test_given_maps():
    raw = scan(scans.radial(8))
    given = scans.coil_maps()
    acquisition = prepare_slice(raw, 0, sensitivity_maps=given, noise_std=scans.NOISE_STD)
    assert acquisition.info["sensitivity_maps"] == "user"
    image = np.abs(least_squares(acquisition).numpy())
    assert np.isfinite(image).all()


SPIRALS = scans.spiral(16, 200, scans.SHAPE).numpy()


@pytest.mark.parametrize("shape", [scans.SHAPE, (47, 48)])
def test_given_maps_need_no_center(shape):
    """Every fourth interleaf covers the centre to a cycle: the scale comes through the maps."""
    places, given = scans.spiral(16, 200, shape).numpy(), scans.coil_maps(shape=shape)
    scales = []
    for step in (1, 4):
        samples = scans.samples_at(places[::step], shape=shape)
        raw = trajectory_from_arrays(samples, places[::step], shape)
        acquisition = prepare_slice(raw, 0, sensitivity_maps=given, noise_std=scans.NOISE_STD)
        assert acquisition.kspace.dtype == torch.complex64
        scales.append(acquisition.scale)
    assert scales[1] == pytest.approx(scales[0], rel=0.1)
    assert acquisition.info["calibration_region"] == [0, 0]
    assert any("image scale comes from that image" in note for note in acquisition.info["notes"])
    assert portray_calibration(raw, acquisition).eigenvalues is None
    image = gaussian_mean(*acquisition.problem()).abs() * acquisition.scale * acquisition.rss_weight
    truth = scans.root_sum_of_squares(shape=shape)
    assert np.linalg.norm(image.numpy() - truth) < 0.3 * np.linalg.norm(truth)


def test_what_given_maps_cannot_replace():
    places = SPIRALS[::4]
    wrong = np.roll(scans.coil_maps(), 1, 0)
    with pytest.warns(MriAlpsWarning, match="the maps that were given"):
        acquisition = prepare_slice(
            scan(places), 0, sensitivity_maps=wrong, noise_std=scans.NOISE_STD
        )
    verdict = judge(acquisition, explain(acquisition, least_squares(acquisition)))
    assert "the maps that were given" in verdict.sentence
    beside = scan(places[:, 40:])
    with pytest.raises(InputFileError, match=r"only up to 0 cycles.*use more shots"):
        prepare_slice(beside, 0, sensitivity_maps=wrong, noise_std=scans.NOISE_STD)
    single = scan(places, n_coils=1)
    with pytest.raises(InputFileError, match="an image takes 3"):
        prepare_slice(single, 0, noise_std=scans.NOISE_STD)


@pytest.mark.parametrize("n_shots", [24, 48])
def test_no_more_is_allowed_for_maps_than_the_data_call_for(n_shots):
    """What the true image leaves, its maps' error and the noise, is what the weights say."""
    places = scans.radial(n_shots)
    misfits = []
    for maps_error in (None, 0.05):
        acquisition = prepare_slice(
            scan(places), 0, noise_std=scans.NOISE_STD, maps_error=maps_error
        )
        maps, mixed = acquisition.sensitivity_maps, torch.as_tensor(acquisition.whitening)
        coils = torch.as_tensor(scans.coil_maps() * scans.truth()) / acquisition.scale
        coils = torch.tensordot(mixed.to(coils.dtype), coils, dims=1)
        rest = acquisition.data() - acquisition.operator().forward((maps.conj() * coils).sum(0))
        misfits.append(float(rest.abs().square().mean()) / (2 * acquisition.noise_std**2))
    assert 0.96 < misfits[0] < 1.05 and misfits[1] < 0.94, misfits


@pytest.mark.parametrize("is_larger", [False, True])
def test_an_object_larger_than_the_field_of_view(is_larger):
    places = scans.radial(48)
    samples = scans.samples_at(places)
    if is_larger:  # the same object, in a field of view of 28 of its 48 pixels
        raw = trajectory_from_arrays(samples, 28 / 48 * places, (28, 28))
        assert any("larger than the field of view" in told for told in raw.provenance["processing"])
        n = raw.shape[0]
        assert 40 <= n <= 56 and raw.crop == (28, 28)
        np.testing.assert_allclose(raw.trajectory(0), n / 48 * places, rtol=1e-6)
        result = reconstruct(raw, prior="gaussian", n_samples=4, n_evaluations=10)
        expected = center_crop(scans.root_sum_of_squares() * n / 48, (28, 28))
        error = np.linalg.norm(result.reconstruction[0] - expected) / np.linalg.norm(expected)
        assert error < 0.08  # folded, it is 0.4
        assert raw.pixel_spacing == pytest.approx((1, 1))
        return
    notes = calibrate_volume(trajectory_from_arrays(samples, places, scans.SHAPE)).notes
    assert not any("larger than the field of view" in note for note in notes)


def test_portrait():
    acquisition = prepare_slice(scan(scans.radial(24)), 0, noise_std=scans.NOISE_STD)
    portrait = portray_calibration(scan(scans.radial(24)), acquisition)
    for axis in ("readout", "phase_encode"):
        assert len(portrait.profiles[axis]) == 48 and np.nanargmax(portrait.profiles[axis]) == 24
    assert portrait.weights.shape == (48,) and np.nanargmin(portrait.weights) == 24
    assert np.nanmax(portrait.weights) <= 1


def test_coil_compression():
    raw = scan(scans.radial(40), n_coils=scans.N_COILS)
    acquisition = prepare_slice(raw, 0, n_virtual_coils=3, noise_std=scans.NOISE_STD)
    assert acquisition.kspace.shape[0] == acquisition.sensitivity_maps.shape[0] == 3
    with pytest.raises(ConfigurationError, match="rows"):
        prepare_slice(raw, 0, row_compression_tolerance=0.01, noise_std=scans.NOISE_STD)


def test_what_is_for_cartesian_scans_alone():
    raw = scan(scans.radial(24))
    with pytest.raises(ConfigurationError, match="--shots"):
        prepare_slice(raw, 0, np.ones(48, bool), noise_std=scans.NOISE_STD)


def test_shots_that_are_left_out():
    raw = scan(scans.radial(24))
    left_out = np.arange(24) % 6 == 2
    acquisition = prepare_slice(raw, 0, left_out=left_out, noise_std=scans.NOISE_STD)
    assert acquisition.kspace.shape == (scans.N_COILS, 96, 20)
    kept = scans.radial(24)[~left_out].swapaxes(0, 1)
    np.testing.assert_allclose(acquisition.trajectory.numpy(), np.clip(kept, -24, 24))


def test_misfit_of_wrong_maps():
    raw = scan(scans.radial(60))
    acquisition = prepare_slice(raw, 0, noise_std=scans.NOISE_STD)
    rolled = torch.roll(acquisition.sensitivity_maps, 1, 0)
    arguments = (acquisition.kspace, acquisition.mask)
    path = acquisition.trajectory
    good = fit_maps_error(
        *arguments, acquisition.sensitivity_maps, acquisition.noise_std, trajectory=path
    )
    bad = fit_maps_error(*arguments, rolled, acquisition.noise_std, trajectory=path)
    assert good.found < 0.1 < 0.3 < bad.found


def test_without_finufft(monkeypatch):
    import sys

    from mri_alps.core.errors import MissingDependencyError

    raw = scan(scans.radial(24))
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingDependencyError, match=r"mri-alps\[noncartesian\]"):
        prepare_slice(raw, 0, noise_std=scans.NOISE_STD)


@warnings_are_notes
@pytest.mark.parametrize("n_shots", [600, 200, 89, 55])
def test_delay_of_a_real_scan(shared_data, n_shots):
    from mri_alps.rawdata import read_raw

    raw = read_raw(shared_data / "raw" / "radial_abdomen_golden_1ch.npz").with_shots(str(n_shots))
    delays = calibrate_volume(raw).delays
    np.testing.assert_allclose([delays.first, delays.second], 0.25, atol=0.02)
    assert abs(delays.mixed) < 0.02
