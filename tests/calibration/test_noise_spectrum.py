"""Noise of filtered k-space, line by line: the right level, never less, and the right posterior."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from mri_alps.calibration import calibrate_volume, prepare_slice
from mri_alps.calibration.noise_spectrum import QUIETEST, measure_noise_spectrum
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.pipeline.self_calibration import _with_coherent_error
from mri_alps.rawdata import raw_from_arrays
from mri_alps.sampling import sample_posterior
from mri_alps.uncertainty import compare_left_out
from tests.calibration import calibration_simulation as simulation
from tests.calibration.test_noise_witnesses import SHAPE, acquired, filled_view, hamming

LEVEL = 0.05
HAMMING = hamming(SHAPE[0])[:, None] * hamming(SHAPE[1])


def filtered(n_coils=8, acceleration=1, window=HAMMING, seed=0):
    """Raw data, and the true noise of lines over that of a coil before the filter, (W,)."""
    kspace, matrix = acquired(n_coils, LEVEL, radius=0.7, seed=seed)
    mask = simulation.lines(SHAPE[1], acceleration, 24)
    raw = raw_from_arrays((kspace * window * mask)[None].astype(np.complex64), mask)
    return raw, matrix, np.sqrt((np.broadcast_to(window, SHAPE) ** 2).mean(0))


@pytest.mark.parametrize("acceleration", [1, 4])
@pytest.mark.parametrize("n_coils", [1, 8])
def test_the_noise_of_lines_is_found_and_not_understated(n_coils, acceleration):
    for seed in range(3):
        raw, matrix, true = filtered(n_coils, acceleration, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is allowed for is noted
            found = calibrate_volume(raw)
        assert "filtered along the phase encode" in found.notes[0]
        assert found.noise_notes == found.notes
        line_noise = found.noise_spectrum.line_noise
        gain = np.sqrt(np.diag(found.noise_covariance).real / np.diag(matrix).real).mean()
        lines = np.flatnonzero(raw.mask.any((0, 1)))
        ratio = (gain * line_noise / true)[lines]
        believed = true[lines] > 1.2 * QUIETEST * true.max()
        # Of a band's outer end, and one standard error, so more than the truth.
        assert ratio.min() > 0.9
        assert 0.98 < ratio[believed].mean() < 1.3


def test_white_noise_has_no_spectrum_and_signal_is_none():
    for n_coils in (1, 8):
        for acceleration in (1, 4):
            raw, _, _ = filtered(n_coils, acceleration, 1.0)
            assert calibrate_volume(raw).noise_spectrum is None
        kspace = filled_view(n_coils, np.random.default_rng(n_coils))
        measured = np.ones(SHAPE, bool)
        assert measure_noise_spectrum([(kspace, measured)], 0.004**2 * np.eye(n_coils)) is None


def test_a_filter_along_the_readout_alone_is_no_matter_of_lines():
    raw, _, _ = filtered(window=hamming(SHAPE[0])[:, None])
    with pytest.warns(MriAlpsWarning, match="not of one level"):
        assert calibrate_volume(raw).noise_spectrum is None


def test_few_samples_are_not_known_well_enough():
    raw, matrix, _ = filtered(1, 8)
    kspace, mask = raw.read_slice(0)[:, 40:88], raw.slice_mask(0)[40:88]
    assert measure_noise_spectrum([(kspace, mask)], matrix) is None


class WhitePrior:
    """Pixels that are independent, of one variance per real component."""

    sigma_min, sigma_max = 1e-4, 10.0

    def __init__(self, variance):
        self.variance = variance

    def denoise(self, x, sigma):
        sigma = torch.as_tensor(sigma, dtype=x.real.dtype).reshape(-1, 1, 1)
        return x * self.variance / (self.variance + sigma**2)

    def score(self, x, sigma):
        level = torch.as_tensor(sigma, dtype=x.real.dtype).reshape(-1, 1, 1)
        return (self.denoise(x, level) - x) / level**2


def test_the_posterior_is_that_of_the_noise_of_each_line():
    """One coil: every sample of k-space is by itself, with the variance of two Gaussians' product.

    Standard error of a line's variance: 8 samples, 128 points, two components, 3 %.
    """
    raw, matrix, true = filtered(1)
    acquisition = prepare_slice(raw, 0)
    noise_std = acquisition.noise_std
    level = np.sqrt(matrix[0, 0].real) / acquisition.scale * acquisition.whitening[0, 0].real
    prior = WhitePrior(noise_std**2 / 4)
    samples = sample_posterior(
        prior,
        *acquisition.problem(),
        n_samples=8,
        n_evaluations=8,
        generator=torch.Generator().manual_seed(1),
    ).samples
    spectra = simulation.fft2c(samples.numpy())
    found = (np.abs(spectra - spectra.mean(0)) ** 2).sum(0).mean(0) / (2 * 7)
    stated = noise_std * acquisition.line_noise.double().numpy()
    np.testing.assert_allclose(found * (1 / prior.variance + 1 / stated**2), 1, atol=0.15)
    known = true > 1.2 * QUIETEST * true.max()
    exact = 1 / (1 / prior.variance + 1 / (level * true[known]) ** 2)
    assert 0.95 < (found[known] / exact).mean() < 1.3


def test_weights_hold_noise_of_lines_and_error_of_maps():
    raw, _, _ = filtered()
    plain = prepare_slice(raw, 0, maps_error=0.0)
    line_noise = plain.line_noise
    assert line_noise.max() <= 1
    assert line_noise.min() < 0.5
    assert_equal_to_rounding(plain.weights, 1 / line_noise, dtype="float32")
    allowed = prepare_slice(raw, 0, maps_error=0.05)
    power = allowed.kspace.abs().double().square().mean((0, 1)) / 2
    error = 0.05**2 * (power / allowed.noise_std**2 - 1).clamp_min(0)
    expected = (line_noise.double() ** 2 + error).rsqrt()
    assert_equal_to_rounding(allowed.weights, expected.float())
    coherent = _with_coherent_error(allowed).weights.flatten()
    expected = (line_noise.double() ** 2 + len(allowed.kspace) * error).rsqrt()
    assert_equal_to_rounding(coherent, expected.float())
    assert plain.info["noise_spectrum"]["standard_error"] < 0.07


def test_left_out_lines_are_compared_with_their_own_noise():
    raw, _, _ = filtered()
    acquisition = prepare_slice(raw, 0)
    left_out = torch.zeros(SHAPE, dtype=torch.bool)
    left_out[:, 10] = True
    samples = torch.ones(2, *SHAPE, dtype=torch.complex64) * torch.tensor([1, 1.1])[:, None, None]
    parts = (acquisition.sensitivity_maps, left_out, acquisition.kspace, samples)
    whole = compare_left_out(*parts, acquisition.noise_std)
    lines = compare_left_out(*parts, acquisition.noise_std * acquisition.line_noise)
    factor = float(acquisition.line_noise[10]) ** 2
    np.testing.assert_allclose(lines.noise, factor * whole.noise, rtol=1e-5)
