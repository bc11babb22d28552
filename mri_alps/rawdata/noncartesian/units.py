"""Units of k-space: files do not say them, so they are recognised by the extent, or asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.rawdata.noncartesian.options import UNITS

LEAST_EXTENT = 4.0
"""Cycles per field of view; what reaches no farther is one pixel, or taken in a wrong unit."""
TOLERANCE = 0.1
"""By which the largest k may miss that of the matrix, relative to it."""
SLICES_DIFFER = 0.25
"""Slices that reach so much less far than the farthest one, relative to it, have another unit."""
_NAMES = {
    "fov": "cycles per field of view",
    "pixel": "cycles per pixel",
    "rad/pixel": "radians per pixel",
    "rad/m": "radians per metre",
    "1/m": "cycles per metre",
}


def unit_factors(
    matrix: tuple[int, int], view_mm: tuple[float, float] | None
) -> dict[str, np.ndarray]:
    """Return by what k in each unit has to be multiplied, to be in cycles per field of view.

    Parameters
    ----------
    matrix : tuple of int
        Pixels of the encoded field of view along both image axes.
    view_mm : tuple of float or None
        The encoded field of view; None where it is not known.
    """
    size = np.array(matrix, float)
    factors = {"fov": np.ones(2), "pixel": size, "rad/pixel": size / (2 * np.pi)}
    if view_mm is not None:
        view = np.array(view_mm, float) / 1000
        factors |= {"1/m": view, "rad/m": view / (2 * np.pi)}
    return factors


def in_cycles_per_field_of_view(
    trajectory: np.ndarray,
    units: str,
    matrix: tuple[int, int],
    view_mm: tuple[float, float] | None,
    name: str,
) -> tuple[np.ndarray, str]:
    """Return the factor of both axes, and how the unit was found out.

    Parameters
    ----------
    trajectory : np.ndarray
        float (..., 2), in the unit of the file. What is NaN or Inf is passed over here: the shot
        is named when it is read.
    units : str
        One of `UNITS`; "auto" takes the one in which the largest k is that of the matrix.
    matrix, view_mm
        See `unit_factors`.
    name : str
        Of the file, for messages.

    Returns
    -------
    factor : np.ndarray
        (2,), by which the trajectory has to be multiplied.
    how : str
        A phrase.

    Raises
    ------
    InputFileError
        If no unit, or more than one, fits the extent, or no number is finite.
    ConfigurationError
        If the unit is unknown, or takes a field of view that is not known.
    """
    if units not in UNITS:
        raise ConfigurationError(
            f"found the unit {units!r} of a trajectory, expected one of {', '.join(UNITS)}: change "
            "--trajectory-units"
        )
    finite = np.isfinite(trajectory)
    if not finite.any():
        raise InputFileError(
            f"{name}: the trajectory holds only NaN or Inf, from shot 0 on: export the scan again"
        )
    trajectory = np.where(finite, trajectory, 0.0)
    factors = unit_factors(matrix, view_mm)
    extent = float(np.abs(trajectory).max(initial=0.0))
    if units != "auto":
        if units not in factors:
            raise ConfigurationError(
                f"{name} does not say how large its field of view is, which {units} needs: give "
                "the trajectory in another unit"
            )
        return factors[units], f"{_NAMES[units]}, as was said"
    fitting = [unit for unit, factor in factors.items() if _fits(trajectory * factor, matrix)]
    if len(fitting) == 1:
        return factors[fitting[0]], f"{_NAMES[fitting[0]]}, recognised by its extent {extent:.4g}"
    n = max(matrix)
    expected = f"{n / 2:g} (fov), 0.5 (pixel) or {math.pi:.3g} (rad/pixel)"
    if view_mm is not None:
        meters = max(view_mm) / 1000
        expected += f", {n / 2 / meters:.4g} (1/m) or {n * math.pi / meters:.4g} (rad/m)"
    found = " and ".join(fitting) or "no unit"
    raise InputFileError(
        f"{name}: the trajectory reaches {extent:.4g}, which fits {found}, where a matrix of "
        f"{matrix[0]} x {matrix[1]} has {expected}: say which it is by --trajectory-units, or "
        "give the matrix that it belongs to (--matrix)"
    )


def reach_of(trajectory: np.ndarray) -> float:
    """Return how far from the centre of k-space a trajectory reaches; 0 without a finite number.

    Parameters
    ----------
    trajectory : np.ndarray
        float (shot, sample, 2), in the unit of the file.
    """
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1])
    return float(np.where(np.isfinite(radius), radius, 0.0).max(initial=0.0))


def refuse_several_units(reaches: Sequence[float], name: str) -> None:
    """Refuse slices that reach less far than others: their trajectory has another unit.

    Parameters
    ----------
    reaches : sequence of float
        Of the slices, from `reach_of`.
    name : str
        Of the file, for the message.

    Raises
    ------
    InputFileError
        If there is such a slice.
    """
    reach = np.asarray(reaches)
    largest, farthest = float(reach.max(initial=0.0)), int(reach.argmax())
    known = reach > 0  # one without a finite number is named when it is read
    near = np.flatnonzero(known & (reach < (1 - SLICES_DIFFER) * largest))
    if near.size:
        raise InputFileError(
            f"{name}: the trajectory of slice {near[0]} reaches {reach[near[0]]:.4g}, and that of "
            f"slice {farthest} {largest:.4g}, so they are not in one unit, or are not of one scan: "
            "export all slices with the same unit"
        )


def _fits(trajectory: np.ndarray, matrix: tuple[int, int]) -> bool:
    """Whether k reaches the edge of the matrix: along an axis, or as a radius."""
    relative = trajectory / (np.array(matrix) / 2)
    largest = float(np.abs(relative).max(initial=0.0))
    radius = float(np.sqrt((relative**2).sum(-1)).max(initial=0.0))
    return any(abs(reach - 1) <= TOLERANCE for reach in (largest, radius))


def planar(trajectory: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Take the third component of a trajectory apart: a density, nothing, or kz.

    Parameters
    ----------
    trajectory : np.ndarray
        float (shot, sample, 2 or 3).
    name : str
        Of the file, for the message.

    Returns
    -------
    trajectory : np.ndarray
        (shot, sample, 2).
    kz : np.ndarray or None
        (shot,), where the third component differs between shots.

    Raises
    ------
    InputFileError
        If it varies along shots and is no density.
    """
    if trajectory.shape[-1] == 2:
        return trajectory, None
    plane, third = trajectory[..., :2], trajectory[..., 2]
    if not third.any():
        return plane, None
    if np.ptp(third, axis=1).max() <= 1e-4 * np.abs(third).max():
        return plane, (third[:, 0] if np.ptp(third[:, 0]) > 0 else None)
    radius = np.hypot(plane[..., 0], plane[..., 1])
    order = np.argsort(radius, axis=1, kind="stable")
    along = np.take_along_axis(third, order, 1)
    if (third >= 0).all() and (np.diff(along, axis=1) >= -1e-3 * third.max()).all():
        return plane, None  # a density, which the likelihood does not take
    raise InputFileError(
        f"{name}: the third component of the trajectory varies along the shots and is no density, "
        "so this is a 3-D trajectory, and 2-D ones and stacks of them can be reconstructed: "
        "extract planes"
    )
