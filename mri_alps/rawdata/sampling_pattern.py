"""What a sampling mask says about itself: centre block, acceleration, partial Fourier."""

from __future__ import annotations

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.core.errors import ShapeError


def center_block(mask_2d: np.ndarray) -> tuple[int, int]:
    """Return the size of the largest centred, fully sampled block of a mask.

    A block of size w is centred if it covers the indices [N//2 - w//2, N//2 - w//2 + w), the
    usual centre crop. "Largest" is by area; of equal areas the squarer one wins.

    Parameters
    ----------
    mask_2d : np.ndarray
        bool (readout, phase_encode); a mask of lines must be expanded along the readout first
        (`RawKSpace.slice_mask` does) or its readout extent is reported as 1.

    Returns
    -------
    tuple of int
        (n_readout, n_phase_encode), (0, 0) if the centre itself is not sampled.

    Raises
    ------
    ShapeError
        If the mask is not 2-D.
    """
    mask = np.asarray(mask_2d, bool)
    if mask.ndim != 2:
        raise ShapeError(f"center_block needs a mask (readout, phase_encode), found {mask.shape}")
    best = (0, 0)
    columns = _outermost(mask.shape[1])
    rows = np.ones(mask.shape[1], bool)  # columns sampled in every row of the block so far
    for height, row in enumerate(_outermost(mask.shape[0]), 1):
        rows &= mask[row]
        # As wide as the centred columns are sampled without a gap.
        width = int(np.logical_and.accumulate(rows[columns]).sum())
        if width == 0:
            break
        size = (height, width)
        if (height * width, min(size)) > (best[0] * best[1], min(best)):
            best = size
    return best


def _outermost(length: int) -> list[int]:
    """Indices that join the centred block, in the order in which it grows from size 0 on."""
    blocks = [(size, center_range(length, size)) for size in range(1, length + 1)]
    return [block.stop - 1 if size % 2 else block.start for size, block in blocks]


def smallest_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask of whole lines as (phase_encode,), any other as it is.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool, (readout, phase_encode).
    """
    lines = mask[0]
    return lines.copy() if (mask == lines).all() else mask


def net_acceleration(mask: np.ndarray, first: int = 0, stop: int | None = None) -> float:
    """Return points over measured points, over the phase encodes [first, stop).

    Parameters
    ----------
    mask : numpy.ndarray
        Bool, phase encodes along the last axis.
    first : int
        First phase encode that counts.
    stop : int, optional
        Phase encode after the last one that counts; all up to the end if left out.
    """
    part = np.asarray(mask, bool)[..., first:stop]
    measured = int(part.sum())
    return float("inf") if measured == 0 else part.size / measured


def measured_range(mask: np.ndarray) -> tuple[int, int]:
    """Return [first, stop) of the last axis outside which nothing is measured.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool, phase encodes along the last axis.
    """
    measured = np.flatnonzero(np.asarray(mask, bool).reshape(-1, mask.shape[-1]).any(axis=0))
    return (0, 0) if measured.size == 0 else (int(measured[0]), int(measured[-1]) + 1)


def pattern_name(mask: np.ndarray) -> str:
    """Return what kind of pattern a mask is, whoever drew it.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool, (readout, phase_encode).

    Returns
    -------
    str
        "points", or "regular lines" where outside the fully sampled centre the distances between
        lines differ by one at most (which is rounding), or "irregular lines".
    """
    mask = np.asarray(mask, bool)
    lines = mask[0]
    if not (mask == lines).all():
        return "points"
    width = center_block(lines[None])[1]
    block = center_range(len(lines), width)
    measured = np.flatnonzero(lines)
    sides = (measured[measured < block.start], measured[measured >= block.stop])
    distances = np.concatenate([np.diff(side) for side in sides])
    is_regular = distances.size == 0 or distances.max() - distances.min() <= 1
    return "regular lines" if is_regular else "irregular lines"
