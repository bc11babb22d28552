"""Samples of the lines of a twix file, channel by channel in one order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.heads import Heads
    from mri_alps.rawdata.ismrmrd.store import SampleReader


@dataclass(frozen=True)
class TwixAcquisitions:
    """The lines of a measurement, and the noise of others. Can be pickled, holds no open file.

    Parameters
    ----------
    path : Path
        The file.
    columns : Heads
        Headers of lines, numbered from 0.
    offsets : numpy.ndarray
        Where the first channel of each line begins, in bytes.
    header_bytes : int
        In front of the samples of every channel.
    order : numpy.ndarray
        int (lines, channels), the channels of the file in the order of their identifiers; -1
        beyond those of a line.
    group : str
        Which measurement.
    """

    path: Path
    columns: Heads
    offsets: np.ndarray
    header_bytes: int
    order: np.ndarray
    group: str

    def heads(self) -> Heads:
        """Return the headers."""
        return self.columns

    def opened_trajectories(self) -> contextlib.AbstractContextManager[SampleReader]:
        """Refuse: the lines of twix files have no trajectories."""
        raise InputFileError(
            f"{self.path} is Siemens raw data, which has no trajectories: convert it by "
            "siemens_to_ismrmrd with the trajectory of the sequence"
        )

    @contextlib.contextmanager
    def opened(self) -> Iterator[SampleReader]:
        """Open the file for reading samples."""
        try:
            with self.path.open("rb", buffering=0) as file:

                def read(start: int, count: int) -> Sequence[np.ndarray]:
                    return [self._samples(file.fileno(), i) for i in range(start, start + count)]

                yield read
        except OSError as error:
            raise InputFileError(
                f"{self.path} cannot be read ({error.strerror or error}): check the disk"
            ) from error

    def _samples(self, descriptor: int, line: int) -> np.ndarray:
        n_samples = int(self.columns.number_of_samples[line])
        n_channels = int(self.columns.active_channels[line])
        size = n_channels * (self.header_bytes + 8 * n_samples)
        data = os.pread(descriptor, size, int(self.offsets[line]))
        if len(data) < size:
            raise InputFileError(
                f"{self.path}: {len(data)} of {size} bytes of line {line} are left: the file was "
                "changed while it was read, open it again"
            )
        channels = np.frombuffer(data, np.uint8).reshape(n_channels, -1)[:, self.header_bytes :]
        ordered = np.ascontiguousarray(channels[self.order[line, :n_channels]])
        return ordered.view("<f4").astype(np.float32, copy=False).reshape(-1)
