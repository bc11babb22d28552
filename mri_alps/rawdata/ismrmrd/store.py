"""Where acquisitions lie: an HDF5 file, or anything else that hands them over by number.

Everything from headers to slices works on this interface, so that a scan that comes in over the
network takes the same road as a file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import Dataset, open_hdf5
from mri_alps.rawdata.ismrmrd.heads import Heads, read_heads


class SampleReader(Protocol):
    """Hands over the samples of consecutive acquisitions."""

    def __call__(self, start: int, count: int) -> Sequence[np.ndarray]:
        """Return one float32 array per acquisition: (coil, sample, real and imaginary), flat."""


class AcquisitionStore(Protocol):
    """Headers and samples of a list of acquisitions; can be pickled, holds no open file.

    Attributes
    ----------
    path : Path
        Named in errors.
    group : str
        Which measurement of the file.
    """

    @property
    def path(self) -> Path:
        """Named in errors."""

    @property
    def group(self) -> str:
        """Which measurement of the file."""

    def heads(self) -> Heads:
        """Return the acquisition headers; `Heads.index` is what `SampleReader` counts."""

    def opened(self) -> contextlib.AbstractContextManager[SampleReader]:
        """Open for reading samples."""

    def opened_trajectories(self) -> contextlib.AbstractContextManager[SampleReader]:
        """Open for reading trajectories: float32 (sample, dimension), flat."""


@dataclass(frozen=True)
class Hdf5Acquisitions:
    """The acquisitions of an ISMRMRD file.

    Parameters
    ----------
    path : Path
        The file.
    group : str
        The HDF5 group that holds `data` and `xml`.
    """

    path: Path
    group: str

    def heads(self) -> Heads:
        """Read all acquisition headers."""
        with open_hdf5(self.path) as file:
            return read_heads(file[self.group]["data"], self.path)

    def opened(self) -> contextlib.AbstractContextManager[SampleReader]:
        """Open the file; errors while it is open are InputFileErrors that name it."""
        return self._opened("data")

    def opened_trajectories(self) -> contextlib.AbstractContextManager[SampleReader]:
        """Open the file for reading trajectories."""
        return self._opened("traj")

    @contextlib.contextmanager
    def _opened(self, field: str) -> Iterator[SampleReader]:
        with open_hdf5(self.path) as file:
            data: Dataset = file[self.group]["data"]
            if field not in (data.dtype.names or ()):
                raise InputFileError(
                    f"{self.path}: the acquisitions lack `{field}`: convert the scan with an "
                    "ISMRMRD converter"
                )

            def read(start: int, count: int) -> Sequence[np.ndarray]:
                return data.fields(field)[start : start + count].reshape(-1)

            yield read


@dataclass(frozen=True)
class SpooledAcquisitions:
    """Acquisitions whose samples lie in a file of no format, wherever each one begins.

    The trajectory of each lies right before its samples, as in an MRD stream. Can be pickled, so
    that another process may read them.

    Parameters
    ----------
    path : Path
        What the scan is called in errors.
    file : str
        The spool's file.
    columns : Heads
        Their headers, numbered from 0.
    offsets, sizes : np.ndarray
        Place in the file of each one's samples, in bytes.
    group : str
        Stands for the group of a file.
    """

    path: Path
    file: Path
    columns: Heads
    offsets: np.ndarray
    sizes: np.ndarray
    group: str = "stream"

    def heads(self) -> Heads:
        """Return the acquisition headers."""
        return self.columns

    def opened(self) -> contextlib.AbstractContextManager[SampleReader]:
        """Open the file for reading."""
        return self._opened(self.offsets, self.sizes)

    def opened_trajectories(self) -> contextlib.AbstractContextManager[SampleReader]:
        """Open the file for reading trajectories."""
        heads = self.columns
        sizes = 4 * heads.number_of_samples * heads.trajectory_dimensions
        return self._opened(self.offsets - sizes, sizes)

    @contextlib.contextmanager
    def _opened(self, offsets: np.ndarray, sizes: np.ndarray) -> Iterator[SampleReader]:
        try:
            with self.file.open("rb", buffering=0) as stream:

                def read(start: int, count: int) -> Sequence[np.ndarray]:
                    numbers = range(start, start + count)
                    return [
                        self._floats(stream.fileno(), int(offsets[i]), int(sizes[i]), i)
                        for i in numbers
                    ]

                yield read
        except OSError as error:
            raise InputFileError(
                f"{self.path}: the samples cannot be read back ({error}): check the disk that "
                f"holds {self.file}"
            ) from error

    def _floats(self, descriptor: int, offset: int, size: int, index: int) -> np.ndarray:
        data = os.pread(descriptor, size, offset)
        if len(data) < size:
            raise InputFileError(
                f"{self.path}: {len(data)} of {size} bytes of acquisition {index} are left: the "
                "file was changed while it was read, open it again"
            )
        return np.frombuffer(data, np.float32)
