"""Keeps a scan as an ISMRMRD file while it comes in, before any work on it."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype

from mri_alps.errors import InputFileError
from mri_alps.rawdata.ismrmrd_writer import write_xml
from mri_alps.scanner.protocol import ReceivedAcquisition

INCOMPLETE = "_incomplete"
_MAX_PENDING = 32
_numbers = count(1)


class RawSaver:
    """Writes one scan.

    The file is called ``..._incomplete.h5`` until `finish`, and can be read at any time after
    `flush`, even if the process is killed.

    Parameters
    ----------
    directory : Path
        Where it goes; created if needed.
    name : str
        Of the file, without the extension.

    Raises
    ------
    InputFileError
        If it cannot be written.
    """

    def __init__(self, directory: Path, name: str):
        self.directory, self.name = directory, name
        self._pending: list[ReceivedAcquisition] = []
        self._size = 0
        with self._errors():
            directory.mkdir(parents=True, exist_ok=True)
            self.path = directory / f"{name}{INCOMPLETE}.h5"
            self._file = h5py.File(self.path, "x")
            self._group = self._file.create_group("dataset")
            self._data = self._group.create_dataset(
                "data", (0,), acquisition_dtype, maxshape=(None,), chunks=(_MAX_PENDING,)
            )
            self._file.flush()

    def write_header(self, header: bytes) -> None:
        """Write the XML header as it came."""
        with self._errors():
            write_xml(self._group, header)
            self._file.flush()

    def write_configuration(self, text: str) -> None:
        """Write a configuration text; a later one replaces it."""
        with self._errors():
            if "config" in self._group:
                del self._group["config"]
            if text:
                self._group["config"] = text

    def add(self, acquisition: ReceivedAcquisition) -> None:
        """Take one acquisition; it is in the file after the next `flush`, 32 at the latest."""
        self._pending.append(acquisition)
        if len(self._pending) >= _MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Bring everything to the disk.

        Raises
        ------
        InputFileError
            If that fails.
        """
        if not self._pending:
            return
        rows = np.empty(len(self._pending), acquisition_dtype)
        for row, acquisition in zip(rows, self._pending, strict=True):
            row["head"] = acquisition.head
            row["traj"] = acquisition.trajectory
            row["data"] = acquisition.samples
        with self._errors():
            start = self._size
            self._data.resize((start + len(rows),))
            self._data[start:] = rows
            self._file.flush()
        self._size += len(rows)
        self._pending.clear()

    def finish(self, is_complete: bool) -> Path | None:
        """Close the file and return its name; a complete one loses ``_incomplete``.

        A file without a single acquisition is deleted, and None returned.
        """
        try:
            self.flush()
        finally:
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self._file.close()
        if self._size == 0:
            self.path.unlink(missing_ok=True)
            return None
        if is_complete:
            with self._errors():
                target = self.directory / f"{self.name}.h5"
                os.replace(self.path, target)
                self.path = target
        return self.path

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            raise InputFileError(
                f"the scan cannot be saved in {self.directory} ({error}): check the space left and "
                "the permissions of the folder named by --save-raw"
            ) from error


def scan_name(protocol: str = "") -> str:
    """Return a name for a scan that no other has in this folder: time, protocol, number.

    Parameters
    ----------
    protocol : str
        Anything; what does not belong in a file name is left out.
    """
    protocol = re.sub(r"[^A-Za-z0-9-]+", "_", protocol).strip("_")[:40] or "scan"
    stamp = time.strftime("%Y%m%d_%H%M%S")
    return f"{stamp}_{protocol}_{os.getpid()}_{next(_numbers)}"
