"""Where on the grid each line of an ISMRMRD file belongs, and its samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.decoupling import readout_to_image
from mri_alps.rawdata.ismrmrd.flags import Flag
from mri_alps.rawdata.ismrmrd.heads import Heads, kept_samples

if TYPE_CHECKING:
    from mri_alps.rawdata.header import Encoding
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore, SampleReader

_CHUNK_LINES = 64


@dataclass(frozen=True)
class Grid:
    """Cartesian grid of a scan: x readout, y phase encode, z partition.

    Grid row = kspace_encode_step_1 + encoded.y // 2 - center of the encoding limits, the same
    for the partition; the sample `center_sample` lies on `center_column`.
    """

    n_readout: int
    n_phase: int
    n_partitions: int
    row_offset: int
    partition_offset: int
    center_column: int

    @classmethod
    def from_encoding(cls, encoding: Encoding, is_3d: bool) -> Grid:
        """Take sizes and offsets from the header; limits that are missing give no offset."""
        x, y, z = encoding.encoded_matrix

        def offset(counter: str, size: int) -> int:
            limit = encoding.limits.get(counter)
            return 0 if limit is None else size // 2 - limit.center

        return cls(
            n_readout=x,
            n_phase=y,
            n_partitions=z if is_3d else 1,
            row_offset=offset("kspace_encoding_step_1", y),
            partition_offset=offset("kspace_encoding_step_2", z) if is_3d else 0,
            center_column=x // 2,
        )


@dataclass(frozen=True)
class LineShift:
    """By what each line is delayed and turned, to be undone before it is gridded.

    Parameters
    ----------
    delay : numpy.ndarray
        Samples of the grid, float, one entry a line.
    phase : numpy.ndarray
        Radians in the middle of the field of view.
    n_readout : int
        Of the grid.
    """

    delay: np.ndarray
    phase: np.ndarray
    n_readout: int

    def undo(self, line: int, samples: np.ndarray, column: int) -> np.ndarray:
        """Return complex64 (coil, count) samples, which begin at a column, where they belong.

        Parameters
        ----------
        line : int
            Of the table.
        samples : numpy.ndarray
            Complex (coil, count).
        column : int
            Of the first sample.
        """
        n, count = self.n_readout, samples.shape[1]
        full = np.zeros((len(samples), n), np.complex64)
        full[:, column : column + count] = samples
        place = (np.arange(n) - n // 2) / n
        turn = np.exp(-1j * (self.phase[line] + 2 * np.pi * self.delay[line] * place))
        image = np.fft.ifftshift(readout_to_image(full, -1) * turn, axes=-1)
        kspace = np.fft.fftshift(np.fft.fft(image, axis=-1, norm="ortho"), axes=-1)
        return kspace[:, column : column + count].astype(np.complex64)


@dataclass(frozen=True)
class LineTable:
    """Where each line goes. Columns refer to lines in the order of increasing k.

    `reverse` lines are flipped first; then the samples [first, first + count) go to the columns
    [column, column + count) of (group, row, partition), after their `shift` was undone.
    """

    index: np.ndarray
    group: np.ndarray
    row: np.ndarray
    partition: np.ndarray
    reverse: np.ndarray
    first: np.ndarray
    count: np.ndarray
    column: np.ndarray
    n_samples: np.ndarray
    shift: LineShift | None = None

    def __len__(self) -> int:
        return len(self.index)


def place_lines(
    heads: Heads, group: np.ndarray, grid: Grid, path: Path, centers: np.ndarray
) -> tuple[LineTable, int]:
    """Place lines on the grid.

    Parameters
    ----------
    heads : Heads
        The lines.
    group : np.ndarray
        Slice (or slab) of each line, in the order of delivery.
    grid : Grid
        The grid.
    path : Path
        Named in errors.
    centers : np.ndarray
        Index of the k-space centre of each line in the order of increasing k; see
        `effective_centers`.

    Returns
    -------
    table : LineTable
        The places.
    n_dropped : int
        Samples beyond the edge of the grid, left out.

    Raises
    ------
    InputFileError
        If a line lies outside the grid or has more samples than it.
    """
    first, count = kept_samples(heads)
    if count.min() < 1 or count.max() > grid.n_readout:
        raise InputFileError(
            f"{path}: a line has {count.max() if count.min() > 0 else count.min()} samples after "
            f"discarding, the encoded matrix has {grid.n_readout} along the readout: correct the "
            "encoded matrix or the discard_pre and discard_post of the acquisitions"
        )
    column = grid.center_column - centers + first
    before = np.maximum(-column, 0)
    after = np.maximum(column + count - grid.n_readout, 0)
    kept = count - before - after
    if kept.min() < 1:
        raise InputFileError(
            f"{path}: a line with center_sample {int(centers[np.argmin(kept)])} lies wholly "
            f"outside a readout of {grid.n_readout}: correct center_sample or the encoded matrix"
        )
    row = _grid_index(heads.kspace_encode_step_1, grid.row_offset, grid.n_phase, 1, path)
    partition = np.zeros_like(row)
    step = heads.kspace_encode_step_2
    if grid.n_partitions > 1 or np.ptp(step) > 0:
        partition = _grid_index(step, grid.partition_offset, grid.n_partitions, 2, path)
    table = LineTable(
        index=heads.index,
        group=np.asarray(group),
        row=row,
        partition=partition,
        reverse=heads.has(Flag.IS_REVERSE),
        first=first + before,
        count=kept,
        column=column + before,
        n_samples=heads.number_of_samples,
    )
    return table, int((before + after).sum())


def _grid_index(step: np.ndarray, offset: int, size: int, axis: int, path: Path) -> np.ndarray:
    place = step + offset
    outside = (place < 0) | (place >= size)
    if outside.any():
        worst = int(step[outside][0])
        raise InputFileError(
            f"{path}: kspace_encode_step_{axis} {worst} falls on row {worst + offset} of a grid of "
            f"{size}: correct the encoded matrix or the centre of the encoding limits"
        )
    return place


def settle_center(heads: Heads, grid: Grid) -> tuple[Heads, Grid, list[str]]:
    """Deal with unset and off-by-one `center_sample` of full readouts.

    A zero in a full readout is an unset field. If all lines are full and off by the same one
    sample, the grid's centre is moved instead of losing a column: a linear phase over the image.

    Parameters
    ----------
    heads : Heads
        Of the imaging lines.
    grid : Grid
        Sizes and centre of k-space as the header has them.
    """
    notes = []
    _, count = kept_samples(heads)
    full = count == grid.n_readout
    unset = full & (heads.center_sample == 0)
    if unset.any() and grid.n_readout > 1:
        middle = heads.discard_pre + grid.n_readout // 2
        heads = replace(heads, center_sample=np.where(unset, middle, heads.center_sample))
        notes.append("center_sample is not set; the middle of the readout is taken")
    if not full.all() or heads.has(Flag.IS_REVERSE).any():
        return heads, grid, notes
    center = heads.center_sample - heads.discard_pre
    if np.ptp(center) == 0 and abs(center[0] - grid.center_column) == 1:
        grid = replace(grid, center_column=int(center[0]))
        notes.append(
            f"center_sample {center[0]} of full readouts is one off the middle; kept as it is, "
            "which is a linear phase over the image"
        )
    return heads, grid, notes


def effective_centers(
    heads: Heads, grid: Grid, store: AcquisitionStore
) -> tuple[np.ndarray, list[str]]:
    """Return the centre of each line in the order of increasing k.

    Of a reversed line, writers count `center_sample` either in the line as stored or in the
    flipped line. The reading that fits the grid is taken; where both fit and differ (asymmetric
    echoes), the one under which the echo lies at the centre, with the flipped line as default.

    Parameters
    ----------
    heads : Heads
        Of the imaging lines.
    grid : Grid
        Sizes and centre of k-space.
    store : AcquisitionStore
        Gives the samples of lines that have to be looked at.
    """
    flipped = heads.center_sample
    reverse = heads.has(Flag.IS_REVERSE)
    stored = np.where(reverse, heads.number_of_samples - 1 - flipped, flipped)
    if (stored == flipped).all():
        return flipped, []
    first, count = kept_samples(heads)

    def fits(centers: np.ndarray) -> bool:
        column = grid.center_column - centers + first
        return bool(((column >= 0) & (column + count <= grid.n_readout)).all())

    if fits(flipped) != fits(stored):
        chosen = "flipped" if fits(flipped) else "stored"
    else:
        chosen = _place_of_echo(heads, reverse, grid, store)
    note = f"center_sample of reversed lines is counted in the {chosen} line"
    return (flipped if chosen == "flipped" else stored), [note]


def _place_of_echo(heads: Heads, reverse: np.ndarray, grid: Grid, store: AcquisitionStore) -> str:
    lines = np.flatnonzero(reverse)
    distance = abs(heads.kspace_encode_step_1[lines] + grid.row_offset - grid.n_phase // 2)
    energy = np.zeros(2)
    with store.opened() as read:
        for line in np.sort(lines[np.argsort(distance, kind="stable")[:8]]):
            n_samples, center = int(heads.number_of_samples[line]), int(heads.center_sample[line])
            samples = read(int(heads.index[line]), 1)[0]
            line_samples = _as_complex(samples, n_samples, store.path).astype(np.complex128)
            profile = (abs(line_samples) ** 2).sum(axis=0)[::-1]
            for k, middle in enumerate((center, n_samples - 1 - center)):
                energy[k] += profile[max(middle - 2, 0) : middle + 3].sum()
    return "stored" if energy[1] > 4 * energy[0] else "flipped"


def has_empty_samples(store: AcquisitionStore, table: LineTable, grid: Grid) -> bool:
    """Return whether samples of the lines next to the centre are zero in all coils.

    Parameters
    ----------
    store : AcquisitionStore
        Gives the samples of at most eight lines.
    table : LineTable
        Where the lines belong.
    grid : Grid
        Sizes and centre of k-space.
    """
    away = np.hypot(table.row - grid.n_phase // 2, table.partition - grid.n_partitions // 2)
    which = np.argsort(away, kind="stable")[:8]
    with store.opened() as read:
        found = [
            (samples != 0).any(axis=0) for _, samples in read_lines(read, table, which, store.path)
        ]
    measured: np.ndarray = np.any(found, axis=0)
    return bool(measured.any() and not measured.all())


def read_lines(
    read: SampleReader, table: LineTable, which: np.ndarray, path: Path
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (line of the table, complex64 (coil, count) in the order of increasing k).

    In the order of the store, at most `_CHUNK_LINES` lines in memory.

    Parameters
    ----------
    read : callable
        Gives the samples of acquisitions.
    table : LineTable
        Where each line belongs.
    which : numpy.ndarray
        Int, the lines of the table that are wanted.
    path : pathlib.Path
        The file, for messages.
    """
    which = which[np.argsort(table.index[which], kind="stable")]
    index = table.index[which]
    breaks = np.flatnonzero(np.diff(index) != 1) + 1
    for run in np.split(np.arange(len(which)), breaks):
        for start in range(0, len(run), _CHUNK_LINES):
            part = run[start : start + _CHUNK_LINES]
            samples = read(int(index[part[0]]), len(part))
            for line, values in zip(which[part], samples, strict=True):
                kspace = _as_complex(values, int(table.n_samples[line]), path)
                if table.reverse[line]:
                    kspace = kspace[:, ::-1]
                first = table.first[line]
                kept = kspace[:, first : first + table.count[line]]
                if table.shift is not None:
                    kept = table.shift.undo(int(line), kept, int(table.column[line]))
                yield int(line), kept


def read_acquisition(read: SampleReader, index: int, n_samples: int, path: Path) -> np.ndarray:
    """Return the samples of one acquisition, complex64 (coil, sample), as they are stored.

    Parameters
    ----------
    read : callable
        Gives the samples of acquisitions.
    index : int
        Its number.
    n_samples : int
        What its header says.
    path : pathlib.Path
        The file, for messages.
    """
    return _as_complex(read(index, 1)[0], n_samples, path)


def _as_complex(values: np.ndarray, n_samples: int, path: Path) -> np.ndarray:
    if n_samples == 0 or values.size == 0 or values.size % (2 * n_samples):
        raise InputFileError(
            f"{path}: an acquisition holds {values.size} numbers where its header announces "
            f"{n_samples} complex samples a coil: export the scan again"
        )
    return np.ascontiguousarray(values, np.float32).view(np.complex64).reshape(-1, n_samples)
