"""Sensitivity maps from files: BART cfl (`bart ecalib`), or HDF5 as `--save-maps` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import Dataset, File, check_readable, is_hdf5, open_hdf5
from mri_alps.rawdata.bart.cfl import DIMENSIONS, bart_base, read_cfl

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace

_COIL, _SETS, _SLICE = 3, 4, 13
DATASET = "sensitivity_maps"


def read_sensitivity_maps(path: Path | str, raw: RawKSpace, index: int) -> np.ndarray:
    """Read the maps of one slice of a scan.

    Parameters
    ----------
    path : Path or str
        A BART array with the dimensions of the scan's k-space, as `bart ecalib` and `bart
        caldir` write it; or HDF5 with the dataset `sensitivity_maps`, complex (slices, coils,
        readout, phase_encode) or, of several sets, (slices, sets, coils, readout, phase_encode),
        and optionally `slices`, which slices of the scan these are.
    raw : RawKSpace
        The scan.
    index : int
        Slice of the scan.

    Returns
    -------
    np.ndarray
        complex64 (coil, readout, phase_encode), in the file's own normalisation; (set, coil,
        readout, phase_encode) where there are several sets.

    Raises
    ------
    InputFileError
        If the file cannot be read, or its maps do not fit the scan.
    """
    path = Path(path)
    if path.is_file():
        check_readable(path)
        if is_hdf5(path):
            return _from_hdf5(path, raw, index)
    if not path.is_dir() and bart_base(path) is not None:
        return _from_cfl(path, raw, index)
    check_readable(path)
    raise InputFileError(
        f"{path} is neither one of a BART .hdr/.cfl pair nor HDF5 with `{DATASET}`: make "
        "sensitivity maps with bart ecalib or mri-alps reconstruct --save-maps"
    )


def _from_cfl(path: Path, raw: RawKSpace, index: int) -> np.ndarray:
    array = read_cfl(path)
    dims = array.shape
    spatial, n_slices = dims[:3], dims[_SLICE]
    kept = (0, 1, 2, _COIL, _SETS, _SLICE)
    left = [axis for axis in range(array.ndim) if axis not in kept]
    if dims[_SETS] > raw.n_coils:
        left.append(_SETS)  # more sets of maps than coils are none
    if dims[_COIL] == raw.n_coils and all(dims[axis] == 1 for axis in left):
        selected = array.squeeze(axis=tuple(left))
        is_volume = raw.axes[1] == "partition" and raw.n_slices == spatial[0] * n_slices
        if is_volume and spatial[1:] == raw.shape:
            volume, position = divmod(index, spatial[0])
            return _sets_first(selected[position, ..., volume])
        flat = tuple(size for size in spatial if size > 1)
        if flat == raw.shape and n_slices == raw.n_slices:
            return _sets_first(selected[..., index].squeeze(axis=spatial.index(1)))
    others = [name for name, n in zip(DIMENSIONS, dims, strict=False) if n == raw.n_coils]
    moved = dims[_COIL] == 1 and raw.n_coils > 1 and len(others) > 0
    coils = f"{dims[_COIL]} coils"
    if moved:
        coils = f"1 coil (the scan's {raw.n_coils} may lie along {others[-1]} instead of COIL)"
    further = "".join(
        f", {dims[axis]} along {DIMENSIONS[axis] if axis < len(DIMENSIONS) else axis}"
        for axis in left
        if dims[axis] > 1
    )
    raise InputFileError(
        f"{path} has maps of READ x PHS1 x PHS2 = {spatial[0]} x {spatial[1]} x {spatial[2]}, "
        f"{coils} and {n_slices} slices{further}, and {raw.path} has {raw.n_slices} slices of "
        f"{raw.shape[0]} x {raw.shape[1]} with {raw.n_coils} coils: calibrate them on the same "
        "k-space (mri-alps convert writes it as BART array)"
    )


def _sets_first(maps: np.ndarray) -> np.ndarray:
    """From (readout, phase_encode, coil, set)."""
    sets = np.ascontiguousarray(np.moveaxis(maps, (-1, -2), (0, 1)), np.complex64)
    return sets[0] if len(sets) == 1 else sets


def _from_hdf5(path: Path, raw: RawKSpace, index: int) -> np.ndarray:
    with open_hdf5(path) as file:
        maps = file.get(DATASET)
        if not isinstance(maps, Dataset):
            raise InputFileError(
                f"{path} has no dataset `{DATASET}` (found: {', '.join(file) or 'nothing'}): make "
                "one with mri-alps reconstruct --save-maps"
            )
        expected = (raw.n_coils, *raw.shape)
        n_axes = len(maps.shape)
        if maps.dtype.kind != "c" or n_axes not in (4, 5) or maps.shape[-3:] != expected:
            raise InputFileError(
                f"{path}: `{DATASET}` is {maps.dtype} of shape {maps.shape}, {raw.path} needs "
                f"complex maps (slices, {', '.join(map(str, expected))}), or (slices, sets, coils, "
                f"readout, phase encode) of several sets{_where_coils_lie(maps.shape, expected)}"
            )
        row = row_of(file, index, len(maps), raw.n_slices)
        if row is None:
            raise InputFileError(
                f"{path} has no maps for slice {index} of {raw.path}: make them for all slices "
                "that are to be reconstructed"
            )
        if n_axes == 5 and not 1 <= maps.shape[1] <= raw.n_coils:
            raise InputFileError(
                f"{path}: `{DATASET}` has {maps.shape[1]} sets of maps where 1 to {raw.n_coils}, "
                "the number of coils, are possible: put its axes in the order (slices, sets, "
                "coils, readout, phase encode)"
            )
        found = np.asarray(maps[row], np.complex64)
        return found[0] if n_axes == 5 and len(found) == 1 else found


def _where_coils_lie(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    n_coils, wrong = expected[0], len(shape) >= 3 and shape[-3] != expected[0]
    axes = [axis for axis, size in enumerate(shape) if size == n_coils] if wrong else []
    return f"; the {n_coils} coils may lie along axis {axes[-1]}: move it" if axes else ""


def row_of(file: File, index: int, n_rows: int, n_slices: int) -> int | None:
    """Return where a slice of a scan stands in datasets of slices; None where it does not.

    Parameters
    ----------
    file : File
        Where `slices` lists which slices of the scan it has, it decides.
    index : int
        Slice of the scan.
    n_rows, n_slices : int
        Slices of the datasets and of the scan.
    """
    listed = file.get("slices")
    if not isinstance(listed, Dataset):
        return index if n_rows == n_slices else None
    if listed.shape != (n_rows,) or listed.dtype.kind not in "iu":
        return None
    found = np.flatnonzero(listed[()] == index)
    return int(found[0]) if len(found) else None
