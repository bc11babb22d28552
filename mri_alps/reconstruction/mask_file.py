"""A sampling mask that the user supplies as a file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from mri_alps.errors import InputFileError

_FORMATS = ".npy, .txt (rows of 0 and 1), or HDF5 with a dataset 'mask'"


def load_mask_file(path: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """Read a sampling mask.

    Parameters
    ----------
    path : str or pathlib.Path
        A .npy file, a text file of zeros and ones, or HDF5 with a dataset ``mask``.
    shape : tuple of int
        (readout, phase_encode) of the k-space that it is for.

    Returns
    -------
    numpy.ndarray
        Bool, (phase_encode,) or (readout, phase_encode), True where a point is kept.

    Raises
    ------
    InputFileError
        If the file is no such mask or does not fit `shape`.
    """
    path = Path(path)
    values = _read(path)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputFileError(f"{path} must hold only 0 and 1 to be a sampling mask")
    mask = values.astype(bool)
    while mask.ndim > 1 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.shape not in (shape[1:], shape):
        raise InputFileError(
            f"{path} holds a mask of shape {mask.shape} and the scan needs ({shape[1]},) for "
            f"lines or {shape} for points: make a mask for this scan"
        )
    if not mask.any():
        raise InputFileError(f"{path} holds a mask that keeps no point at all: make another")
    return mask


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return file["mask"][()]
        return np.loadtxt(path, ndmin=1)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputFileError(
            f"{path} cannot be read as a sampling mask ({error}): expected {_FORMATS}"
        ) from error
