"""The trajectory of a slice, few points of it: what a picture of the calibration draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PORTRAYED_SHOTS = 200
"""Straight shots of a trajectory that a picture of it draws, evenly chosen."""
PORTRAYED_WAYS = 8
"""Shots that are not straight and are drawn, the first ones: they hide each other."""
PORTRAYED_POINTS = 1600
"""Points of all shots together that are kept for a picture."""


def portray_path(trajectory: torch.Tensor, kind: str) -> np.ndarray:
    """Return some shots of a trajectory, thinned.

    Parameters
    ----------
    trajectory : torch.Tensor
        Real (samples, shots, 2), cycles per field of view, as it is used; (n, 1, 2) where single
        samples are missing.
    kind : str
        Of `RawTrajectoryData`.

    Returns
    -------
    numpy.ndarray
        float64 (shots drawn, points of each, 2).
    """
    path = trajectory.detach().double().cpu().numpy().swapaxes(0, 1)
    n_shots, n_samples = path.shape[:2]
    if n_shots == 1:
        n_points = min(n_samples, PORTRAYED_POINTS)
        chosen = np.linspace(0, n_samples - 1, n_points).round().astype(int)
        return path[:, chosen]
    if kind == "radial":
        shots = np.linspace(0, n_shots - 1, min(n_shots, PORTRAYED_SHOTS)).round().astype(int)
        return path[shots][:, [0, n_samples // 2, n_samples - 1]]
    path = path[:PORTRAYED_WAYS]
    n_points = min(n_samples, PORTRAYED_POINTS // len(path))
    return path[:, np.linspace(0, n_samples - 1, n_points).round().astype(int)]


def path_to_plain(path: np.ndarray) -> dict[str, Any]:
    """Return what JSON can hold, with three digits.

    Parameters
    ----------
    path : numpy.ndarray
        From `portray_path`.
    """
    figures = [float(f"{value:.3g}") for value in path.ravel().tolist()]
    return {"shape": list(path.shape), "values": figures}


def path_from_plain(content: dict[str, Any]) -> np.ndarray:
    """Return what `path_to_plain` returned, from a file that anybody may have written.

    Parameters
    ----------
    content : dict
        From JSON.

    Raises
    ------
    ValueError
        If it is anything else, or larger.
    """
    shape = [int(size) for size in content["shape"]]
    values = content["values"]
    if len(values) > 2 * PORTRAYED_POINTS:
        raise ValueError(f"a trajectory of {len(values)} figures")
    found = np.array([float(value) for value in values])
    if len(shape) != 3 or shape[-1] != 2 or min(shape) < 1 or not np.isfinite(found).all():
        raise ValueError(f"a trajectory of shape {shape}")
    return found.reshape(shape)
