"""Sampling masks from files: npy, npz, HDF5, BART cfl."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import IO

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError, ShapeError, damage_of
from mri_alps.core.hdf5 import Dataset, check_readable, is_hdf5, open_hdf5
from mri_alps.masks.kinds import as_boolean_mask

_MASK_NAME = re.compile(r"mask\d*")
"""CMRxRecon has them with the acceleration."""
_LARGEST_ENTRY = 16  # bytes: complex128
_LARGEST_HEADER = 4096  # bytes of .npy and .hdr files in front of, or about, the array


def load_mask(path: str | PathLike[str], shape: Sequence[int]) -> np.ndarray:
    """Read a sampling mask.

    Parameters
    ----------
    path : path-like
        A .npy file, a .npz or HDF5 file with an array `mask` (or, in a .npz, one single array;
        MATLAB's with -v7.3 are HDF5), or a BART pattern (.cfl or .hdr, or their common stem). The
        kind is found by content.
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
    except InputFileError:
        raise
    # numpy, zipfile and the decompressors behind it raise whatever damaged bytes lead them to.
    except Exception as error:
        raise InputFileError(
            f"{path}: found a file that cannot be read as a mask ({damage_of(error)}), expected "
            ".npy, .npz, HDF5 or BART .cfl"
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
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PK"):
        return _read_npz(path, limit)
    if magic != np.lib.format.MAGIC_PREFIX:
        raise ValueError("unknown content")
    with path.open("rb") as file:
        return _read_npy(file, path, limit)


def _read_hdf5(path: Path, limit: int) -> np.ndarray:
    with open_hdf5(path) as file:
        names = [name for name in file if _MASK_NAME.fullmatch(name)]
        name = "mask" if "mask" in names else names[0] if len(names) == 1 else ""
        dataset = file.get(name) if name else None
        if not isinstance(dataset, Dataset):
            raise InputFileError(
                f"{path}: found the datasets {', '.join(file) or 'none'}, expected one named mask"
            )
        _check_size(path, math.prod(dataset.shape), limit)
        array = np.asarray(dataset[()])
        return array.T if "MATLAB_class" in dataset.attrs else array  # columns first


def _read_npz(path: Path, limit: int) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        names = list(members)
        name = "mask" if "mask" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise InputFileError(
                f"{path}: found the arrays {', '.join(names[:10]) or 'none'}, expected one named "
                "mask"
            )
        with archive.open(members[name]) as file:
            return _read_npy(file, path, limit)


def _read_npy(file: IO[bytes], path: Path, limit: int) -> np.ndarray:
    """Read no more than the largest mask has, whatever is claimed or unpacked."""
    content = file.read(limit * _LARGEST_ENTRY + _LARGEST_HEADER + 1)
    _check_size(path, -((_LARGEST_HEADER - len(content)) // _LARGEST_ENTRY), limit)
    array = np.load(io.BytesIO(content), allow_pickle=False)
    _check_size(path, array.size, limit)
    return array


def _read_cfl(path: Path, header: Path, limit: int) -> np.ndarray:
    check_readable(header)
    with header.open("rb") as file:
        lines = file.read(_LARGEST_HEADER).decode("ascii").splitlines()
    dimensions = lines[lines.index("# Dimensions") + 1].split() if "# Dimensions" in lines else []
    sizes = tuple(int(text) for text in dimensions)
    if not sizes or any(size < 1 for size in sizes):
        raise InputFileError(
            f"{header}: found no valid line of dimensions, expected '# Dimensions' and a line of "
            "positive integers"
        )
    n_entries = math.prod(sizes)
    _check_size(path, n_entries, limit)
    check_readable(path)
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
