"""Opening an HDF5 file for reading, so that every failure is one clear sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from mri_alps.core.errors import InputFileError, MriAlpsError, damage_of
from mri_alps.core.hdf5.limits import MAX_HEADER_BYTES
from mri_alps.core.hdf5.objects import Dataset, File

# What h5py and numpy have been seen to raise on damaged files (see the fuzzing tests).
_DAMAGE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
)


def check_readable(path: Path) -> None:
    """Raise unless `path` is a file that can be read.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Raises
    ------
    InputFileError
        If it is missing, a directory, or not readable.
    """
    if path.is_dir():
        raise InputFileError(f"{path} is a directory: name the files inside it one by one")
    if not path.exists():
        raise InputFileError(f"{path} does not exist: check the spelling of the path")
    if not path.is_file():  # opening a pipe would wait for ever
        raise InputFileError(f"{path} is no regular file: name a file on a disk")
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        raise InputFileError(
            f"{path} cannot be read ({error.strerror or error}): check its permissions"
        ) from error


def is_hdf5(path: Path) -> bool:
    """Return whether `path` is a regular file that begins as HDF5 does.

    Parameters
    ----------
    path : pathlib.Path
        Anything, a pipe for example.
    """
    return path.is_file() and bool(h5py.is_hdf5(path))


@contextlib.contextmanager
def open_hdf5(path: Path | str) -> Iterator[File]:
    """Open an HDF5 file for reading; damage found now or while reading is an InputFileError.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.

    Raises
    ------
    InputFileError
        If the file is missing, unreadable, truncated or damaged, and when something in it is
        asked for that lies in another file or claims more memory than the file can hold.
    """
    path = Path(path)
    check_readable(path)
    if not is_hdf5(path):
        raise InputFileError(
            f"{path} cannot be read as HDF5: it is of another format, or damaged at its start"
        )
    try:
        with File(path, "r") as file:
            yield file
    except MriAlpsError:
        raise
    except _DAMAGE as error:
        raise InputFileError(
            f"{path} is truncated or damaged ({damage_of(error)}): copy or export it again"
        ) from error


def read_text(dataset: Dataset, limit: int = MAX_HEADER_BYTES) -> bytes | str | None:
    """Return the text that a dataset holds, the first if it holds several.

    Parameters
    ----------
    dataset : Dataset
        From an opened file.
    limit : int
        Largest number of bytes.

    Returns
    -------
    bytes, str or None
        None if it holds no text.

    Raises
    ------
    InputFileError
        If the text is longer than `limit`.
    """
    if dataset.shape is not None and 0 in dataset.shape:
        return None
    length = dataset.dtype.itemsize
    value = None
    if length <= limit:
        value = dataset[(0,) * dataset.ndim]
        value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size else value
        length = len(value) if isinstance(value, bytes | str) else 0
    if length > limit:
        raise InputFileError(
            f"{dataset.file.filename}: `{dataset.name}` holds {length / 2**20:.0f} MiB of text, at "
            f"most {limit // 2**20} are read: export the scan again"
        )
    return value if isinstance(value, bytes | str) else None
