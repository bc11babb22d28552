"""Noise by several witnesses: the right level, and disagreement told, fault by fault."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

from mri_alps.calibration import calibrate_volume, prepare_slice, whitening_matrix
from mri_alps.calibration.image_corners import corner_estimates
from mri_alps.calibration.noise_estimate import NoiseEstimate
from mri_alps.calibration.noise_witnesses import judge, noise_witnesses
from mri_alps.core.errors import CalibrationError, MriAlpsWarning
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation

SHAPE = (128, 96)
CORNERS = "image corners"


def smooth_disc(radius):
    """An object with an edge of some pixels, whose spectrum ends within k-space anatomy's does."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return (1 + 0.3 * np.cos(5 * x)) / (1 + np.exp((np.hypot(y, x) - radius) / 0.02))


def acquired(n_coils=4, level=0.02, radius=0.55, seed=0, gain=1.0):
    rng = np.random.default_rng(seed)
    maps = simulation.coils(n_coils, SHAPE)
    matrix = level**2 * simulation.covariance(n_coils, rng) * np.outer(gain, gain)
    noise = simulation.noise(matrix, SHAPE, rng)
    signal = simulation.fft2c(smooth_disc(radius) * maps) * np.reshape(gain, (-1, 1, 1))
    return (signal + noise).astype(np.complex64), matrix


def ratio(calibration, matrix):
    """Standard deviations found over true ones, a coil each."""
    return np.sqrt(np.diag(calibration.noise_covariance).real / np.diag(matrix).real)


def hamming(n):
    return 0.54 + 0.46 * np.cos(np.pi * (np.arange(n) - n // 2) / (n / 2))


@pytest.mark.parametrize("acceleration", [1, 4, 8])
@pytest.mark.parametrize("n_coils", [1, 8])
def test_healthy_scans_are_not_warned_of(n_coils, acceleration):
    for seed, level in enumerate((0.005, 0.02, 0.1)):
        kspace, matrix = acquired(n_coils, level, seed=seed)
        mask = simulation.lines(SHAPE[1], acceleration, 16)
        found = calibrate_volume(raw_from_arrays((kspace * mask)[None], mask))
        assert found.notes == ()
        assert ratio(found, matrix).mean() == pytest.approx(1, abs=0.08)
        assert len(found.witnesses) >= 3


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("acceleration", [1, 4])
def test_filtered_noise_is_that_of_the_centre_of_kspace(axes, acceleration):
    kspace, matrix = acquired(level=0.05)
    for axis in axes:
        kspace = kspace * np.expand_dims(hamming(SHAPE[axis]), 1 - axis)
    mask = simulation.lines(SHAPE[1], acceleration, 24)
    told = r"array: the noise is not of one level: .*periphery"
    if 1 in axes:  # it is known line by line
        told = "array: k-space was filtered along the phase encode"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = calibrate_volume(raw_from_arrays((kspace * mask)[None], mask))
    assert len(caught) == (1 not in axes)
    assert re.match(told, found.notes[0])
    assert 0.6 < ratio(found, matrix).mean() < 1.15  # 0.06 to 0.4 at the periphery alone


def test_a_noise_scan_of_another_bandwidth_is_told():
    kspace, matrix = acquired()
    with pytest.warns(
        MriAlpsWarning, match="not of one level: .* by the image corners.*noise scan"
    ):
        found = calibrate_volume(raw_from_arrays(kspace[None], noise_covariance=matrix / 4))
    assert ratio(found, matrix).mean() == pytest.approx(1, abs=0.08)
    with pytest.warns(MriAlpsWarning, match="by the noise scan, which is taken"):
        found = calibrate_volume(raw_from_arrays(kspace[None], noise_covariance=matrix * 4))
    assert_equal_to_rounding(found.noise_covariance, matrix * 4)


def test_a_coil_louder_than_in_the_noise_scan_is_raised():
    kspace, matrix = acquired(n_coils=8)
    true = matrix.copy()
    true[3, 3] += 8 * matrix[3, 3]
    rng = np.random.default_rng(9)
    kspace[3] += simulation.noise(8 * matrix[3:4, 3:4], SHAPE, rng)[0]
    with pytest.warns(MriAlpsWarning, match="coil 3 is louder"):
        found = calibrate_volume(raw_from_arrays(kspace[None], noise_covariance=matrix))
    np.testing.assert_allclose(ratio(found, true), 1, atol=0.1)


def test_coils_of_very_different_gains_are_no_fault():
    gain = 10.0 ** np.arange(0, -4, -1)
    kspace, matrix = acquired(gain=gain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = calibrate_volume(raw_from_arrays(kspace[None]))
        whitening = whitening_matrix(matrix)
    np.testing.assert_allclose(ratio(found, matrix), 1, atol=0.1)
    np.testing.assert_allclose(whitening @ matrix @ whitening.conj().T, np.eye(4), atol=1e-6)


def test_a_dead_coil_is_told_with_the_file():
    kspace, matrix = acquired()
    kspace[2] = 0
    with pytest.warns(MriAlpsWarning, match="array: .*a dead coil"):
        found = calibrate_volume(raw_from_arrays(kspace[None]))
    alive = [0, 1, 3]
    np.testing.assert_allclose(ratio(found, matrix)[alive], 1, atol=0.1)


def test_an_image_without_a_border_is_not_taken_for_noise():
    rng = np.random.default_rng(3)
    matrix = 0.05**2 * np.eye(2)
    anatomy = 1 + 0.5 * simulation.fft2c(
        simulation.fft2c(rng.normal(size=SHAPE))
        * np.outer(np.hanning(SHAPE[0]) ** 8, np.hanning(SHAPE[1]) ** 8)
    )
    kspace = simulation.fft2c(anatomy * simulation.coils(2, SHAPE))
    kspace = kspace + simulation.noise(matrix, SHAPE, rng)
    for acceleration in (1, 4):
        mask = simulation.lines(SHAPE[1], acceleration, 16)
        found = calibrate_volume(raw_from_arrays((kspace * mask)[None], mask))
        assert ratio(found, matrix).mean() == pytest.approx(1, abs=0.1)


def filled_view(n_coils, rng):
    """K-space of an object that leaves no border, with noise of 0.004."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    image = 1 + 0.4 * np.cos(9 * x + 4 * y) * np.exp(2j * x) + 0.3 * (np.hypot(x, y) < 0.6)
    coils = simulation.coils(n_coils, SHAPE) if n_coils > 1 else np.ones((1, *SHAPE))
    noise = simulation.noise(0.004**2 * np.eye(n_coils), SHAPE, rng)
    return simulation.fft2c(image * coils) + noise


@pytest.mark.parametrize("n_coils", [1, 2, 8])
def test_an_object_that_fills_the_view_is_no_noise_of_filtered_kspace(n_coils):
    kspace = filled_view(n_coils, np.random.default_rng(n_coils))
    verdict = judge(noise_witnesses(kspace, np.ones(SHAPE, bool)))
    # 40 to 200 times too large where the border of the image was believed.
    assert 0.8 < verdict.chosen.level / 0.004 < 6


@pytest.mark.parametrize("n_coils", [1, 8])
@pytest.mark.parametrize("n_lines", [16, 96])
@pytest.mark.parametrize("is_filtered", [False, True])
def test_corners_are_signal_where_pixels_far_apart_are_related(n_coils, n_lines, is_filtered):
    rng = np.random.default_rng(7)
    window = np.outer(*map(hamming, SHAPE)) if is_filtered else 1.0
    mask = np.broadcast_to(simulation.lines(SHAPE[1], 1000, n_lines), SHAPE)
    noise = simulation.noise(np.eye(n_coils), SHAPE, rng)
    for signal in (0.0, 300 * filled_view(n_coils, rng)):
        found = corner_estimates((noise + signal) * window * mask, mask, None)
        assert found
        assert all((w.signal_ratio == np.inf) == bool(np.any(signal)) for w in found)


def test_noise_that_is_taken_a_little_too_loud_is_told_without_a_warning():
    covariance = 0.01**2 * np.eye(2)
    quiet = NoiseEstimate(covariance, "quiet readout positions", 5000, 1.0)
    for factor, is_minor in ((1.7, True), (2.5, False)):
        louder = NoiseEstimate(factor**2 * covariance, CORNERS, 5000, 1.0)
        verdict = judge([quiet, louder])
        assert "not of one level" in verdict.note
        assert verdict.chosen is not quiet
        assert verdict.is_minor == is_minor
        scan = NoiseEstimate(covariance, "noise scan", 5000, 1.0)
        assert not judge([scan, louder]).is_minor  # the scan is wrong


def witness(method, level, ratio=1.0, loud=1.0):
    """Two coils, of which the second is louder."""
    covariance = level**2 * np.diag([1.0, loud**2])
    return NoiseEstimate(covariance, method, 5000, ratio)


def test_a_blurred_centre_is_signal_where_the_corners_agree_with_the_noise_scan():
    centre = witness("image corners at the centre of k-space", 1.6)
    verdict = judge([witness("noise scan", 1), witness(CORNERS, 1.1), centre])
    assert verdict.chosen.method == "noise scan" and not verdict.note
    # A filter leaves the centre as loud as the scan, and the average quieter.
    verdict = judge([witness("noise scan", 1.6), witness(CORNERS, 1.1), centre])
    assert not {w.method: w for w in verdict.witnesses}[centre.method].is_contaminated


def test_a_coil_that_is_louder_at_the_periphery_alone_has_signal_there():
    periphery = witness("k-space periphery", 1, loud=2)
    white = [witness("outer half of k-space", 1), witness("k-space corners", 1)]
    verdict = judge([periphery, *white])
    assert verdict.chosen.method == "outer half of k-space" and not verdict.note
    # Where the outer half falls, noise is not known to be white.
    verdict = judge([periphery, witness("outer half of k-space", 1, 3.0)])
    assert verdict.chosen.method == "k-space periphery"


def test_all_witnesses_are_told_in_units_of_the_file():
    kspace, matrix = acquired()
    info = prepare_slice(raw_from_arrays(1e-6 * kspace[None]), 0).info
    level = 1e-6 * np.sqrt(np.diag(matrix).real.mean())
    told = {witness["witness"]: witness for witness in info["noise_witnesses"]}
    assert {CORNERS, "k-space periphery", "outer half of k-space"} <= set(told)
    clean = [witness for witness in told.values() if not witness["has_signal"]]
    for witness in clean:
        assert witness["noise_std"] == pytest.approx(level, rel=0.1)
        assert len(witness["noise_std_per_coil"]) == 4
        assert 0 < witness["standard_error"] < 0.1 * level


def test_zeros_filled_in_are_not_the_noise():
    kspace, matrix = acquired(level=0.05)
    kspace[:, :, :12] = kspace[:, :, -12:] = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = calibrate_volume(raw_from_arrays(kspace[None], np.ones(SHAPE[1], bool)))
    assert 0.8 < ratio(found, matrix).mean() < 1.2
    assert all("e+" not in str(warning.message) for warning in caught)


def test_the_filtered_noise_of_a_real_scan_is_told(shared_data):
    from mri_alps.rawdata.open import read_raw

    raw = read_raw(shared_data / "raw" / "raw_brain_t2_1ch_512.h5")
    for mask in (None, simulation.lines(512, 4, 40)):
        found = calibrate_volume(raw, mask)
        assert re.search("raw_brain.*filtered along the phase encode", found.notes[0])
        level = np.sqrt(found.noise_covariance[0, 0].real)
        assert 0.0112 < level < 0.06
        # At quiet positions, whatever the mask: 0.019 near the centre, 0.003 at the ends.
        assert 0.017 < level * found.noise_spectrum.line_noise.max() < 0.022
        assert 0.002 < level * found.noise_spectrum.outermost / found.noise_spectrum.raised < 0.004


def test_a_noise_scan_that_is_far_too_loud_is_not_taken():
    kspace, matrix = acquired()
    scan = raw_from_arrays(kspace[None], noise_covariance=matrix * 30**2)
    with pytest.warns(MriAlpsWarning, match="noise scan, .*too loud.*image corners"):
        found = calibrate_volume(scan)
    assert ratio(found, matrix).mean() == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("per_coil", [False, True])
@pytest.mark.parametrize("factor", [300.0, 8.0, 0.2, 1e-3])
def test_given_noise_that_the_kspace_contradicts_is_refused(factor, per_coil):
    """Far too much makes an image of the prior alone, far too little one that is sure of noise."""
    kspace, matrix = acquired()
    levels = factor * np.sqrt(np.diag(matrix).real)
    raw = raw_from_arrays(kspace[None])
    noise_std = levels if per_coil else float(np.sqrt(np.mean(levels**2)))
    with pytest.raises(CalibrationError, match=r"array: .*corners.*--force"):
        calibrate_volume(raw, noise_std=noise_std)
    with pytest.warns(MriAlpsWarning, match="at most" if factor > 1 else "at least"):
        forced = calibrate_volume(raw, noise_std=noise_std, force=True)
    assert "plausible" in forced.implausible
    np.testing.assert_allclose(np.diag(forced.noise_covariance), np.broadcast_to(noise_std, 4) ** 2)


def test_a_single_coil_that_is_given_too_little_noise_is_named():
    kspace, matrix = acquired()
    levels = np.sqrt(np.diag(matrix).real) * [1, 1, 0.1, 1]
    with pytest.raises(CalibrationError, match="coil 2"):
        calibrate_volume(raw_from_arrays(kspace[None]), noise_std=levels)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.8])
def test_given_noise_that_is_moderately_different_is_taken(factor):
    kspace, matrix = acquired()
    levels = factor * np.sqrt(np.diag(matrix).real)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = calibrate_volume(raw_from_arrays(kspace[None]), noise_std=levels)
    np.testing.assert_allclose(np.diag(found.noise_covariance), levels**2)
    assert found.implausible is None


def test_noise_that_is_given_for_filtered_kspace_is_taken():
    """Its periphery is far quieter than the noise of the image."""
    kspace, matrix = acquired()
    kspace = kspace * hamming(SHAPE[0])[:, None] * hamming(SHAPE[1])
    levels = np.sqrt(np.diag(matrix).real)
    assert calibrate_volume(raw_from_arrays(kspace[None]), noise_std=levels).implausible is None


@pytest.mark.parametrize("n_coils", [1, 8])
def test_too_much_noise_is_refused_where_the_object_fills_the_view(n_coils):
    kspace = filled_view(n_coils, np.random.default_rng(2))
    raw = raw_from_arrays(kspace.astype(np.complex64)[None])
    assert calibrate_volume(raw, noise_std=0.008).implausible is None
    with pytest.raises(CalibrationError, match="at most"):
        calibrate_volume(raw, noise_std=1.0)


def test_a_little_noise_may_be_given_for_data_without_any():
    kspace = simulation.fft2c(simulation.disc(SHAPE, 0.4) * simulation.coils(4, SHAPE))
    little = 0.01 * float(np.sqrt(np.mean(np.abs(kspace) ** 2)))
    raw = raw_from_arrays(kspace.astype(np.complex64)[None])
    assert calibrate_volume(raw, noise_std=little).implausible is None
    with pytest.raises(CalibrationError):
        calibrate_volume(raw, noise_std=100 * little)
