"""Sampling patterns that neither fastMRI nor sigpy draws, each with an exact number of entries."""

from __future__ import annotations

import math

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.core.errors import ConfigurationError

Seed = int | tuple[int, ...]

PARTIAL_FOURIER = 0.625
"""Part of the phase encodes that a partial-Fourier scan acquires: 5/8."""
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5)) / 2  # between spokes, which have no direction
_DENSITY_SLOPE = 4.0  # Poisson disc: distances at the edge over those at the centre, minus one


def check_center(n_center: int, n_total: float, acceleration: float) -> None:
    """Refuse a centre that uses up the whole budget.

    Parameters
    ----------
    n_center : int
        Entries at the centre.
    n_total : float
        Entries in all.
    acceleration : float
        For the message.

    Raises
    ------
    ConfigurationError
        If nothing is left beside the centre.
    """
    if n_center >= n_total:
        raise ConfigurationError(
            f"make_mask: found {n_center} fully measured entries at the centre where acceleration "
            f"{acceleration} leaves {n_total:.1f} in all, expected fewer; lower the centre "
            "fraction or the acceleration"
        )


def poisson_lines(width: int, acceleration: float, n_center: int, seed: Seed) -> np.ndarray:
    """Variable-density Poisson disc in one dimension.

    Lines are thrown in random order and stay if they keep a distance from all others that grows
    linearly from the centre to the edge; the distance is the largest that leaves room for all.

    Parameters
    ----------
    width : int
        Number of phase encodes.
    acceleration : float
        Phase encodes per measured one.
    n_center : int
        Fully measured lines at the centre.
    seed : int or tuple of int
        The same seed gives the same mask.

    Returns
    -------
    numpy.ndarray
        bool (1, width) with exactly round(width / acceleration) lines.
    """
    n_total = round(width / acceleration)
    check_center(n_center, width / acceleration, acceleration)
    center = np.arange(width)[center_range(width, n_center)]
    order = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(width), center))
    low, high = 0.0, float(width)
    for _ in range(30):
        middle = (low + high) / 2
        fits = len(_throw(order, center, middle, width)) >= n_total
        low, high = (middle, high) if fits else (low, middle)
    mask = np.zeros((1, width), dtype=bool)
    mask[0, _throw(order, center, low, width)[:n_total]] = True
    return mask


def _throw(order: np.ndarray, center: np.ndarray, distance: float, width: int) -> list[int]:
    kept = [int(line) for line in center]
    taken = np.zeros(width, dtype=bool)
    taken[center] = True
    for line in order.tolist():
        away = 2 * abs(line - width // 2) / width
        room = distance * (1 + _DENSITY_SLOPE * away) / (1 + _DENSITY_SLOPE)
        reach = math.ceil(room) - 1  # others as near as this are too near
        if reach < 0 or not taken[max(line - reach, 0) : line + reach + 1].any():
            taken[line] = True
            kept.append(line)
    return kept


def partial_fourier_lines(width: int, acceleration: float, n_center: int, seed: Seed) -> np.ndarray:
    """Lines of one side of k-space and a little of the other.

    Five eighths of the phase encodes, from one edge on; every so manieth of them and the centre
    where the acceleration asks for fewer, fewer from the edge on where it asks for more.

    Parameters
    ----------
    width, acceleration, n_center, seed
        As in `poisson_lines`; the seed decides the side and the offset.

    Returns
    -------
    numpy.ndarray
        bool (1, width) with exactly round(width / acceleration) lines.
    """
    n_total = round(width / acceleration)
    check_center(n_center, width / acceleration, acceleration)
    rng = np.random.default_rng(seed)
    mask = np.zeros(width, dtype=bool)
    mask[center_range(width, n_center)] = True
    n_part = max(round(PARTIAL_FOURIER * width), n_total)
    first = 0 if rng.integers(2) else width - n_part
    candidates = first + np.flatnonzero(~mask[first : first + n_part])
    n_drawn = n_total - int(mask.sum())
    if n_drawn > len(candidates):  # a wide centre reaches beyond the part
        candidates = np.flatnonzero(~mask)
    spaced = (np.arange(n_drawn) + rng.uniform()) * len(candidates) / max(n_drawn, 1)
    mask[candidates[spaced.astype(int)]] = True
    return mask[None]


def radial_points(
    shape: tuple[int, int], acceleration: float, center: tuple[int, int], seed: Seed
) -> np.ndarray:
    """Spokes at golden angles, each sample moved to the nearest point of the grid.

    Parameters
    ----------
    shape : tuple of int
        (H, W). Spokes end at the ellipse that fits into it.
    acceleration : float
        Points of the grid per measured one; the ellipse holds 1 in 1.27.
    center : tuple of int
        Fully measured block around DC.
    seed : int or tuple of int
        Decides the angle of the first spoke.

    Returns
    -------
    numpy.ndarray
        bool (H, W) with exactly round(H W / acceleration) points; the last spoke grows from the
        centre until they are reached.

    Raises
    ------
    ConfigurationError
        If spokes cannot fill so many points.
    """
    height, width = shape
    n_total = round(height * width / acceleration)
    check_center(math.prod(center), height * width / acceleration, acceleration)
    mask = np.zeros(shape, dtype=bool)
    mask[center_range(height, center[0]), center_range(width, center[1])] = True
    n_steps = 2 * max(shape)
    radius = np.arange(n_steps) / n_steps
    radius = np.stack([radius, -radius], 1).ravel()  # from the centre outwards, both ways
    angle = np.random.default_rng(seed).uniform(0, math.pi)
    for _ in range(8 * sum(shape)):
        rows = np.rint(height // 2 + radius * math.sin(angle) * (height / 2)).astype(int)
        columns = np.rint(width // 2 + radius * math.cos(angle) * (width / 2)).astype(int)
        points = np.ravel_multi_index((rows % height, columns % width), shape)
        fresh = list(dict.fromkeys(points[~mask.flat[points]].tolist()))
        mask.flat[fresh[: n_total - int(mask.sum())]] = True
        if mask.sum() >= n_total:
            return mask
        angle += _GOLDEN_ANGLE
    raise ConfigurationError(
        f"make_mask: radial spokes reach {int(mask.sum())} points of the grid {shape}, expected "
        f"the {n_total} of acceleration {acceleration}; raise the acceleration above 1.3"
    )
