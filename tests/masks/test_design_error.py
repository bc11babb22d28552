"""Expected errors of lines against dense matrices; exchange against exhaustive search."""

import itertools
import math

import numpy as np
import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.masks.design import LineErrors, choose_by_exchange, choose_greedily
from mri_alps.masks.design._error_model import (
    Deviations,
    line_errors,
    shrunk_covariances,
    spectral_ratios,
)
from mri_alps.masks.design._scans import calibrated_scale, image_of_maps
from mri_alps.masks.design.points import PointInformation
from mri_alps.masks.study._slices import CalibratedScan
from mri_alps.pipeline import ReconstructionConfiguration, load_prior_for
from mri_alps.rawdata import read_raw
from tests.masks.test_design_command import make_scan

NOISE_STD = 0.05


def fourier(n):
    index = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(index, index) / n) / np.sqrt(n)


def smooth_maps(n_coils, n_rows, width):
    x = np.linspace(-1, 1, width)
    rows = [
        [(1.2 + np.cos(x * (c + 1) + 0.3 * r)) * np.exp(1j * (0.5 * c - x)) for r in range(n_rows)]
        for c in range(n_coils)
    ]
    return torch.from_numpy(np.array(rows)) / n_coils**0.5


def real_covariances(n_rows, width, imaginary=0.1, seed=0):
    """Correlated along the row; the imaginary part is small and smoother."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_rows):
        index = np.arange(width)
        near = np.exp(-np.abs(index[:, None] - index) / 1.5)
        scale = rng.uniform(0.5, 1.5, width)
        blocks = np.zeros((2 * width, 2 * width))
        blocks[:width, :width] = scale[:, None] * near * scale
        smooth = np.exp(-((index[:, None] - index) ** 2) / 18)
        blocks[width:, width:] = imaginary**2 * (smooth + 1e-6 * np.eye(width))
        found.append(blocks)
    return torch.from_numpy(np.array(found))


def dense_error(covariances, maps, weights, lines):
    """The definition in numpy: condition on all values of these lines at once."""
    total, width = 0.0, maps.shape[-1]
    for row, covariance in enumerate(covariances.numpy()):
        values = [fourier(width)[k] * maps[c, row].numpy() for k in lines for c in range(len(maps))]
        h = np.array(
            [np.r_[v.real, -v.imag] for v in values] + [np.r_[v.imag, v.real] for v in values]
        )
        after = covariance
        if len(lines):
            noisy = h @ covariance @ h.T + NOISE_STD**2 * np.eye(len(h))
            after = covariance - covariance @ h.T @ np.linalg.solve(noisy, h @ covariance)
        weight = weights[row].numpy()
        total += (
            weight @ np.diag(after) if weight.ndim == 1 else np.trace(weight.T @ after @ weight)
        )
    return total


def small_case(width, n_coils=2, contrast=False):
    covariances, maps = real_covariances(2, width), smooth_maps(n_coils, 2, width)
    shape = (2, 2 * width, 3) if contrast else (2, 2 * width)
    weights = torch.from_numpy(np.random.default_rng(1).uniform(0.1, 1, shape))
    return covariances, maps, weights, LineErrors(covariances, maps, NOISE_STD, weights)


@pytest.mark.parametrize("width", [8, 9])
@pytest.mark.parametrize("contrast", [False, True])
def test_gains_and_losses_are_those_of_dense_matrices(width, contrast):
    covariances, maps, weights, errors = small_case(width, contrast=contrast)
    measured = []
    for line in (width // 2, 1, width - 1):
        before = dense_error(covariances, maps, weights, measured)
        assert errors.variance() == pytest.approx(before, rel=1e-9)
        after = [dense_error(covariances, maps, weights, [*measured, k]) for k in range(width)]
        expected = np.log(before / np.array(after))
        np.testing.assert_allclose(errors.gains(), expected, rtol=1e-6, atol=1e-9)
        errors.condition(line)
        measured.append(line)
    whole = dense_error(covariances, maps, weights, measured)
    without = [
        dense_error(covariances, maps, weights, [k for k in measured if k != line])
        for line in measured
    ]
    np.testing.assert_allclose(
        errors.losses(measured), np.log(np.array(without) / whole), rtol=1e-6
    )
    for line in measured:
        errors.forget(line)
    torch.testing.assert_close(errors.covariances, covariances, rtol=1e-7, atol=1e-9)


def test_gains_stay_right_while_lines_come_and_go():
    covariances, maps, weights, errors = small_case(16)
    errors.gains()  # from here on what lines would tell is carried along
    rng = np.random.default_rng(3)
    for _ in range(40):
        lines = rng.choice(16, 6, replace=False).tolist()
        for line in lines:
            errors.condition(line)
        for line in lines[::-1]:
            errors.forget(line)
    for line in (3, 9):
        errors.condition(line)
    fresh = LineErrors(covariances, maps, NOISE_STD, weights)
    for line in (3, 9):
        fresh.condition(line)
    # rounding of 500 updates, over the noise's share of the variance squared
    tolerance = 500 * 2.2e-16 / NOISE_STD**4
    assert torch.allclose(errors.gains(), fresh.gains(), rtol=tolerance, atol=tolerance)
    assert torch.allclose(errors.losses([3, 9]), fresh.losses([3, 9]), rtol=tolerance)


def test_a_line_at_minus_k_repeats_what_k_told_of_a_real_image():
    width = 16
    covariances = real_covariances(1, width, imaginary=1e-4)
    weights = torch.cat([torch.ones(1, width), torch.zeros(1, width)], 1)
    errors = LineErrors(covariances, torch.ones(1, 1, width).to(torch.complex128), 0.02, weights)
    centre = width // 2
    before = errors.gains()
    errors.condition(centre + 3)
    after = errors.gains()
    assert after[centre - 3] < 0.02 * before[centre - 3]
    assert after[centre - 4] > 0.9 * before[centre - 4]


def test_exchange_is_as_good_as_the_best_of_all_sets_that_it_is_given():
    population = []
    for seed in range(2):
        covariances = real_covariances(1, 11, seed=seed)
        weights = torch.ones(1, 22).double()
        population.append(LineErrors(covariances, smooth_maps(1, 1, 11), NOISE_STD, weights))
    taken = torch.zeros(11, dtype=torch.bool)
    taken[5] = True
    for scan in population:
        scan.condition(5)

    def level(lines):
        for scan in population:
            for line in lines:
                scan.condition(line)
        found = np.mean([math.log(scan.variance()) for scan in population])
        for scan in population:
            for line in lines:
                scan.forget(line)
        return found

    every = list(itertools.combinations([k for k in range(11) if k != 5], 3))
    levels = [level(lines) for lines in every]
    best = every[int(np.argmin(levels))]
    start = [scan.variance() for scan in population]
    found = choose_by_exchange(population, taken, 3)
    assert [len(one) for one in found.sets] == [1, 2, 3]
    assert sorted(found.candidates) == list(found.sets[-1])
    assert [scan.variance() for scan in population] == pytest.approx(start)  # as they were
    assert level(found.sets[-1]) == pytest.approx(np.log(found.variances[-1]).mean(), rel=1e-6)
    assert sum(found.gains) == pytest.approx(level(()) - level(found.sets[-1]), rel=1e-6)
    helped = choose_by_exchange(population, taken, 3, {3: [best, every[0]]})
    assert level(helped.sets[-1]) == pytest.approx(min(levels), abs=1e-6)
    greedy = choose_greedily(population, taken, 3)
    assert level(found.sets[-1]) <= np.log(greedy.variances[-1]).mean() + 1e-9
    with pytest.raises(ConfigurationError, match="11 more lines"):
        choose_by_exchange(population, taken, 11)


def test_covariances_of_many_samples_are_the_true_ones_along_the_phase():
    width, n = 8, 4000
    generator = torch.Generator().manual_seed(0)
    true = real_covariances(1, width)[0]
    root = torch.linalg.cholesky(true)
    parts = torch.randn(n, 1, 2 * width, generator=generator, dtype=torch.float64) @ root.T
    found = shrunk_covariances([parts])[0]
    # the standard error of a covariance is sqrt((c_ii c_jj + c_ij^2) / n)
    spread = torch.sqrt((torch.outer(true.diag(), true.diag()) + true**2) / n)
    assert float(((found - true) / spread).abs().max()) < 5


def test_samples_of_an_image_with_phase_are_taken_apart():
    width = 12
    generator = torch.Generator().manual_seed(1)
    phase = torch.polar(torch.ones(width).double(), torch.linspace(-2, 2, width).double())
    noise = torch.randn(40, 10, width, generator=generator, dtype=torch.float64)
    samples = (3 + 0.1 * noise) * phase
    maps = torch.ones(1, 10, width, dtype=torch.complex128)
    deviations = Deviations.of(samples)
    doubtful = line_errors(deviations, maps, NOISE_STD, torch.ones(10, width), phase_doubt=0.5)
    errors = line_errors(deviations, maps, NOISE_STD, torch.ones(10, width), phase_doubt=0)
    along, across = slice(0, width), slice(width, 2 * width)
    torch.testing.assert_close(
        doubtful.covariances[:, across, across] - errors.covariances[:, across, across],
        0.5 * errors.covariances[:, along, along],
    )
    variances = torch.diagonal(errors.covariances, dim1=-2, dim2=-1)
    assert float(variances[:, :width].mean()) == pytest.approx(0.01, rel=0.1)
    assert float(variances[:, width:].abs().max()) < 1e-4  # what follows the mean's own phase
    assert errors.variance() == pytest.approx(10 * width * 0.01, rel=0.1)
    with pytest.raises(ConfigurationError, match="at least 2 samples"):
        Deviations.of(samples[:1])
    with pytest.raises(ConfigurationError, match="do not differ"):
        Deviations.of(samples[:1].expand(3, -1, -1))


def test_deviations_take_the_spectrum_of_actual_errors():
    generator = torch.Generator().manual_seed(2)
    width, n_scans = 16, 300
    shape = (n_scans, 8, width)
    smooth = torch.exp(-(((torch.arange(width) - width // 2) / 3.0) ** 2)).double()
    white = standard_normal(shape, generator, torch.complex128)
    errors = [error.real.to(torch.complex128) for error in white]  # along the phase alone
    expected, actual, found = [], [], []
    for error in errors:
        noise = torch.randn(3, 8, width, generator=generator, dtype=torch.float64)
        drawn = ifftc(smooth.sqrt() * fftc(noise.to(torch.complex128), dim=-1), dim=-1).real
        deviations = Deviations.of(5 + drawn.to(torch.complex128))
        expected.append(deviations.power())
        actual.append(deviations.power(error))
        found.append(deviations)
    ratios = spectral_ratios(expected, actual)
    assert float(ratios[1].max()) < 1e-3
    after = torch.stack([one.calibrated(ratios, None).power()[0] for one in found]).mean(0)
    assert float(after.mean()) == pytest.approx(1.0, rel=0.25)  # smoothing costs a little
    assert float(after[1] / after[width // 2]) == pytest.approx(1, abs=0.6)
    assert float(expected[0][0, 1] / expected[0][0, width // 2]) < 0.05  # as it was before
    with_error = found[0].calibrated(ratios, errors[0]).parts
    assert with_error.shape[0] == 4
    torch.testing.assert_close(with_error[-1, :, :width], errors[0].real)


def test_a_point_is_worth_the_error_that_it_takes_away():
    generator = torch.Generator().manual_seed(0)
    spectrum = 0.01 + torch.rand(12, 10, generator=generator, dtype=torch.float64)
    maps = standard_normal((2, 12, 10), generator, torch.complex128) * 0.1 + 0.7
    information = PointInformation(spectrum, maps, NOISE_STD, "error")
    for point in (65, 3):
        before, gains = information.variance(), information.gains().clone()
        information.condition(point)
        assert math.log(before / information.variance()) == pytest.approx(float(gains[point]))


def test_deviations_are_scaled_by_what_the_truth_says():
    assert calibrated_scale([(0.01, 0.04), (0.02, 0.08), (0.5, None)]) == pytest.approx(2)
    assert calibrated_scale([(0.01, None)]) == 1


def test_the_truth_has_the_phase_of_the_maps_that_a_mask_leaves(tmp_path):
    # the slow phase is in the maps, and a few lines show less of it than all do
    raw = read_raw(make_scan(tmp_path / "scan.h5", shape=(48, 64), phase=3.0))
    part = CalibratedScan(raw).slice(0)
    mask = np.zeros((1, 64), bool)
    mask[0, 28:36] = True
    configuration = ReconstructionConfiguration(prior="gaussian")
    prior, device = load_prior_for(configuration)
    whole, own = (
        part.load(part.reconstructor(lines, configuration, prior, device)).acquisition
        for lines in (None, mask)
    )
    angle = (whole.sensitivity_maps.conj() * own.sensitivity_maps).sum(0).angle()
    assert float(angle.abs().max()) > 0.3
    truth = image_of_maps(whole, own)
    kspace = fftc(own.raw_sensitivity_maps() * truth) * own.scale
    expected = torch.from_numpy(raw.read_slice(0))
    error = (kspace - expected).abs().square().sum() / expected.abs().square().sum()
    assert float(error) < 0.02  # noise, and what the maps leave
