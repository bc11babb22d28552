from __future__ import annotations

import numpy as np
import pytest

from mri_alps.calibration import (
    apply_to_coils,
    calibrate_volume,
    estimate_noise,
    estimate_noise_covariance,
    noise_covariance,
    whitening_matrix,
)
from mri_alps.calibration.noise_estimate import NoiseEstimate
from mri_alps.calibration.scan_noise import FEW_SAMPLES, _of_few_samples
from mri_alps.core.errors import (
    ConfigurationError,
    DtypeError,
    InputFileError,
    MriAlpsWarning,
    ShapeError,
)
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_the_covariance_is_that_of_one_real_component():
    rng = np.random.default_rng(0)
    samples = 3 * rng.normal(size=(1, 200_000)) + 3j * rng.normal(size=(1, 200_000))
    assert noise_covariance(samples)[0, 0].real == pytest.approx(9, rel=0.02)
    assert noise_covariance(samples)[0, 0].real == pytest.approx(np.var(samples.real), rel=0.02)


def test_covariance_keeps_the_phase_between_coils():
    rng = np.random.default_rng(1)
    matrix = simulation.covariance(5, rng)
    found = noise_covariance(simulation.noise(matrix, (100_000,), rng))
    assert relative_error(found, matrix) < 0.02
    assert relative_error(found.conj(), matrix) > 0.05


@pytest.mark.parametrize("n_coils", [1, 2, 8, 32])
def test_whitening_matrix_whitens(n_coils):
    matrix = simulation.covariance(n_coils, np.random.default_rng(n_coils))
    whitening = whitening_matrix(matrix)
    assert_equal_to_rounding(
        whitening @ matrix @ whitening.conj().T, np.eye(n_coils), scale=np.linalg.cond(matrix)
    )
    assert_equal_to_rounding(whitening, whitening.conj().T)


def test_whitened_samples_have_unit_variance_per_real_component():
    rng = np.random.default_rng(2)
    matrix = 1e-10 * simulation.covariance(4, rng)  # fastMRI's units are tiny
    samples = simulation.noise(matrix, (50_000,), rng).astype(np.complex64)
    white = apply_to_coils(whitening_matrix(matrix), samples)
    assert white.dtype == np.complex64
    np.testing.assert_allclose(white.real.std(axis=1), 1, rtol=0.02)
    np.testing.assert_allclose(white.imag.std(axis=1), 1, rtol=0.02)


def test_a_dead_coil_is_announced_and_survived():
    matrix = np.diag([1.0, 2.0, 0.0])
    with pytest.warns(MriAlpsWarning, match="singular in 1 direction"):
        whitening = whitening_matrix(matrix)
    assert np.isfinite(whitening).all()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)), "shape"),
        (np.zeros((2, 2)), "no positive eigenvalue"),
        (np.array([[1, 1j], [1j, 1]]), "not Hermitian"),
        (np.full((2, 2), np.nan), "NaN"),
    ],
)
def test_whitening_refuses_what_is_no_covariance(matrix, message):
    with pytest.raises(ShapeError, match=message):
        whitening_matrix(matrix)


def test_covariance_refuses_real_and_too_few_samples():
    with pytest.raises(DtypeError, match="must be complex"):
        noise_covariance(np.ones((2, 10)))
    with pytest.raises(ShapeError, match="at least 4"):
        noise_covariance(np.ones((4, 3), complex))


@pytest.mark.parametrize("acceleration", [1, 4])
@pytest.mark.parametrize("n_coils", [1, 6])
def test_quiet_readout_positions_give_the_noise(n_coils, acceleration):
    found, expected = [], []
    for seed in range(12):
        kspace, _, _, matrix = simulation.acquisition(
            n_coils, (256, 160), level=0.02, seed=seed, radius=0.55
        )
        mask = simulation.lines(160, acceleration, 16)
        estimate = estimate_noise(kspace * mask, mask)
        assert estimate.method == "quiet readout positions"
        assert not estimate.is_contaminated
        error = relative_error(estimate.covariance, matrix)
        assert error < 0.04 + 3 * np.sqrt(n_coils / estimate.n_samples)
        found.append(np.trace(estimate.covariance).real)
        expected.append(np.trace(matrix).real)
    assert np.mean(found) / np.mean(expected) == pytest.approx(1, abs=0.04)


def test_an_object_filling_the_readout_leaves_the_periphery():
    ratios = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        shape = (256, 192)
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        image = 1 / (1 + np.exp((np.abs(x) - 0.6) / 0.006)) * (1 + 0.2 * np.cos(3 * y))
        matrix = 0.02**2 * simulation.covariance(6, rng)
        kspace = simulation.fft2c(image * simulation.coils(6, shape))
        kspace = kspace + simulation.noise(matrix, shape, rng)
        mask = simulation.lines(192, 4, 16)
        estimate = estimate_noise(kspace * mask, mask)
        assert estimate.method == "k-space periphery"
        assert not estimate.is_contaminated
        ratios.append(np.trace(estimate.covariance).real / np.trace(matrix).real)
    # Quietest positions are chosen, yet the estimate is not too small.
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)


def test_scattered_sampling_uses_the_periphery():
    rng = np.random.default_rng(3)
    kspace, _, _, matrix = simulation.acquisition(6, (128, 120), level=0.1, seed=3)
    mask = rng.random((128, 120)) < 0.3
    estimate = estimate_noise(kspace * mask, mask)
    assert estimate.method == "k-space periphery"
    assert np.trace(estimate.covariance).real == pytest.approx(np.trace(matrix).real, rel=0.05)


def test_positions_outside_the_reconstructed_field_of_view_are_ignored():
    rng = np.random.default_rng(4)
    matrix = np.eye(4, dtype=complex)
    kspace = simulation.noise(matrix, (256, 64), rng)
    gain = np.where(np.abs(np.arange(256) - 128) <= 64, 1.0, 0.6)[:, None]
    hybrid = simulation.fft2c(kspace, axes=(1,)) * gain  # any unitary transform will do
    rolled_off = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(hybrid, axes=1), axis=1, norm="ortho"), axes=1
    )
    mask = np.ones(64, bool)
    inside = estimate_noise_covariance(rolled_off, mask, readout_crop=128)
    assert np.trace(inside).real / 4 == pytest.approx(1, rel=0.05)
    everywhere = estimate_noise_covariance(rolled_off, mask)
    assert np.trace(everywhere).real / 4 < 0.8


def test_an_asymmetric_echo_does_not_make_the_noise_look_smaller():
    rng = np.random.default_rng(5)
    mask = np.zeros((128, 64), bool)
    mask[40:] = True
    kspace = simulation.noise(np.eye(4, dtype=complex), (128, 64), rng) * mask
    found = estimate_noise_covariance(kspace, mask)
    assert np.trace(found).real / 4 == pytest.approx(1, rel=0.05)


def test_signal_everywhere_is_called_contaminated():
    kspace, _, _, _ = simulation.acquisition(4, (48, 48), level=1e-6, radius=0.99)
    assert estimate_noise(kspace, np.ones(48, bool)).is_contaminated


def test_estimate_refuses_what_it_cannot_use():
    kspace = np.ones((2, 16, 16), np.complex64)
    with pytest.raises(DtypeError):
        estimate_noise(kspace.real, np.ones(16, bool))
    with pytest.raises(ShapeError, match="mask"):
        estimate_noise(kspace, np.ones(15, bool))
    with pytest.raises(ShapeError, match="coils, readout"):
        estimate_noise(kspace[0], np.ones(16, bool))
    mask = np.zeros((16, 16), bool)
    mask[8, 8] = True
    with pytest.raises(InputFileError, match="too few"):
        estimate_noise(kspace, mask)


def test_volume_takes_the_noise_scan_before_an_estimate():
    kspace, _, _, matrix = simulation.acquisition(4, (64, 64))
    raw = raw_from_arrays(kspace[None], noise_covariance=1.1 * matrix)
    calibration = calibrate_volume(raw)
    assert calibration.noise_source == "noise scan"
    assert_equal_to_rounding(calibration.noise_covariance, 1.1 * matrix)


def test_volume_takes_the_user_before_the_noise_scan():
    kspace, _, _, matrix = simulation.acquisition(4, (64, 64))
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    calibration = calibrate_volume(raw, noise_std=0.01)
    assert calibration.noise_source == "user"
    assert_equal_to_rounding(calibration.whitening, 100 * np.eye(4))
    given = calibrate_volume(raw, noise_covariance=0.02**2 * np.eye(4))
    assert_equal_to_rounding(given.whitening, 50 * np.eye(4))
    with pytest.raises(ConfigurationError, match="not both"):
        calibrate_volume(raw, noise_std=1.0, noise_covariance=np.eye(4))
    with pytest.raises(ConfigurationError, match="positive"):
        calibrate_volume(raw, noise_std=0.0)
    with pytest.raises(ShapeError, match="4 coils"):
        calibrate_volume(raw, noise_covariance=np.eye(3))


def test_noise_may_be_given_for_each_coil():
    kspace, _, _, _ = simulation.acquisition(4, (64, 64))
    raw = raw_from_arrays(kspace[None])
    given = calibrate_volume(raw, noise_std=(0.01, 0.02, 0.01, 0.03))
    assert_equal_to_rounding(given.noise_covariance, np.diag([1.0, 4.0, 1.0, 9.0]) * 1e-4)
    with pytest.raises(ConfigurationError, match=r"noise_std of 3 values.*4 coils"):
        calibrate_volume(raw, noise_std=(1.0, 2.0, 3.0))


def test_volume_pools_slices_and_skips_empty_ones():
    slices = [simulation.acquisition(4, (128, 96), 0.02, seed, 0.5)[0] for seed in (5, 5, 5)]
    matrix = simulation.acquisition(4, (128, 96), 0.02, 5, 0.5)[3]
    volume = np.stack([*slices, np.zeros_like(slices[0])])
    calibration = calibrate_volume(raw_from_arrays(volume))
    assert relative_error(calibration.noise_covariance, matrix) < 0.15


def test_noise_free_data_stay_usable_and_are_announced():
    y, x = np.meshgrid(*(np.linspace(-1, 1, 64),) * 2, indexing="ij")
    image = np.exp(-60 * (y**2 + x**2))  # which neither view nor k-space cuts off
    kspace = simulation.fft2c(image * simulation.coils(4, (64, 64)))
    with pytest.warns(MriAlpsWarning, match="no noise was found"):
        calibration = calibrate_volume(raw_from_arrays(kspace[None], np.ones(64, bool)))
    assert np.isfinite(calibration.whitening).all()


def test_the_measured_noise_of_the_brain_is_that_of_the_air(shared_data):
    from mri_alps.rawdata.open import read_raw

    raw = read_raw(shared_data / "raw" / "brain_axial_8ch.h5")
    images = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(raw.read_slice(0), axes=(1, 2)), norm="ortho"), axes=(1, 2)
    )
    air = np.concatenate([images[:, 40:110, 2:12], images[:, 40:110, 244:254]], axis=2)
    expected = noise_covariance(air)
    for mask in (None, simulation.lines(256, 4, 20)):
        found = calibrate_volume(raw, mask).noise_covariance
        assert np.trace(found).real == pytest.approx(np.trace(expected).real, rel=0.1)


def test_the_noise_scan_agrees_with_the_air_of_the_phantom(shared_data):
    from mri_alps.rawdata.open import read_raw

    raw = read_raw(shared_data / "raw" / "phantom_prospective_r3_14ch_ismrmrd.h5")
    white = apply_to_coils(calibrate_volume(raw).whitening, raw.read_slice(0))
    measured = np.flatnonzero(raw.slice_mask(0).any(axis=0))
    outer = measured[np.abs(measured - raw.shape[1] // 2) > 25]
    hybrid = simulation.fft2c(white[:, :, outer], axes=(1,))
    edges = np.concatenate([hybrid[:, 2:8], hybrid[:, -8:-2]], axis=1)
    assert (np.abs(edges) ** 2).mean() / 2 == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("n_samples", [48, 96, 4000])
def test_noise_that_few_samples_tell_of_is_white_on_average(n_samples):
    n_coils, n_draws, powers = 32, 40, []
    rng = np.random.default_rng(n_samples)
    for _ in range(n_draws):
        matrix = simulation.covariance(n_coils, rng)
        noise = simulation.noise(matrix, (n_samples, 1), rng)[..., 0]
        estimate = NoiseEstimate(noise_covariance(noise), "image corners", n_samples, 1.0)
        whitening = whitening_matrix(_of_few_samples(estimate))
        powers.append(np.trace(whitening @ matrix @ whitening.conj().T).real / n_coils)
    # Of 4000 samples nothing is enlarged: the mean is 1 / (1 - 32 / 4000).
    expected = 1 if n_samples < n_coils / FEW_SAMPLES else 1 / (1 - n_coils / n_samples)
    assert np.mean(powers) == pytest.approx(expected, abs=4 * np.std(powers) / np.sqrt(n_draws))
