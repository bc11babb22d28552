"""What a layout says is checked against the data: axes, pairs of numbers, where images begin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.decoupling import readout_to_image
from mri_alps.rawdata.kspace_center import (
    CONCENTRATED,
    SMALLEST_AXIS,
    SPREAD,
    concentrations,
    energy_concentration,
)
from mri_alps.rawdata.layouts._source import StoredArray, read_stored

if TYPE_CHECKING:
    from mri_alps.core.hdf5 import Dataset

_SLICES_LOOKED_AT = 16
_CENTER = 32
"""Lines of the centre of k-space that show where the object lies."""
_CERTAIN = 0.2
"""Length of the mean direction of an object's place on the circle: 1 for a point, 0 for none."""


def check_axes(
    dataset: Dataset, array: StoredArray, path: Path, title: str, is_hybrid: bool
) -> None:
    """Refuse an array whose energy lies along other axes than the layout has k-space on.

    Parameters
    ----------
    dataset : Dataset
        The k-space.
    array : StoredArray
        What each axis is.
    path : Path
        The file, for messages.
    title : str
        Of the layout.
    is_hybrid : bool
        Whether the axis of slices is one of the image.
    """
    places = dict(array.fixed) | {array.slice_axis: dataset.shape[array.slice_axis] // 2}
    block = dataset[tuple(places.get(axis, slice(None)) for axis in range(dataset.ndim))]
    left = [axis for axis in range(dataset.ndim) if axis not in places]
    shares = dict(zip(left, concentrations(np.asarray(block)), strict=True))
    others = [axis for axis in left if axis not in array.image_axes]
    is_turned = any((shares[axis] or 0) > CONCENTRATED for axis in others)
    for axis in array.image_axes:
        share = shares[axis]
        if (share is None and is_turned) or (share is not None and share < SPREAD):
            raise InputFileError(
                f"{path}: axis {axis} of `{array.name}`, of shape {dataset.shape}, has no energy "
                f"in its middle as k-space has, and the layout of {title} has k-space there: "
                + (
                    "store k-space as complex numbers, or bring the axes into its order"
                    if array.is_paired
                    else "bring the axes into its order"
                )
            )
    if not is_hybrid:
        return
    n_slices = dataset.shape[array.slice_axis]
    step = max(1, n_slices // _SLICES_LOOKED_AT)
    energy = [
        _energy(dataset, array, index) for index in range(n_slices // 2 % step, n_slices, step)
    ]
    if len(energy) < SMALLEST_AXIS or not any(energy):
        return
    if energy_concentration(np.array(energy)) > CONCENTRATED:
        raise InputFileError(
            f"{path}: axis {array.slice_axis} of `{array.name}`, of shape {dataset.shape}, has its "
            f"energy in the middle as k-space has, and the layout of {title} has it in image "
            "space: transform that axis by an inverse Fourier transform"
        )


def _energy(dataset: Dataset, array: StoredArray, index: int) -> float:
    places = dict(array.fixed) | {array.slice_axis: index}
    block = dataset[tuple(places.get(axis, slice(None)) for axis in range(dataset.ndim))]
    energy = float(np.square(np.abs(block), dtype=np.float64).sum())
    return energy if np.isfinite(energy) else 0.0


def find_half_shifts(
    path: Path, array: StoredArray, n_slices: int
) -> tuple[tuple[np.ndarray | None, np.ndarray | None], str]:
    """Find along which axes images begin at their edge, and the phases that centre them.

    Calgary-Campinas has the centre of k-space in the middle and its images come out right by a
    transform without shifts, so that by a centred one they are moved by half the field of view.

    Parameters
    ----------
    path : Path
        The file.
    array : StoredArray
        The k-space.
    n_slices : int
        Slices, of which the middle one is looked at.

    Returns
    -------
    phases : tuple of numpy.ndarray or None
        Factors along each axis of a slice.
    sentence : str
        What was done and why.
    """
    kspace = read_stored(path, array, n_slices // 2)
    phases: list[np.ndarray | None] = []
    words = []
    for axis in (1, 2):
        place, certainty = _place_of_object(kspace, axis)
        is_moved = place > 0.25 if certainty > _CERTAIN else True
        size = kspace.shape[axis]
        phases.append(_half_shift(size) if is_moved else None)
        what = ("ky", "kz")[axis - 1]
        why = "there" if certainty > _CERTAIN else "usual for the set, the data do not tell"
        words.append(f"{what} by {'half its length' if is_moved else 'nothing'} ({why})")
    return (phases[0], phases[1]), (
        "images are moved to where the object lies in the middle: along " + ", along ".join(words)
    )


def _place_of_object(kspace: np.ndarray, axis: int) -> tuple[float, float]:
    """Return distance of the object from the middle, as a part of the axis, and how sure it is."""
    center = [slice(None)] * 3
    for a in (1, 2):
        kept = center_range(kspace.shape[a], min(_CENTER, kspace.shape[a]))
        center[a] = slice(kept.start, kept.stop)
    image = readout_to_image(readout_to_image(kspace[tuple(center)], 1), 2)
    profile = np.square(np.abs(image)).sum(axis=(0, 3 - axis))
    if not profile.any() or not np.isfinite(profile).all():
        return 0.5, 0.0
    size = len(profile)
    turns = np.exp(2j * np.pi * (np.arange(size) - size // 2) / size)
    mean = (profile * turns).sum() / profile.sum()
    return float(abs(np.angle(mean)) / (2 * np.pi)), float(abs(mean))


def _half_shift(size: int) -> np.ndarray:
    """Phases that move the image by size // 2 samples, for any parity."""
    steps = np.arange(size) - size // 2
    return np.exp(2j * np.pi * steps * (size // 2) / size).astype(np.complex64)
