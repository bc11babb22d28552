"""Is the error where the uncertainty says it is? Error against the fraction discarded."""

from __future__ import annotations

import numpy as np

FRACTIONS = tuple(float(fraction) for fraction in np.round(np.arange(0, 0.96, 0.05), 2))
"""Of the pixels, that are discarded, the most uncertain first."""


def sparsification_curve(
    error: np.ndarray, uncertainty: np.ndarray, region: np.ndarray
) -> tuple[float, ...]:
    """Return the error that is left when the most uncertain pixels are discarded.

    Ilg et al., Uncertainty estimates and multi-hypotheses networks for optical flow, ECCV 2018.
    With the error itself as the uncertainty it is the best that can be had, the oracle.

    Parameters
    ----------
    error, uncertainty : numpy.ndarray
        Real, one shape; the sign of the error does not matter.
    region : numpy.ndarray
        Bool, same shape: the pixels that count.

    Returns
    -------
    tuple of float
        Root mean square error of what is left at each of `FRACTIONS`, relative to that of all;
        empty where there is no pixel or no error.
    """
    squared = np.abs(error[region].astype(np.float64)) ** 2
    if squared.size == 0 or not squared.any():
        return ()
    ordered = squared[np.argsort(uncertainty[region], kind="stable")]  # the surest first
    sums = np.cumsum(ordered)
    kept = [max(1, round((1 - fraction) * ordered.size)) for fraction in FRACTIONS]
    left = np.array([sums[count - 1] / count for count in kept])
    return tuple(float(value) for value in np.sqrt(left / (sums[-1] / ordered.size)))


def sparsification_area(curve: tuple[float, ...], oracle: tuple[float, ...]) -> float:
    """Return the area between a curve and the oracle's: 0 at best.

    Parameters
    ----------
    curve, oracle : tuple of float
        From `sparsification_curve`.
    """
    gap = np.subtract(curve, oracle)
    steps = np.diff(FRACTIONS)
    return float(np.sum(steps * (gap[1:] + gap[:-1]) / 2))
