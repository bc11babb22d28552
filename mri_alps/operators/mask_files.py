"""Sampling masks from files: npy, npz, HDF5, BART cfl."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from mri_alps.errors import ConfigurationError, InputFileError, ShapeError
from mri_alps.hdf5 import Dataset, is_hdf5, open_hdf5
from mri_alps.operators.masks import as_boolean_mask

_LARGEST_ENTRY = 16  # bytes: complex128


def load_mask(path: str | PathLike[str], shape: Sequence[int]) -> np.ndarray:
    """Read a sampling mask.

    Parameters
    ----------
    path : path-like
        A .npy file, a .npz or HDF5 file with an array `mask` (or, in a .npz, one single array),
        or a BART pattern (.cfl or .hdr, or their common stem). The kind is found by content.
    shape : sequence of int
        K-space matrix (H, W) that the mask is for.

    Returns
    -------
    numpy.ndarray
        bool, (1, W) for lines along the last axis or (H, W).

    Raises
    ------
    InputFileError
        If the file cannot be read, or its mask does not fit `shape`, has values other than 0
        and 1, or measures nothing.
    """
    path = Path(path)
    height, width = (int(n) for n in shape)
    try:
        array = _read(path, limit=height * width)
        return as_boolean_mask(array, (height, width), str(path))
    except (ShapeError, ConfigurationError) as error:
        raise InputFileError(str(error)) from error
    except (OSError, ValueError, MemoryError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputFileError(
            f"{path}: found a file that cannot be read as a mask ({error}), expected .npy, .npz, "
            "HDF5 or BART .cfl"
        ) from error


def _read(path: Path, limit: int) -> np.ndarray:
    header = path.with_suffix(".hdr")
    if path.suffix in (".cfl", ".hdr") or (not path.exists() and header.exists()):
        return _read_cfl(path.with_suffix(".cfl"), header, limit)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputFileError(f"{path}: found {found}, expected a mask file; check the path")
    if is_hdf5(path):
        return _read_hdf5(path, limit)
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PK"):
        return _read_npz(path, limit)
    if magic != np.lib.format.MAGIC_PREFIX:
        raise ValueError("unknown content")
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    _check_size(path, array.size, limit)
    return np.array(array)


def _read_hdf5(path: Path, limit: int) -> np.ndarray:
    with open_hdf5(path) as file:
        dataset = file.get("mask")
        if not isinstance(dataset, Dataset):
            raise InputFileError(
                f"{path}: found the datasets {', '.join(file) or 'none'}, expected one named mask"
            )
        _check_size(path, math.prod(dataset.shape), limit)
        return np.asarray(dataset[()])


def _read_npz(path: Path, limit: int) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
    name = "mask" if "mask" in names else names[0] if len(names) == 1 else None
    if name is None:
        raise InputFileError(
            f"{path}: found the arrays {', '.join(names) or 'none'}, expected one named mask"
        )
    # What a zip claims about its sizes is checked before anything is unpacked.
    _check_size(path, (sizes[name] - 4096) // _LARGEST_ENTRY, limit)
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]


def _read_cfl(path: Path, header: Path, limit: int) -> np.ndarray:
    lines = header.read_text(encoding="ascii").splitlines()
    dimensions = lines[lines.index("# Dimensions") + 1].split() if "# Dimensions" in lines else []
    sizes = tuple(int(text) for text in dimensions)
    if not sizes or any(size < 1 for size in sizes):
        raise InputFileError(
            f"{header}: found no valid line of dimensions, expected '# Dimensions' and a line of "
            "positive integers"
        )
    n_entries = math.prod(sizes)
    _check_size(path, n_entries, limit)
    found = path.stat().st_size
    if found != 8 * n_entries:
        raise InputFileError(
            f"{path}: found {found} bytes, expected {8 * n_entries} for the dimensions "
            f"{' '.join(dimensions)}; the file is truncated or belongs to another header"
        )
    array = np.fromfile(path, dtype="<c8").reshape(sizes, order="F")
    # READ, PHS1, PHS2: the undersampled axes are the last two that are not of length one.
    squeezed = [size for size in sizes if size > 1]
    return array.reshape(squeezed or [1], order="F")


def _check_size(path: Path, n_entries: int, limit: int) -> None:
    if n_entries > limit:
        raise InputFileError(
            f"{path}: found {n_entries} entries, expected at most the {limit} of the k-space "
            "matrix; a mask has no coil or slice axis"
        )
