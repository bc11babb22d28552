"""How often predictions of left-out samples hold what was measured."""

from __future__ import annotations

import numpy as np

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal coverage of the intervals that are looked at."""


def smallest_level(
    squared_error: np.ndarray, variance: np.ndarray, noise_variance: float, n_samples: int
) -> np.ndarray:
    """Return how large an interval around the prediction has to be to hold what was measured.

    An error e of variance v + l, of which l is known to be noise and v was estimated from n
    samples, is held by the interval |e|^2 <= q (estimate + l) with the probability

        1 - exp(-q s) (1 + q (1 - s) / (n - 1))^-(n - 1),    s = l / (v + l),

    for s = 0 the distribution F(2, 2 (n - 1)). The share s is that of all pixels together.

    Parameters
    ----------
    squared_error, variance : numpy.ndarray
        (pixels,): |e|^2, and v as it was estimated, for a draw that is none of the n.
    noise_variance : float
        l.
    n_samples : int
        n, at least 2.

    Returns
    -------
    numpy.ndarray
        (pixels,): the nominal coverage of the smallest interval that holds the pixel; uniform
        between 0 and 1 where the prediction is right.
    """
    total = np.maximum(variance + noise_variance, 1e-30)
    share = noise_variance / total.mean()
    q, degrees = squared_error / total, n_samples - 1
    return -np.expm1(-q * share - degrees * np.log1p(q * (1 - share) / degrees))


def observed_coverage(levels: np.ndarray) -> tuple[float, ...]:
    """Return the share of pixels that intervals of the nominal coverages `LEVELS` hold.

    Parameters
    ----------
    levels : numpy.ndarray
        From `smallest_level`, of all pixels.
    """
    return tuple(float((levels <= nominal).mean()) for nominal in LEVELS)
