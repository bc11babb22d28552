"""Means over scans, differences between masks, and how well errors were predicted.

Slices of one scan resemble each other: intervals and tests are over the means of scans, and over
slices only where there is no other scan.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from mri_alps.masks.study.measure import METRICS, WITH_REFERENCE, MaskResult

LEVEL = 0.95
COMPARED = (*WITH_REFERENCE, "predicted_NMSE", "posterior_std", "entropy")
LARGER_IS_BETTER = ("PSNR", "SSIM", "wavelet_PSNR")


class Interval(NamedTuple):
    """Mean over `n` scans, or slices of one; 95 % interval by Student's t, None where n is 1."""

    mean: float
    lower: float | None
    upper: float | None
    n: int


class Summary(NamedTuple):
    """A mask at an acceleration, over all scans."""

    mask: str
    acceleration: float
    achieved_acceleration: float
    metrics: dict[str, Interval]


class Difference(NamedTuple):
    """`mask` minus `other` in a metric, slice by slice, then scan by scan.

    `p` is that of the paired t-test, `p_adjusted` the same after Holm's correction for all pairs
    of one acceleration and metric; None where there are too few scans or slices for a test.
    """

    acceleration: float
    metric: str
    mask: str
    other: str
    difference: Interval
    p: float | None
    p_adjusted: float | None


class Correlation(NamedTuple):
    """Predicted against actual NMSE, by their logarithms.

    `pearson` and `spearman` over all slices and masks; `within_slices` is Pearson's coefficient
    after the mean of each slice is taken out of both: whether the masks of one slice are put in
    the right order. None where there are fewer than three points, or all are equal.
    """

    n: int
    pearson: float | None
    spearman: float | None
    within_slices: float | None
    mean_ratio: float | None


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean and its 95 % interval.

    Parameters
    ----------
    values : sequence of float
        At least one.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(mean, None, None, len(array))
    quantile = stats.t.ppf(0.5 + LEVEL / 2, len(array) - 1)
    half = float(quantile * array.std(ddof=1) / math.sqrt(len(array)))
    return Interval(mean, mean - half, mean + half, len(array))


def independent(values: Sequence[tuple[str, float]]) -> list[float]:
    """Return the mean of each scan, or the values themselves where all are of one.

    Parameters
    ----------
    values : sequence of tuple
        Scan and value of every slice.
    """
    scans: dict[str, list[float]] = defaultdict(list)
    for scan, value in values:
        scans[scan].append(value)
    if len(scans) == 1:
        return [value for _, value in values]
    return [float(np.mean(part)) for part in scans.values()]


def summarise(results: Sequence[MaskResult]) -> list[Summary]:
    """Return one entry per mask and acceleration, the best first within each acceleration.

    Ranked by PSNR, and without a reference by the predicted error.

    Parameters
    ----------
    results : sequence of MaskResult
        Of all slices.
    """
    groups: dict[tuple[float, str], list[MaskResult]] = defaultdict(list)
    for result in results:
        groups[result.acceleration, result.mask].append(result)
    summaries = []
    for (acceleration, mask), members in groups.items():
        metrics = {}
        for metric in METRICS:
            values = [(m.scan, v) for m in members if (v := m.metrics[metric]) is not None]
            if values:
                metrics[metric] = mean_interval(independent(values))
        achieved = float(np.mean([member.achieved_acceleration for member in members]))
        summaries.append(Summary(mask, acceleration, achieved, metrics))
    return sorted(summaries, key=_rank)


def _rank(summary: Summary) -> tuple[float, float]:
    if "PSNR" in summary.metrics:
        return summary.acceleration, -summary.metrics["PSNR"].mean
    return summary.acceleration, summary.metrics["predicted_NMSE"].mean


def compare_pairs(results: Sequence[MaskResult]) -> list[Difference]:
    """Compare every two masks of one acceleration on the slices that both have.

    Parameters
    ----------
    results : sequence of MaskResult
        Of all slices.
    """
    table: dict[tuple[float, str], dict[str, MaskResult]] = defaultdict(dict)
    for result in results:
        table[result.acceleration, result.mask][result.slice_name] = result
    differences = []
    for acceleration in sorted({key[0] for key in table}):
        masks = [mask for value, mask in table if value == acceleration]
        for metric in COMPARED:
            pairs = []
            for mask, other in itertools.combinations(masks, 2):
                values = _paired(table[acceleration, mask], table[acceleration, other], metric)
                if values:
                    p = _t_test(values)
                    pairs.append((mask, other, mean_interval(values), p))
            adjusted = holm([p for *_, p in pairs])
            differences += [
                Difference(acceleration, metric, mask, other, interval, p, corrected)
                for (mask, other, interval, p), corrected in zip(pairs, adjusted, strict=True)
            ]
    return differences


def _paired(
    first: dict[str, MaskResult], second: dict[str, MaskResult], metric: str
) -> list[float]:
    values: list[tuple[str, float]] = []
    for name in sorted(first.keys() & second.keys()):
        a, b = first[name].metrics[metric], second[name].metrics[metric]
        if a is not None and b is not None:
            values.append((first[name].scan, a - b))
    return independent(values)


def _t_test(values: Sequence[float]) -> float | None:
    array = np.asarray(values)
    if len(array) < 2:
        return None
    error = float(array.std(ddof=1)) / math.sqrt(len(array))
    if error == 0:
        return 1.0 if array[0] == 0 else None  # without scatter there is nothing to test with
    return float(2 * stats.t.sf(abs(float(array.mean())) / error, len(array) - 1))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p-values after Holm's correction for testing all of them.

    Parameters
    ----------
    values : sequence of float or None
        None stays None and does not count as a test.
    """
    known = sorted((value, index) for index, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for position, (value, index) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - position)))
        adjusted[index] = largest
    return adjusted


def correlate(results: Sequence[MaskResult]) -> Correlation | None:
    """Return how well the predicted error tells the actual one; None without a reference.

    Parameters
    ----------
    results : sequence of MaskResult
        Of all slices.
    """
    pairs = [
        (result.slice_name, math.log(predicted), math.log(actual))
        for result in results
        if (predicted := result.metrics["predicted_NMSE"]) and (actual := result.metrics["NMSE"])
    ]
    if not pairs:
        return None
    names = np.array([pair[0] for pair in pairs])
    predicted_log, actual_log = (np.array([pair[i] for pair in pairs]) for i in (1, 2))
    inner = [predicted_log.copy(), actual_log.copy()]
    for name in np.unique(names):
        for values in inner:
            values[names == name] -= values[names == name].mean()
    ranks = [stats.rankdata(values) for values in (predicted_log, actual_log)]
    return Correlation(
        n=len(pairs),
        pearson=_pearson(predicted_log, actual_log),
        spearman=_pearson(*ranks),
        within_slices=_pearson(*inner),
        mean_ratio=float(np.exp((predicted_log - actual_log).mean())),
    )


def _pearson(first: np.ndarray, second: np.ndarray) -> float | None:
    a, b = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((a @ a) * (b @ b)))
    if len(a) < 3 or scale < 1e-12:
        return None
    return float(a @ b) / scale
