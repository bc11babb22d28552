"""Which measured samples are left out, to be predicted from the others."""

from __future__ import annotations

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.core.errors import ConfigurationError, ShapeError

SHARE = 1 / 6
"""Share of the measured samples that is left out at a time."""


def choose_left_out(
    mask: np.ndarray, center: tuple[int, int], n_folds: int = 1, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Choose samples to leave out, at all distances from the centre of k-space alike.

    Measured lines outside of the centre are sorted by their distance from it and cut into as many
    groups as lines are to be left out; of each group one line is left out in each fold, another
    one in every fold. Where no whole lines were measured, single samples take their place.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool (readout, phase_encode): the measured samples.
    center : tuple of int
        Extent of the centre, (readout, phase_encode), of which nothing is left out: the maps
        come from it.
    n_folds : int
        How many sets.
    seed : int
        Of the choice.

    Returns
    -------
    tuple of numpy.ndarray
        Bool (readout, phase_encode) each, disjoint; fewer than `n_folds`, or none, where too few
        samples are measured outside of the centre.

    Raises
    ------
    ShapeError
        If the mask has not two axes.
    ConfigurationError
        If `n_folds` is less than 1.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2:
        raise ShapeError(
            f"a mask must have the shape (readout, phase_encode), found {mask.shape}: broadcast it"
        )
    if n_folds < 1:
        raise ConfigurationError(f"n_folds must be at least 1, found {n_folds}")
    rows, columns = np.asarray(mask.any(1)), np.asarray(mask.any(0))
    generator = np.random.default_rng(seed)
    if np.array_equal(mask, rows[:, None] & columns):
        inside = np.zeros(mask.shape[1], bool)
        inside[center_range(mask.shape[1], min(center[1], mask.shape[1]))] = True
        lines = np.flatnonzero(columns & ~inside)
        distance = np.abs(lines - mask.shape[1] // 2).astype(float)
        chosen = _choose(lines, distance, int(columns.sum()), n_folds, generator)
        return tuple(mask & np.isin(np.arange(mask.shape[1]), fold) for fold in chosen)
    inside = np.zeros(mask.shape, bool)
    ranges = [center_range(n, min(c, n)) for n, c in zip(mask.shape, center, strict=True)]
    inside[ranges[0], ranges[1]] = True
    points = np.flatnonzero(mask & ~inside)
    y, x = np.unravel_index(points, mask.shape)
    distance = np.hypot(y / mask.shape[0] - 0.5, x / mask.shape[1] - 0.5)
    chosen = _choose(points, distance, int(mask.sum()), n_folds, generator)
    flat = [np.isin(np.arange(mask.size), fold) for fold in chosen]
    return tuple(fold.reshape(mask.shape) for fold in flat)


def choose_left_out_shots(
    trajectory: np.ndarray, n_folds: int = 1, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Choose whole shots to leave out, of all directions alike.

    Parameters
    ----------
    trajectory : numpy.ndarray
        Float (shots, samples, 2).
    n_folds : int
        How many sets.
    seed : int
        Of the choice.

    Returns
    -------
    tuple of numpy.ndarray
        Bool (shots,) each, disjoint; fewer than `n_folds`, or none, where there are too few shots.
    """
    n_shots = len(trajectory)
    # Two directions through the centre are the same: the angle is doubled.
    far = np.linalg.norm(trajectory, axis=-1).argmax(axis=1)
    place = trajectory[np.arange(n_shots), far]
    angle = np.angle((place[:, 0] + 1j * place[:, 1]) ** 2)
    generator = np.random.default_rng(seed)
    chosen = _choose(np.arange(n_shots), angle, n_shots, n_folds, generator)
    return tuple(np.isin(np.arange(n_shots), fold) for fold in chosen)


def _choose(
    items: np.ndarray,
    distance: np.ndarray,
    n_measured: int,
    n_folds: int,
    generator: np.random.Generator,
) -> list[np.ndarray]:
    """Stratified choice: the `items` of each fold, at most half of all."""
    n_folds = min(n_folds, len(items) // 2)
    if n_folds == 0:
        return []
    count = max(1, min(round(SHARE * n_measured), len(items) // max(n_folds, 2)))
    order = items[np.lexsort((generator.random(len(items)), distance))]
    groups = [generator.permutation(group) for group in np.array_split(order, count)]
    return [np.array([group[fold] for group in groups]) for fold in range(n_folds)]
