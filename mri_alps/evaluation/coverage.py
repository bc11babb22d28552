"""Does the interval hold the truth as often as it says?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_THRESHOLD = 0.1  # of the 99th percentile: above the air's noise, below dark brain
_SMALLEST_PART = 0.05  # of the largest connected region


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
