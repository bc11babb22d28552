"""Sensitivity maps from files: BART cfl (`bart ecalib`), or HDF5 as `--save-maps` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import Dataset, File, check_readable, is_hdf5, open_hdf5
from mri_alps.rawdata.bart.cfl import bart_base, read_cfl

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace

_COIL, _SLICE = 3, 13
DATASET = "sensitivity_maps"


def read_sensitivity_maps(path: Path | str, raw: RawKSpace, index: int) -> np.ndarray:
    """Read the maps of one slice of a scan.

    Parameters
    ----------
    path : Path or str
        A BART array with the dimensions of the scan's k-space, as `bart ecalib` and `bart
        caldir` write it (of several sets of maps the first is taken); or HDF5 with the dataset
        `sensitivity_maps`, complex (slices, coils, readout, phase_encode), and optionally
        `slices`, which slices of the scan these are.
    raw : RawKSpace
        The scan.
    index : int
        Slice of the scan.

    Returns
    -------
    np.ndarray
        complex64 (coil, readout, phase_encode), in the file's own normalisation.

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
    if dims[_COIL] == raw.n_coils:
        kept = (0, 1, 2, _COIL, _SLICE)
        selected = array[tuple(slice(None) if axis in kept else 0 for axis in range(array.ndim))]
        is_volume = raw.axes[1] == "partition" and raw.n_slices == spatial[0] * n_slices
        if is_volume and spatial[1:] == raw.shape:
            volume, position = divmod(index, spatial[0])
            return _coils_first(selected[position, :, :, :, volume])
        flat = tuple(size for size in spatial if size > 1)
        if flat == raw.shape and n_slices == raw.n_slices:
            return _coils_first(selected[..., index].squeeze(axis=spatial.index(1)))
    raise InputFileError(
        f"{path} has maps of READ x PHS1 x PHS2 = {spatial[0]} x {spatial[1]} x {spatial[2]}, "
        f"{dims[_COIL]} coils and {n_slices} slices, and {raw.path} has {raw.n_slices} slices of "
        f"{raw.shape[0]} x {raw.shape[1]} with {raw.n_coils} coils: calibrate them on the same "
        "k-space (mri-alps convert writes it as BART array)"
    )


def _coils_first(maps: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(maps, -1, 0), np.complex64)


def _from_hdf5(path: Path, raw: RawKSpace, index: int) -> np.ndarray:
    with open_hdf5(path) as file:
        maps = file.get(DATASET)
        if not isinstance(maps, Dataset):
            raise InputFileError(
                f"{path} has no dataset `{DATASET}` (found: {', '.join(file) or 'nothing'}): make "
                "one with mri-alps reconstruct --save-maps"
            )
        expected = (raw.n_coils, *raw.shape)
        if maps.dtype.kind != "c" or maps.shape[1:] != expected:
            raise InputFileError(
                f"{path}: `{DATASET}` is {maps.dtype} of shape {maps.shape}, {raw.path} needs "
                f"complex maps (slices, {', '.join(map(str, expected))})"
            )
        row = row_of(file, index, len(maps), raw.n_slices)
        if row is None:
            raise InputFileError(
                f"{path} has no maps for slice {index} of {raw.path}: make them for all slices "
                "that are to be reconstructed"
            )
        return np.asarray(maps[row], np.complex64)


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
