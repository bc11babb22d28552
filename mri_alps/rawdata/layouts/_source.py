"""Slices of an array whose axes have any meaning: where each lies, and how numbers are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mri_alps.core.hdf5 import open_hdf5
from mri_alps.rawdata.kspace_center import as_complex


@dataclass(frozen=True)
class StoredArray:
    """What each axis of a dataset is.

    Parameters
    ----------
    name : str
        The dataset.
    slice_axis : int
        Slices.
    coil_axis : int or None
        Coils; None for a single one.
    image_axes : tuple of int
        The axes of a slice, the first and the second.
    fixed : tuple of (int, int)
        Axes of which one entry is read, and which.
    is_paired : bool
        Real and imaginary parts alternate along the coils.
    """

    name: str
    slice_axis: int
    coil_axis: int | None
    image_axes: tuple[int, int]
    fixed: tuple[tuple[int, int], ...] = ()
    is_paired: bool = False


@dataclass(frozen=True)
class StoredSource:
    """Reads one slice at a time; opens the file for each.

    Parameters
    ----------
    path : Path
        The file.
    array : StoredArray
        The k-space.
    phases : tuple of numpy.ndarray or None
        Factors along each axis of a slice that k-space is multiplied by; None for 1.
    image : StoredArray or None
        The set's own images, of which magnitudes are handed out.
    """

    path: Path
    array: StoredArray
    phases: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    image: StoredArray | None = None

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex (coil, first axis, second axis)."""
        kspace = read_stored(self.path, self.array, index)
        for axis, factors in enumerate(self.phases):
            if factors is not None:
                kspace = kspace * (factors[:, np.newaxis] if axis == 0 else factors)
        return kspace

    def read_calibration(self, _index: int) -> None:
        """Return None: these sets have no calibration lines apart."""
        return None

    def read_reference(self, index: int) -> np.ndarray | None:
        """Return the magnitude of the set's own image."""
        if self.image is None:
            return None
        return np.abs(read_stored(self.path, self.image, index)[0])

    def read_ground_truth(self, _index: int) -> None:
        """Return None: these are measurements."""
        return None


def read_stored(path: Path, array: StoredArray, index: int) -> np.ndarray:
    """Read a slice.

    Parameters
    ----------
    path : Path
        The file.
    array : StoredArray
        Where it lies.
    index : int
        Slice.

    Returns
    -------
    numpy.ndarray
        Complex (coil, first axis, second axis).
    """
    places = {array.slice_axis: index, **dict(array.fixed)}
    with open_hdf5(path) as file:
        dataset = file[array.name]
        block = dataset[tuple(places.get(axis, slice(None)) for axis in range(dataset.ndim))]
    left = [axis for axis in range(len(places) + block.ndim) if axis not in places]
    wanted = [axis for axis in (array.coil_axis, *array.image_axes) if axis is not None]
    block = block.transpose([left.index(axis) for axis in wanted])
    if array.is_paired:
        block = block[0::2] + 1j * block[1::2]
    block = as_complex(block)
    return block if array.coil_axis is not None else block[np.newaxis]
