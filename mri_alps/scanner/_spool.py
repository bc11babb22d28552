"""Acquisitions of a scan that is still coming in: headers in memory, samples on disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype

from mri_alps.rawdata.ismrmrd import SpooledAcquisitions, heads_from_records

if TYPE_CHECKING:
    from mri_alps.scanner.protocol import ReceivedAcquisition

_FIRST_CAPACITY = 1024


class Spool:
    """Takes acquisitions as they come; memory is that of their headers.

    Use as a context manager: the file goes away with it.

    Parameters
    ----------
    path : Path
        What the scan is called in errors.
    directory : Path, optional
        Where the temporary file lies; the system's place for them if left out.
    """

    def __init__(self, path: Path, directory: Path | None = None):
        self.path = path
        self._count = 0
        self._end = 0
        self._heads = np.zeros(_FIRST_CAPACITY, acquisition_header_dtype)
        self._offsets = np.zeros(_FIRST_CAPACITY, np.int64)
        self._sizes = np.zeros(_FIRST_CAPACITY, np.int64)
        handle, name = tempfile.mkstemp(prefix="mri_alps_scan_", suffix=".tmp", dir=directory)
        self._file = Path(name)
        self._stream = os.fdopen(handle, "wb", buffering=2**20)

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def heads(self) -> np.ndarray:
        """Headers of what has come so far, structured as ISMRMRD has them."""
        return self._heads[: self._count]

    def add(self, acquisition: ReceivedAcquisition) -> int:
        """Take one acquisition and return its number."""
        size = acquisition.samples.nbytes
        if self._count == len(self._heads):
            self._grow()
        self._stream.write(acquisition.trajectory.data)
        self._stream.write(acquisition.samples.data)
        self._heads[self._count] = acquisition.head
        self._end += acquisition.trajectory.nbytes
        self._offsets[self._count], self._sizes[self._count] = self._end, size
        self._end += size
        self._count += 1
        return self._count - 1

    def view(self, which: np.ndarray) -> SpooledAcquisitions:
        """Return some acquisitions; what comes later does not change them.

        Parameters
        ----------
        which : np.ndarray
            Their numbers.
        """
        self._stream.flush()
        which = np.sort(np.asarray(which, np.int64))
        heads = heads_from_records(self._heads[which], np.arange(len(which)), self.path)
        return SpooledAcquisitions(
            self.path, self._file, heads, self._offsets[which], self._sizes[which]
        )

    def close(self) -> None:
        """Delete the file."""
        with contextlib.suppress(OSError):
            self._stream.close()
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _grow(self) -> None:
        for name in ("_heads", "_offsets", "_sizes"):
            old = getattr(self, name)
            new = np.zeros(2 * len(old), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
