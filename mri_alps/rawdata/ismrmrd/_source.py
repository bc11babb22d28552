"""Reads the lines of an ISMRMRD scan into slices: 2-D slices, or readout positions in 3-D."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.decoupling import BlockCache, readout_to_image
from mri_alps.rawdata.ismrmrd._lines import Grid, LineTable, read_lines

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore


@dataclass(frozen=True)
class SliceLines:
    """2-D slices as they were measured: lines are averaged on the grid."""

    store: AcquisitionStore
    grid: Grid
    imaging: LineTable
    calibration: LineTable | None
    n_coils: int

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex64 (coil, readout, phase_encode)."""
        return self._gridded(self.imaging, index)[0]

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return calibration lines, those that are imaging lines too included, and their mask."""
        if self.calibration is None or not (self.calibration.group == index).any():
            return None
        return self._gridded(self.calibration, index)

    def read_reference(self, index: int) -> None:
        """Return None: raw files hold no images that are used here."""
        return None

    def read_ground_truth(self, index: int) -> None:
        """Return None: raw files hold no truth."""
        return None

    def _gridded(self, table: LineTable, index: int) -> tuple[np.ndarray, np.ndarray]:
        grid = self.grid
        kspace = np.zeros((self.n_coils, grid.n_readout, grid.n_phase), np.complex64)
        count = np.zeros(kspace.shape[1:], np.int32)
        with self.store.opened() as read, np.errstate(over="ignore", invalid="ignore"):
            which = np.flatnonzero(table.group == index)
            for line, samples in read_lines(read, table, which, self.store.path):
                place = slice(table.column[line], table.column[line] + table.count[line])
                kspace[:, place, table.row[line]] += check_coils(
                    samples, self.n_coils, self.store.path
                )
                count[place, table.row[line]] += 1
        kspace /= np.maximum(count, 1)
        return kspace, count > 0


class VolumeLines:
    """Slabs of a 3-D scan: slice = slab * n_readout + readout position."""

    def __init__(
        self,
        store: AcquisitionStore,
        grid: Grid,
        imaging: LineTable,
        calibration: LineTable | None,
        n_coils: int,
        n_readout: int,
    ):
        self.store, self.grid = store, grid
        self.n_coils, self.n_readout = n_coils, n_readout
        self.imaging, self.calibration = imaging, calibration
        position_bytes = 8 * n_coils * grid.n_phase * grid.n_partitions
        self._imaging_cache = BlockCache(self._load_imaging, n_readout, position_bytes)
        self._calibration_cache = BlockCache(self._load_calibration, n_readout, position_bytes)

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex64 (coil, phase_encode, partition)."""
        return self._imaging_cache.read(index)

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return calibration lines, those that are imaging lines too included, and their mask."""
        table = self.calibration
        if table is None:
            return None
        which = table.group == index // self.n_readout
        if not which.any():
            return None
        mask = np.zeros((self.grid.n_phase, self.grid.n_partitions), bool)
        mask[table.row[which], table.partition[which]] = True
        return self._calibration_cache.read(index), mask

    def read_reference(self, index: int) -> None:
        """Return None: raw files hold no images that are used here."""
        return None

    def read_ground_truth(self, index: int) -> None:
        """Return None: raw files hold no truth."""
        return None

    def _load_imaging(self, volume: int, start: int, stop: int) -> np.ndarray:
        return self._load(self.imaging, volume, start, stop)

    def _load_calibration(self, volume: int, start: int, stop: int) -> np.ndarray:
        assert self.calibration is not None  # read_calibration has checked
        return self._load(self.calibration, volume, start, stop)

    def _load(self, table: LineTable, volume: int, start: int, stop: int) -> np.ndarray:
        grid = self.grid
        # positions last while lines come in: each line is then one contiguous write
        shape = (self.n_coils, grid.n_phase, grid.n_partitions, stop - start)
        block = np.zeros(shape, np.complex64)
        count = np.zeros(shape[1:3], np.int32)
        crop = center_range(grid.n_readout, self.n_readout).start
        full = np.zeros((self.n_coils, grid.n_readout), np.complex64)
        with self.store.opened() as read, np.errstate(over="ignore", invalid="ignore"):
            which = np.flatnonzero(table.group == volume)
            for line, samples in read_lines(read, table, which, self.store.path):
                full[:] = 0
                column = table.column[line]
                full[:, column : column + table.count[line]] = check_coils(
                    samples, self.n_coils, self.store.path
                )
                image = readout_to_image(full, -1)[:, crop + start : crop + stop]
                block[:, table.row[line], table.partition[line]] += image
                count[table.row[line], table.partition[line]] += 1
        block /= np.maximum(count, 1)[:, :, np.newaxis]
        return np.moveaxis(block, -1, 0)


def check_coils(samples: np.ndarray, n_coils: int, path: Path) -> np.ndarray:
    """Return `samples` if they have `n_coils` rows.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex, (coil, sample).
    n_coils : int
        What the headers say.
    path : pathlib.Path
        The file, for messages.

    Raises
    ------
    InputFileError
        If they have not: header and samples of an acquisition contradict each other.
    """
    if len(samples) != n_coils:
        raise InputFileError(
            f"{path}: an acquisition holds {len(samples)} coils where its header announces "
            f"{n_coils}: export the scan again"
        )
    return samples
