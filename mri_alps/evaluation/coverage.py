"""Does the interval hold the truth as often as it says?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import stdtrit

_THRESHOLD = 0.1  # of the 99th percentile: above the air's noise, below dark brain
_SMALLEST_PART = 0.05  # of the largest connected region
_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def head_mask(reference: np.ndarray) -> np.ndarray:
    """Return where the object is, found from a reference image.

    Pixels above a tenth of the 99th percentile, closed and filled slice by slice; parts smaller
    than a twentieth of the largest are dropped. The reconstruction plays no role in it.

    Parameters
    ----------
    reference : numpy.ndarray
        Magnitude, (slices, H, W).

    Returns
    -------
    numpy.ndarray
        Bool, same shape.
    """
    bright = reference > _THRESHOLD * np.percentile(reference, 99)
    return np.stack([_fill(image) for image in bright])


def _fill(bright: np.ndarray) -> np.ndarray:
    padded = np.pad(bright, 3)
    closed = ndimage.binary_closing(ndimage.binary_opening(padded), iterations=3)[3:-3, 3:-3]
    labels, count = ndimage.label(closed)
    if count == 0:
        return closed
    sizes = np.bincount(labels.ravel())[1:]
    kept = 1 + np.flatnonzero(sizes >= _SMALLEST_PART * sizes.max())
    return ndimage.binary_fill_holes(np.isin(labels, kept))


def interval_coverage(
    reference: np.ndarray, lower: np.ndarray, upper: np.ndarray, region: np.ndarray
) -> float:
    """Return the fraction of the region's pixels whose reference lies within the interval.

    Parameters
    ----------
    reference, lower, upper : numpy.ndarray
        Real, one shape, one unit.
    region : numpy.ndarray
        Bool, same shape.

    Returns
    -------
    float
        Between 0 and 1; not-a-number for an empty region.
    """
    if not region.any():
        return float("nan")
    inside = (lower <= reference) & (reference <= upper)
    return float(inside[region].mean())


def predictive_std(lower: np.ndarray, upper: np.ndarray, degrees: int | np.ndarray) -> np.ndarray:
    """Return the standard deviation of the truth around the mean that a 90 % interval stands for.

    Parameters
    ----------
    lower, upper : numpy.ndarray
        Bounds of the interval.
    degrees : int or numpy.ndarray
        Degrees of freedom; broadcasts to the bounds.
    """
    return np.asarray((upper - lower) / (2 * stdtrit(degrees, 0.95)))


def reliability(
    reference: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    region: np.ndarray,
    degrees: int,
    level: float = 0.9,
) -> dict[float, float]:
    """Return how often intervals of all nominal coverages hold the reference.

    Those of other levels are the stored ones, made narrower or wider as Student's t with as many
    degrees of freedom has it (`mri_alps.sampling.sample_statistics`).

    Parameters
    ----------
    reference, lower, upper, region : numpy.ndarray
        As `interval_coverage` takes them; bounds of the nominal coverage `level`.
    degrees : int
        Degrees of freedom of the intervals, at least 1.
    level : float
        Nominal coverage of the bounds.

    Returns
    -------
    dict
        Nominal to observed coverage.
    """
    middle, half = (lower + upper) / 2, (upper - lower) / 2
    stored = stdtrit(degrees, 0.5 + level / 2)
    found = {}
    for nominal in _LEVELS:
        reach = half * float(stdtrit(degrees, 0.5 + nominal / 2) / stored)
        found[nominal] = interval_coverage(reference, middle - reach, middle + reach, region)
    return found
