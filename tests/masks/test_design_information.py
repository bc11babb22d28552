"""Information of lines against dense matrices; the greedy choice; covariances from samples."""

import math

import numpy as np
import pytest
import torch

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal
from mri_alps.masks.design._covariance import estimate_row_covariances, row_information
from mri_alps.masks.design.information import (
    JointInformation,
    RowInformation,
    choose_greedily,
)
from mri_alps.masks.design.loop import ScanPosterior, design
from mri_alps.masks.design.points import PointInformation, coil_kernel, point_information
from mri_alps.operators import SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianPrior
from mri_alps.priors.exact import exact_posterior
from mri_alps.priors.gaussian import apply_filter

NOISE_STD = 0.05


def coil_maps(n_coils, shape):
    """Smooth complex maps, sum of squares 1, complex128."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n).double() for n in shape), indexing="ij")
    maps = []
    for coil in range(n_coils):
        angle = 2 * math.pi * coil / n_coils + 0.3
        distance = (x - math.cos(angle)) ** 2 + (y - math.sin(angle)) ** 2
        maps.append(torch.polar(torch.exp(-distance / 1.1), angle + x * math.cos(angle) + y))
    stack = torch.stack(maps)
    return stack / stack.abs().square().sum(0).sqrt()


def power(shape, across_rows=True):
    """Power spectrum per real component; without `across_rows` rows are independent."""
    ky, kx = torch.meshgrid(*((torch.arange(n) - n // 2) / n for n in shape), indexing="ij")
    radius = torch.hypot(kx, ky * across_rows).double()
    return 1e-4 + 2 / (1 + (radius / 0.05) ** 2.5)


def exact_case(shape=(10, 14), n_coils=3, across_rows=True, center=2):
    """Posterior covariance given some centre lines: (factor (p, H, W), maps, measured lines)."""
    maps = coil_maps(n_coils, shape)
    measured = torch.zeros(shape[1], dtype=torch.bool)
    measured[shape[1] // 2 - center // 2 :][:center] = True
    return exact_at(shape, maps, measured, across_rows), maps, measured


def exact_at(shape, maps, measured, across_rows=True):
    prior = GaussianPrior(power(shape, across_rows))
    operator = SenseOperator(maps, measured)
    data = torch.zeros(operator.range_shape, dtype=torch.complex128)
    return exact_posterior(prior, operator, data, NOISE_STD)


def dense_greedy(covariance, maps, taken, count, points=False):
    """The definition, with explicit matrices and loops, in numpy: picks and gains."""
    n_coils, height, width = maps.shape

    def fourier(n):
        index = np.arange(n) - n // 2
        return np.exp(-2j * np.pi * np.outer(index, index) / n) / np.sqrt(n)

    def rows_of(line):  # list over the readout of (coils, H W)
        if points:
            ky, kx = np.unravel_index(line, (height, width))
            wave = np.outer(fourier(height)[ky], fourier(width)[kx])
            return [(maps * wave).reshape(n_coils, -1)]
        result = []
        for r in range(height):
            matrix = np.zeros((n_coils, height, width), complex)
            matrix[:, r] = maps[:, r] * fourier(width)[line]
            result.append(matrix.reshape(n_coils, -1))
        return result

    def gain(line):
        return sum(
            np.linalg.slogdet(np.eye(n_coils) + a @ covariance @ a.conj().T / NOISE_STD**2)[1]
            for a in rows_of(line)
        )

    taken, picks, gains = set(taken), [], []
    n_candidates = height * width if points else width
    for _ in range(count):
        found = {k: gain(k) for k in range(n_candidates) if k not in taken}
        best = max(found, key=found.get)
        a = np.concatenate(rows_of(best))
        inner = a @ covariance @ a.conj().T + NOISE_STD**2 * np.eye(len(a))
        covariance = covariance - covariance @ a.conj().T @ np.linalg.solve(inner, a @ covariance)
        taken.add(best)
        picks.append(best)
        gains.append(found[best])
    return picks, gains, covariance


@pytest.mark.parametrize("shape", [(10, 14), (7, 9)])
def test_exact_covariances_give_the_greedy_design_of_dense_matrices(shape):
    exact, maps, measured = exact_case(shape)
    factor = exact.choleskys[0].mT.reshape(-1, *shape)
    taken = np.flatnonzero(measured.numpy())
    picks, gains, after = dense_greedy(exact.covariance().numpy(), maps.numpy(), taken, 5)
    found = choose_greedily([JointInformation(factor, maps, NOISE_STD)], measured, 5)
    assert list(found.candidates) == picks
    assert_equal_to_rounding(found.gains, gains)
    assert found.variances[-1][0] == pytest.approx(2 * np.trace(after).real, rel=1e-9)


def test_points_are_chosen_as_by_dense_matrices():
    exact, maps, _ = exact_case((6, 7))
    factor = exact.choleskys[0].mT.reshape(-1, 6, 7)
    taken = torch.zeros(42, dtype=torch.bool)
    taken[[24, 25]] = True
    picks, gains, _ = dense_greedy(exact.covariance().numpy(), maps.numpy(), (24, 25), 6, True)
    found = choose_greedily([JointInformation(factor, maps, NOISE_STD, points=True)], taken, 6)
    assert list(found.candidates) == picks
    assert_equal_to_rounding(found.gains, gains)


def test_rows_that_are_independent_need_no_joint_covariance():
    shape = (6, 14)
    exact, maps, measured = exact_case(shape, across_rows=False)
    dense = exact.covariance().reshape(*shape, *shape)
    blocks = torch.stack([dense[r, :, r] for r in range(shape[0])])
    picks, gains, after = dense_greedy(
        exact.covariance().numpy(), maps.numpy(), np.flatnonzero(measured.numpy()), 6
    )
    found = choose_greedily([RowInformation(blocks, maps, NOISE_STD)], measured, 6)
    assert list(found.candidates) == picks
    assert_equal_to_rounding(found.gains, gains)
    assert found.variances[-1][0] == pytest.approx(2 * np.trace(after).real, rel=1e-9)


def test_a_population_is_averaged_and_weights_count_rows():
    shape = (6, 14)
    exact, maps, measured = exact_case(shape, across_rows=False)
    dense = exact.covariance().reshape(*shape, *shape)
    blocks = torch.stack([dense[r, :, r] for r in range(shape[0])])
    one = RowInformation(blocks, maps, NOISE_STD)
    twice = RowInformation(blocks, maps, NOISE_STD, torch.full((6,), 2.0))
    assert_equal_to_rounding(twice.gains(), 2 * one.gains())
    assert twice.variance() == pytest.approx(2 * one.variance())
    expected = 1.5 * one.gains()[~measured].max()
    found = choose_greedily([one, twice], measured, 1)
    assert found.gains[0] == pytest.approx(float(expected))
    assert len(found.variances[0]) == 2


@pytest.mark.parametrize("n_samples", [8, 32])
def test_from_samples_the_design_reaches_98_percent_of_the_information(n_samples):
    shape, count = (16, 24), 8
    exact, maps, measured = exact_case(shape, n_coils=4)
    factor = exact.choleskys[0].mT.reshape(-1, *shape)
    best = sum(choose_greedily([JointInformation(factor, maps, NOISE_STD)], measured, count).gains)

    def measure(mask):
        posterior = exact_at(shape, maps, torch.from_numpy(mask))
        samples = posterior.sample(n_samples, torch.Generator().manual_seed(int(mask.sum())))
        return [ScanPosterior(row_information(samples, maps, NOISE_STD, 2, 1), 1.0)]

    found = design(measure, measured.numpy(), count + 2, batch=4, evaluate_last=False)

    def reached(lines):
        scan, total = JointInformation(factor, maps, NOISE_STD), 0.0
        for line in lines:
            total += float(scan.gains()[line])
            scan.condition(line)
        return total

    assert reached(found.picks) >= 0.98 * best
    # and it is the choice that does it: the lines next to the centre fall short
    central = sorted(np.flatnonzero(~measured.numpy()), key=lambda k: abs(k - 12))[:count]
    assert reached(central) < 0.95 * best


def test_row_covariances_converge_and_few_samples_are_shrunk():
    shape = (8, 24)
    local = torch.linspace(0.2, 1, 24).double()
    spectrum = power((1, 24))[0]
    generator = torch.Generator().manual_seed(3)

    def draw(n):
        noise = standard_normal((n, *shape), generator, torch.complex128)
        bright = local * apply_filter(noise, spectrum.sqrt(), (-1,))
        return bright.roll(5, -1) * (torch.arange(24) % 5 > 0)  # nothing that the model has

    many = draw(20000)
    truth = torch.einsum("nrw,nrv->wv", many, many.conj()) / (2 * many.shape[0] * shape[0])
    errors = {}
    for n in (4, 40, 2000):
        found = estimate_row_covariances(draw(n), group=4, halo=1)
        assert found.covariances.shape == (2, 24, 24)
        assert found.weights.tolist() == [4, 4]
        error = (found.covariances[0] - truth).abs().square().sum().sqrt()
        errors[n] = float(error / truth.abs().square().sum().sqrt()), found.shrinkage
    assert errors[2000][0] < 0.05
    assert errors[4][1] > errors[40][1] > errors[2000][1]
    assert errors[2000][1] < 0.02
    assert errors[4][0] < 0.5  # the sample covariance alone: 24 / (4 x 6 rows)
    everywhere = torch.linalg.eigvalsh(estimate_row_covariances(draw(3)).covariances)
    negative = everywhere.clamp(max=0)
    assert_equal_to_rounding(negative, 0.0, scale=everywhere.max())


def test_rows_without_variance_are_left_out():
    samples = standard_normal((5, 16, 12), torch.Generator().manual_seed(0), torch.complex64)
    samples[:, 8:] = 0.3
    found = estimate_row_covariances(samples, group=4, halo=0)
    assert found.rows.tolist() == [2, 6]
    # all of it is counted: the expected error is the samples' variance, unbiased
    information = RowInformation(
        found.covariances, torch.ones(1, 2, 12, dtype=torch.complex64), 0.1, found.weights
    )
    assert_equal_to_rounding(
        information.variance(),
        float(samples.var(0).sum()),
        n_summed=samples.numel(),
        dtype="float32",
    )


def test_what_cannot_be_done_is_said():
    samples = torch.ones(3, 8, 8, dtype=torch.complex64)
    with pytest.raises(ConfigurationError, match="do not differ"):
        estimate_row_covariances(samples)
    with pytest.raises(ConfigurationError, match="at least 2 samples, found 1"):
        estimate_row_covariances(samples[:1])
    covariances = torch.eye(8, dtype=torch.complex64).repeat(3, 1, 1)
    with pytest.raises(ShapeError, match=r"expected \(rows, W, W\)"):
        RowInformation(covariances, torch.ones(2, 4, 8), 0.1)
    scan = RowInformation(covariances, torch.ones(2, 3, 8, dtype=torch.complex64), 0.1)
    with pytest.raises(ConfigurationError, match=r"9 more lines .* 8 are not yet sampled"):
        choose_greedily([scan], torch.zeros(8, dtype=torch.bool), 9)


def test_the_kernel_of_the_coils_is_their_action_on_frequencies():
    shape = (9, 12)
    y, x = torch.meshgrid(*(torch.arange(n) - n // 2 for n in shape), indexing="ij")
    wave = torch.polar(torch.ones(shape).double(), 2 * math.pi * (y.double() / 9 + x.double() / 6))
    maps = torch.stack([1 + 0.5 * wave, 0.3 * wave.conj()])
    kernel, reach = coil_kernel(maps)
    assert reach == 2
    image = standard_normal(shape, torch.Generator().manual_seed(0), torch.complex128)
    expected = fftc(maps * image)
    spectrum = fftc(image)
    found = sum(
        kernel[:, 2 + dy, 2 + dx, None, None] * spectrum.roll((-dy, -dx), (0, 1))
        for dy in range(-2, 3)
        for dx in range(-2, 3)
    )
    assert_equal_to_rounding(found, expected)


def test_points_from_samples_reach_most_of_the_information():
    shape, count = (12, 14), 40
    exact, maps, measured = exact_case(shape, n_coils=4, center=4)
    taken = torch.zeros(shape, dtype=torch.bool)
    taken[:, measured] = True
    taken = taken.flatten()
    factor = exact.choleskys[0].mT.reshape(-1, *shape)

    def exact_information():
        return JointInformation(factor, maps, NOISE_STD, points=True)

    best = choose_greedily([exact_information()], taken, count)
    samples = exact.sample(32, torch.Generator().manual_seed(1))
    picks = choose_greedily([point_information(samples, maps, NOISE_STD)], taken, count)
    by_chance = np.random.default_rng(0).permutation(np.flatnonzero(~taken.numpy()))[:count]

    def reached(points):
        scan, total = exact_information(), 0.0
        for point in points:
            total += float(scan.gains()[point])
            scan.condition(point)
        return total

    assert reached(picks.candidates) > 0.95 * sum(best.gains)
    assert reached(by_chance) < 0.85 * sum(best.gains)


def test_one_coil_and_a_spectrum_are_exact():
    spectrum = power((6, 8))
    maps = torch.ones(1, 6, 8, dtype=torch.complex128)
    scan = PointInformation(spectrum, maps, NOISE_STD)
    expected = torch.log1p(spectrum / NOISE_STD**2).flatten()
    assert_equal_to_rounding(scan.gains(), expected)
    scan.condition(20)
    left = spectrum.flatten().clone()
    left[20] = 1 / (1 / left[20] + 1 / NOISE_STD**2)
    assert_equal_to_rounding(scan.gains(), torch.log1p(left / NOISE_STD**2))
    assert scan.variance() == pytest.approx(2 * float(left.sum()))
