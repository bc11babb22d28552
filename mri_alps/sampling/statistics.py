"""Statistics of posterior samples.

Samples of one antithetic group are correlated, those of different groups are not. The variance is
therefore the mean of half the squared difference over all pairs of different groups: without bias
whatever the correlation is. For independent samples these are all pairs, and it is the textbook's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second to load

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import ANTITHETIC_GROUP


class SampleStatistics(NamedTuple):
    """Statistics over posterior samples of an image, each of the image's shape.

    `mean` is the complex posterior mean; `magnitude_mean` and `magnitude_std` are the mean and
    the standard deviation of the samples' magnitudes; `lower` and `upper` are the 90 % predictive
    interval of the magnitude, Student's t with `degrees_of_freedom`.
    """

    mean: np.ndarray
    magnitude_mean: np.ndarray
    magnitude_std: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    degrees_of_freedom: int


def antithetic_groups(samples: Sequence[int]) -> list[int]:
    """Return the group of each sample, as `core.random.NoiseStreams` forms them.

    Parameters
    ----------
    samples : sequence of int
        Index of each sample in the run.
    """
    return [index // ANTITHETIC_GROUP for index in samples]


def deviation_matrix(groups: Sequence[int]) -> np.ndarray:
    """Return M for which the rows of M x have the posterior's covariance as their mean square.

    M^T M / n is the weight of x_i x_j^H in the mean over all pairs of different groups of
    (x_i - x_j)(x_i - x_j)^H / 2. Where all samples are of one group, all pairs count, and the
    covariance is too large by at most 1 / (n - 1) of it.

    Parameters
    ----------
    groups : sequence of int
        Group of each sample; all different for independent ones.

    Returns
    -------
    numpy.ndarray
        float64 (n, n), symmetric; its rows sum to zero.
    """
    of_pairs = _pairs(groups)
    laplacian = np.diag(of_pairs.sum(1)) - of_pairs
    values, vectors = np.linalg.eigh(laplacian * len(groups) / of_pairs.sum())
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T)


def decorrelated(samples: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Return samples of the same mean whose textbook covariance is the unbiased one.

    For what knows of no groups and divides by n - 1.

    Parameters
    ----------
    samples : numpy.ndarray
        (n, ...), n at least 2.
    groups : sequence of int
        Group of each sample.
    """
    n, mean = len(samples), samples.mean(0)
    scaled = math.sqrt((n - 1) / n) * _deviations(samples - mean, groups)
    return np.asarray(mean + scaled, samples.dtype)


def degrees_of_freedom(groups: Sequence[int]) -> int:
    """Return those of the variance: one is lost to each group, as their means scatter little.

    Parameters
    ----------
    groups : sequence of int
        Group of each sample.
    """
    n_groups = len(set(groups))
    return len(groups) - (1 if n_groups == len(groups) else n_groups)


def predictive_interval(
    mean: np.ndarray, std: np.ndarray, n_samples: int, level: float = 0.9
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval that holds the next draw with probability `level`.

    For n independent draws of a normal variable, mean -+ t((1 + level)/2, n - 1) std sqrt(1 + 1/n)
    covers another one, and so the truth under a correct posterior, with exactly this probability
    at every n; plain quantiles of 8 samples cover 72 % where 90 % is meant.

    Parameters
    ----------
    mean, std : numpy.ndarray
        Sample mean and sample standard deviation (n - 1 in the denominator).
    n_samples : int
        Number of samples, at least 2.
    level : float
        Nominal coverage.

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper bound, in the units and the shape of `mean`.

    Raises
    ------
    ConfigurationError
        If there are fewer than two samples.
    """
    _require_two(n_samples)
    return _interval(mean, math.sqrt(1 + 1 / n_samples) * std, n_samples - 1, level)


def sample_statistics(samples: np.ndarray, groups: Sequence[int] | None = None) -> SampleStatistics:
    """Reduce samples to their statistics.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex, shape (n_samples, *image shape).
    groups : sequence of int, optional
        Group of each sample, from `antithetic_groups`; independent if left out.

    Raises
    ------
    ConfigurationError
        If there are fewer than two samples.
    """
    n = len(samples)
    _require_two(n)
    groups = range(n) if groups is None else groups
    magnitude = np.abs(samples).astype(np.float64)
    mean = magnitude.mean(0)
    variance = np.square(_deviations(magnitude - mean, groups)).mean(0)
    of_mean = _variance_of_mean(magnitude - mean, variance, groups)
    degrees = degrees_of_freedom(groups)
    bounds = _interval(mean, np.sqrt(variance + of_mean), degrees, 0.9)
    complex_mean = samples.mean(0, dtype=np.complex128)
    return SampleStatistics(complex_mean, mean, np.sqrt(variance), *bounds, degrees)


def _pairs(groups: Sequence[int]) -> np.ndarray:
    """One for each pair of samples of different groups; all pairs if there is but one group."""
    labels = np.asarray(groups)
    differ = labels[:, None] != labels
    return np.asarray(differ if differ.any() else ~np.eye(len(labels), dtype=bool), np.float64)


def _deviations(centred: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    mixed = deviation_matrix(groups) @ centred.reshape(len(centred), -1)
    return np.asarray(mixed.reshape(centred.shape))


def _variance_of_mean(
    centred: np.ndarray, variance: np.ndarray, groups: Sequence[int]
) -> np.ndarray | float:
    """Variance of the mean of all samples, from what those of one group have in common.

    With c the covariance of two samples of a group, estimated as the variance less half of their
    mean squared difference, it is variance / n + (share of ordered pairs within groups) c. What a
    single group has in common cannot be told: its variance is too large by at least as much.
    """
    n, labels = len(centred), np.asarray(groups)
    within = (labels[:, None] == labels) & ~np.eye(n, dtype=bool)
    if not within.any():
        return variance / n
    if within.sum() == n * (n - 1):
        return 0.0
    difference = np.zeros_like(variance)
    for i, j in np.argwhere(np.triu(within)):
        difference += np.square(centred[i] - centred[j])
    in_common = variance - difference / within.sum()
    return np.asarray((variance / n + within.mean() * in_common).clip(0))


def _interval(
    mean: np.ndarray, std: np.ndarray, degrees: int, level: float
) -> tuple[np.ndarray, np.ndarray]:
    half_width = np.asarray(stdtrit(degrees, 0.5 + level / 2) * std, dtype=mean.dtype)
    return mean - half_width, mean + half_width


def _require_two(n_samples: int) -> None:
    if n_samples < 2:
        raise ConfigurationError(
            f"a predictive interval needs at least 2 samples, found {n_samples}: draw more"
        )
