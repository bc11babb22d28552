"""What kind of path a trajectory is, and how densely it covers the centre of k-space."""

from __future__ import annotations

import numpy as np

RADIAL, SPIRAL, OTHER = "radial", "spiral", "other"
STRAIGHT = 0.02
"""Deviation of a spoke from a line through the centre, relative to its length."""
LARGEST_GAP = 2.0
"""Cycles per field of view between neighbours, up to which the centre is covered."""
JUMPS = 4.0
"""Times the way from shot to shot that neighbouring samples are apart where both are exchanged."""


def kind_of(trajectory: np.ndarray) -> str:
    """Return "radial", "spiral" or "other".

    Parameters
    ----------
    trajectory : np.ndarray
        float (shot, sample, 2), cycles per field of view.
    """
    if trajectory.shape[1] < 3:
        return OTHER
    radius = np.linalg.norm(trajectory, axis=-1)
    scale = float(radius.max(initial=0.0)) or 1.0
    singular = np.linalg.svd(trajectory, compute_uv=False)
    if (singular[:, 1] <= STRAIGHT * np.maximum(singular[:, 0], 1e-12)).all():
        return RADIAL if (radius.min(axis=1) < 0.05 * scale).all() else OTHER
    ends = np.minimum(radius[:, 0], radius[:, -1])
    return SPIRAL if (ends < 0.05 * scale).all() else OTHER


def is_transposed(trajectory: np.ndarray) -> bool:
    """Whether shots and samples seem to be exchanged, which shapes do not tell where they agree.

    Gradients move in small steps along a shot: neighbouring samples are near each other.

    Parameters
    ----------
    trajectory : np.ndarray
        float (shot, sample, 2), cycles per field of view.
    """
    if trajectory.shape[0] != trajectory.shape[1] or len(trajectory) < 3:
        return False
    along, across = (
        float(np.median(np.linalg.norm(np.diff(trajectory, axis=axis), axis=-1))) for axis in (1, 0)
    )
    return along > JUMPS * across


def covered_radius(trajectory: np.ndarray, gap: float = LARGEST_GAP) -> float:
    """Return the radius up to which no place is farther than half a gap from a sample.

    Parameters
    ----------
    trajectory : np.ndarray
        float (..., 2), cycles per field of view.
    gap : float
        Cycles per field of view.

    Returns
    -------
    float
        In steps of a half; 0 where the centre itself is not covered.
    """
    points = np.asarray(trajectory, float).reshape(-1, 2)
    largest = float(np.linalg.norm(points, axis=1).max(initial=0.0))
    from scipy.spatial import cKDTree  # half a second that most files need not wait for

    tree = cKDTree(points)
    if tree.query([0.0, 0.0])[0] > gap / 2:
        return 0.0
    radius = 0.0
    while radius + 0.5 <= largest:
        n_places = max(8, int(np.ceil(4 * 2 * np.pi * (radius + 0.5) / gap)))
        angle = 2 * np.pi * np.arange(n_places) / n_places
        ring = (radius + 0.5) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if tree.query(ring)[0].max() > gap / 2:
            break
        radius += 0.5
    return radius


def acceleration(trajectory: np.ndarray, shape: tuple[int, int], kind: str) -> float:
    """Return how many times fewer shots there are than full sampling takes, 1 or more.

    Radial: pi / 2 N spokes through the centre (twice as many from it) sample an N x N image fully.
    Otherwise: the points of the grid within the sampled ellipse, over those next to a sample.

    Parameters
    ----------
    trajectory : np.ndarray
        float (shot, sample, 2), cycles per field of view.
    shape : tuple of int
        Of the image.
    kind : str
        From `kind_of`.
    """
    if kind == RADIAL:
        through = (trajectory[:, 0] * trajectory[:, -1]).sum(-1) < 0
        needed = np.pi / 2 * max(shape) * np.where(through, 1.0, 2.0).mean()
        return max(1.0, float(needed / len(trajectory)))
    visited = visited_points(trajectory, shape)
    y, x = (2 * (np.arange(n) - n // 2) / n for n in shape)
    inside = y[:, None] ** 2 + x**2 <= 1
    return max(1.0, float(inside.sum() / max((visited & inside).sum(), 1)))


def visited_points(trajectory: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the points of the grid of k-space that are next to a sample, bool (H, W).

    Parameters
    ----------
    trajectory : np.ndarray
        float (..., 2), cycles per field of view.
    shape : tuple of int
        Of the grid.
    """
    size = np.array(shape)
    places = np.rint(trajectory.reshape(-1, 2)).astype(int) + size // 2
    places = places[((places >= 0) & (places < size)).all(axis=1)]
    visited = np.zeros(shape, bool)
    visited[places[:, 0], places[:, 1]] = True
    return visited


def spokes(n_shots: int, n_samples: int, degrees: float, extent: float) -> np.ndarray:
    """Return spokes through the centre, each turned by an angle against the last.

    Parameters
    ----------
    n_shots, n_samples : int
        Spokes, and samples of each; sample N // 2 is at the centre.
    degrees : float
        From one spoke to the next; the first lies along the first image axis.
    extent : float
        Cycles per field of view that a spoke is long.

    Returns
    -------
    np.ndarray
        float64 (shot, sample, 2).
    """
    angle = np.deg2rad(degrees) * np.arange(n_shots)
    along = (np.arange(n_samples) - n_samples // 2) * (extent / n_samples)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return direction[:, np.newaxis] * along[:, np.newaxis]
