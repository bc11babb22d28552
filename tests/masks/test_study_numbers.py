"""The numbers of a mask study against closed forms, dense matrices and scipy."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats

from mri_alps.masks.study import MaskResult, noise_amplification, pixel_entropy, side_lobe
from mri_alps.masks.study.measure import METRICS
from mri_alps.masks.study.statistics import (
    compare_pairs,
    correlate,
    holm,
    mean_interval,
    summarise,
)
from mri_alps.operators import SenseOperator


def block(width, n_lines):
    mask = np.zeros((1, width), bool)
    mask[0, width // 2 - n_lines // 2 : width // 2 - n_lines // 2 + n_lines] = True
    return mask


def test_side_lobes_of_patterns_that_are_known():
    assert side_lobe(np.ones((1, 64), bool)) == 0
    every_fourth = np.arange(64)[None] % 4 == 0
    assert side_lobe(every_fourth) == pytest.approx(1)  # it folds without loss
    # a block is a low-pass filter: the first side lobe of sin(x) / x, 0.2172
    assert side_lobe(block(2000, 100)) == pytest.approx(0.2172, abs=0.001)
    # along both axes at once: the lobes lie on the axes
    square = block(200, 21).T & block(200, 21)
    assert side_lobe(square) == pytest.approx(side_lobe(block(200, 21)), rel=1e-6)


def test_the_side_lobe_of_random_lines_is_below_that_of_regular_ones():
    rng = np.random.default_rng(0)
    regular = block(128, 12) | (np.arange(128)[None] % 5 == 0)
    drawn = block(128, 12)
    outside = np.flatnonzero(~drawn[0])
    drawn[0, rng.choice(outside, regular.sum() - drawn.sum(), replace=False)] = True
    assert side_lobe(drawn) < 0.8 * side_lobe(regular)


def make_maps(n_coils, height, width):
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width),
                          indexing="ij")  # fmt: skip
    angles = 2 * math.pi * torch.arange(n_coils) / n_coils
    maps = torch.stack(
        [
            torch.polar(torch.exp(-((x - torch.cos(a)) ** 2) - (y - torch.sin(a)) ** 2), a + x)
            for a in angles
        ]
    )
    return maps / maps.abs().square().sum(0).sqrt()


def dense_amplification(maps, mask, noise_std):
    operator = SenseOperator(maps.to(torch.complex128), mask)
    n = maps[0].numel()
    unit = torch.eye(n, dtype=torch.complex128).reshape(n, *maps.shape[1:])
    normal = operator.normal(unit).reshape(n, n).T
    inverse = torch.linalg.inv(normal + noise_std**2 * torch.eye(n))
    return float((inverse.diagonal().real * normal.diagonal().real).sqrt().max())


@pytest.mark.parametrize(("height", "width"), [(6, 16), (5, 15)])
def test_noise_amplification_of_lines_is_that_of_dense_matrices(height, width):
    maps = make_maps(4, height, width)
    full = torch.ones(width, dtype=torch.bool)
    assert noise_amplification(maps, full, 1e-4) == pytest.approx(1, abs=1e-6)
    lines = torch.arange(width) % 2 == 0
    found = noise_amplification(maps, lines, 1e-3)
    assert found == pytest.approx(dense_amplification(maps, lines, 1e-3), rel=1e-5)
    assert found > 1.02
    # the g-factor of SENSE: sqrt of the diagonals of the normal matrix and its inverse
    assert found == pytest.approx(dense_amplification(maps, lines, 1e-6), rel=1e-3)


def test_noise_amplification_is_bounded_where_the_image_is_not_determined():
    maps = torch.ones(1, 4, 16, dtype=torch.complex64)  # one coil: two pixels in one
    half = torch.arange(16) % 2 == 0
    assert noise_amplification(maps, half, 0.01) == pytest.approx(50, rel=0.001)  # 1 / (2 noise)


def test_noise_amplification_of_points_is_near_that_of_dense_matrices():
    maps = make_maps(4, 16, 16)
    mask = torch.from_numpy(np.random.default_rng(1).random((16, 16)) < 0.6)
    mask[5:11, 5:11] = True
    dense = dense_amplification(maps, mask, 0.05)
    # averaged over neighbours, so below the largest single pixel
    assert 0.7 * dense < noise_amplification(maps, mask, 0.05) < 1.1 * dense
    full = torch.ones(16, 16, dtype=torch.bool)
    assert noise_amplification(maps, full, 0.01) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_entropy_has_no_bias_however_few_the_samples(n):
    rng = np.random.default_rng(2)
    std = np.array([0.1, 3.0])[:, None]  # per real component
    samples = std * (rng.standard_normal((n, 2, 20000)) + 1j * rng.standard_normal((n, 2, 20000)))
    exact = np.log(math.pi * math.e * 2 * std[:, 0] ** 2)
    found = pixel_entropy(samples)
    error = found.std(1) / math.sqrt(20000)
    assert (np.abs(found.mean(1) - exact) < 4 * error).all()


def result(scan, mask, value, acceleration=4.0, predicted=None):
    metrics = dict.fromkeys(METRICS)
    metrics |= {"NMSE": value, "PSNR": -10 * math.log10(value), "predicted_NMSE": predicted}
    return MaskResult(scan, 0, mask, acceleration, acceleration, 16, metrics)


def test_intervals_and_paired_differences_are_those_of_scipy():
    rng = np.random.default_rng(3)
    values = {mask: rng.random(6) + 0.1 for mask in "abc"}
    results = [result(f"scan{i}", mask, v[i], predicted=v[i]) for mask, v in values.items()
               for i in range(6)]  # fmt: skip
    best = min(values, key=lambda mask: np.log(values[mask]).mean())
    summaries = summarise(results)
    assert summaries[0].mask == best  # of largest PSNR
    found = next(s for s in summaries if s.mask == "a").metrics["NMSE"]
    interval = stats.t.interval(0.95, 5, values["a"].mean(), stats.sem(values["a"]))
    assert (found.lower, found.upper) == pytest.approx(interval)
    pairs = {(d.mask, d.other): d for d in compare_pairs(results) if d.metric == "NMSE"}
    assert set(pairs) == {("a", "b"), ("a", "c"), ("b", "c")}
    for (mask, other), pair in pairs.items():
        assert pair.p == pytest.approx(stats.ttest_rel(values[mask], values[other]).pvalue)
        assert pair.difference.mean == pytest.approx((values[mask] - values[other]).mean())
        assert pair.p_adjusted >= pair.p


def test_intervals_are_over_scans_and_over_slices_of_a_single_one():
    def both(scan, index, first, second):
        found = [result(scan, "a", first), result(scan, "b", second)]
        return [dataclasses.replace(one, slice=index) for one in found]

    values = {"s": [(0.1, 0.2), (0.3, 0.5), (0.2, 0.3)], "t": [(0.2, 0.4)], "u": [(0.1, 0.4)]}
    results = []
    for scan, pairs in values.items():
        results += [one for i, pair in enumerate(pairs) for one in both(scan, i, *pair)]
    (pair,) = [d for d in compare_pairs(results) if d.metric == "NMSE"]
    means = [np.mean([a - b for a, b in pairs]) for pairs in values.values()]
    assert pair.difference.n == 3  # three scans, however many slices
    assert pair.difference.mean == pytest.approx(np.mean(means))
    assert pair.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    found = next(s for s in summarise(results) if s.mask == "a").metrics["NMSE"]
    assert (found.n, found.mean) == (3, pytest.approx(np.mean([0.2, 0.2, 0.1])))
    (alone,) = [d for d in compare_pairs(results[:6]) if d.metric == "NMSE"]
    assert alone.difference.n == 3  # slices


def test_holm_and_what_cannot_be_tested():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([None, 0.02]) == [None, 0.02]
    assert mean_interval([2.0]) == (2.0, None, None, 1)
    (pair,) = [
        d for d in compare_pairs([result("s", "a", 0.1), result("s", "b", 0.2)])
        if d.metric == "NMSE"
    ]  # fmt: skip
    assert pair.p is None and pair.difference.mean == pytest.approx(-0.1)


def test_masks_of_other_accelerations_and_slices_are_not_paired():
    results = [result("s", "a", 0.1), result("t", "b", 0.2), result("s", "b", 0.2, 8.0)]
    assert compare_pairs(results) == []


def test_the_correlation_within_slices_is_of_masks_not_of_slices():
    # slices differ by a lot and are predicted well; which mask is better is predicted the
    # wrong way round
    results = []
    for i in range(4):
        results.append(result(f"s{i}", "a", 0.01 * 3.0**i, predicted=0.012 * 3.0**i))
        results.append(result(f"s{i}", "b", 0.012 * 3.0**i, predicted=0.01 * 3.0**i))
    found = correlate(results)
    assert found.pearson > 0.95
    assert found.within_slices == pytest.approx(-1)
    assert found.mean_ratio == pytest.approx(1)
    assert correlate([result("s", "a", 0.1)]) is None  # nothing was predicted
