"""How lines that were read in opposite directions differ, measured from a scan's lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.decoupling import readout_to_image
from mri_alps.rawdata.ghost import DirectedSlice
from mri_alps.rawdata.ismrmrd._lines import Grid, LineTable, read_lines
from mri_alps.rawdata.ismrmrd._navigators import (
    Difference,
    assign_trains,
    compare_directions,
    find_trains,
    fit_difference,
    settle_directions,
)
from mri_alps.rawdata.ismrmrd.heads import Heads

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore

_LINEAR = 0.8
"""Share of the signal that has to fit a delay and a phase for phase-correction lines to be such."""
_SHARED_ROWS = 4


@dataclass(frozen=True)
class DirectedLines:
    """Lines of a scan with their places.

    Parameters
    ----------
    heads : Heads
        Their headers.
    table : LineTable
        Where they belong.
    """

    heads: Heads
    table: LineTable


@dataclass
class Measured:
    """Differences between the directions, one for each train of phase-correction lines.

    Parameters
    ----------
    source : str
        What they were measured by; "" where nothing was.
    values : list of Difference
        One at least.
    navigators : Heads
        Phase-correction lines.
    trains : list of numpy.ndarray
        Which of them belong together; none where the values were measured otherwise.
    is_sure : bool
        Whether nothing had to be guessed.
    processing, warnings : list of str
        Sentences.
    """

    source: str = ""
    values: list[Difference] = field(default_factory=lambda: [Difference()])
    navigators: Heads = field(default_factory=Heads.none)
    trains: list[np.ndarray] = field(default_factory=list)
    is_sure: bool = False
    processing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def of_lines(self, heads: Heads) -> np.ndarray:
        """Return which of the values belongs to each line.

        Parameters
        ----------
        heads : Heads
            The lines.
        """
        if not self.trains:
            return np.zeros(len(heads), np.int64)
        return assign_trains(heads, self.navigators, self.trains)


def measure_navigators(
    store: AcquisitionStore,
    imaging: DirectedLines,
    calibration: DirectedLines | None,
    navigators: Heads,
    grid: Grid,
) -> Measured:
    """Measure by phase-correction lines, placed as the image's lines of the same direction are.

    Parameters
    ----------
    store : AcquisitionStore
        Gives samples.
    imaging : DirectedLines
        Lines of both directions.
    calibration : DirectedLines or None
        Calibration lines, which may have phase-correction lines of their own.
    navigators : Heads
        Phase-correction lines of the same coils.
    grid : Grid
        Sizes.
    """
    same = navigators.number_of_samples == np.median(imaging.table.n_samples)
    heads = navigators.take(same)
    trains = find_trains(heads)
    found = Measured(navigators=heads, trains=trains)
    if not same.all():
        found.warnings.append(
            f"{int((~same).sum())} phase-correction lines have other lengths than the image's "
            "lines and are left out"
        )
    if not trains:
        return found
    used = [lines.heads for lines in (imaging, calibration) if lines is not None]
    needed = np.unique(np.concatenate([found.of_lines(lines) for lines in used]))
    reference = _central_profile(store, imaging.table, grid)
    measured: dict[int, Difference] = {}
    in_threes, one_direction, notes = True, 0, []
    for number in needed:
        lines = heads.take(trains[number])
        images = _images(store, imaging.table, lines, np.zeros(len(lines), bool), grid)
        flips, is_reversed, note = settle_directions(images, lines, reference)
        images = _images(store, imaging.table, lines, flips, grid)
        product, threes = compare_directions(images, is_reversed)
        notes += [note] if note else []
        if not product.any():
            one_direction += 1
            continue
        in_threes = in_threes and threes
        measured[int(number)] = fit_difference(product)
    good = [number for number, value in measured.items() if value.linearity >= _LINEAR]
    found.warnings += list(dict.fromkeys(notes)) if good else []
    if not good:
        return _useless(found, measured)
    found.source = f"{len(heads)} phase-correction lines"
    # Of a slice without signal the lines tell nothing: those of the next one do.
    nearest = [min(good, key=lambda known: abs(known - number)) for number in range(len(trains))]
    found.values = [measured[number] for number in nearest]
    found.is_sure = in_threes and not notes and len(good) == len(needed)
    if not in_threes:
        found.processing.append(
            "phase-correction lines come in twos: the phase that grows off resonance between them "
            "is in what they measure"
        )
    if one_direction:
        found.warnings.append(
            f"{one_direction} of {len(needed)} trains of phase-correction lines were read in one "
            "direction, and others are taken for them"
        )
    slices = np.unique(imaging.heads.slice)
    n_without = int((~np.isin(slices, heads.slice)).sum())
    if n_without:
        found.warnings.append(
            f"{n_without} of {len(slices)} slices have no phase-correction lines; those of other "
            "slices are used"
        )
    return found


def _useless(found: Measured, measured: dict[int, Difference]) -> Measured:
    """Say why phase-correction lines say nothing, and forget them."""
    n_lines = len(found.navigators)
    if measured:
        best = max(value.linearity for value in measured.values())
        why = (
            "have a phase between the directions that is not linear over the readout "
            f"({best:.0%} of the signal fits a delay and a phase)"
        )
    else:
        why = "were read in one direction, and do not tell how the directions differ"
    found.warnings.append(f"the {n_lines} phase-correction lines {why}: they are left out")
    return Measured(processing=found.processing, warnings=found.warnings)


def measure_shared_lines(
    store: AcquisitionStore, table: LineTable, groups: list[int], grid: Grid
) -> Measured:
    """Measure where the same lines of the image were read in both directions.

    Parameters
    ----------
    store : AcquisitionStore
        Gives samples.
    table : LineTable
        Lines of the image.
    groups : list of int
        Slices that are looked at.
    grid : Grid
        Sizes.
    """
    product, n_rows = np.zeros(grid.n_readout, np.complex128), 0
    for group in groups:
        data = read_directions(store, table, group, grid)
        both = data.is_forward & data.is_backward
        n_rows += int(both.sum())
        forward, backward = (
            readout_to_image(part[..., both], 1) for part in (data.forward, data.backward)
        )
        product += (backward * forward.conj()).sum(axis=(0, 2))
    if n_rows < _SHARED_ROWS or not np.isfinite(product).all():
        return Measured()
    source = f"{n_rows} lines that were read in both directions"
    return Measured(source, [fit_difference(product)], is_sure=True)


def read_directions(
    store: AcquisitionStore, table: LineTable, group: int, grid: Grid
) -> DirectedSlice:
    """Read a slice, or the central partition of a slab, its directions apart.

    Parameters
    ----------
    store : AcquisitionStore
        Gives samples.
    table : LineTable
        Lines of the image.
    group : int
        The slice.
    grid : Grid
        Sizes.
    """
    partitions = np.unique(table.partition[table.group == group])
    central = partitions[abs(partitions - grid.n_partitions // 2).argmin()]
    which = np.flatnonzero((table.group == group) & (table.partition == central))
    pair, count = np.zeros(0, np.complex64), np.zeros((2, grid.n_phase), np.int64)
    with store.opened() as read:
        for line, samples in read_lines(read, table, which, store.path):
            if not pair.size:
                pair = np.zeros((2, len(samples), grid.n_readout, grid.n_phase), np.complex64)
            side, column = int(table.reverse[line]), table.column[line]
            pair[side, :, column : column + table.count[line], table.row[line]] += samples
            count[side, table.row[line]] += 1
    pair /= np.maximum(count, 1)[:, np.newaxis, np.newaxis]
    return DirectedSlice(pair[0], pair[1], count[0] > 0, count[1] > 0)


def _central_profile(store: AcquisitionStore, table: LineTable, grid: Grid) -> np.ndarray:
    """Magnitude of the line next to the centre, turned as flagged: float (coil, readout)."""
    away = abs(table.row - grid.n_phase // 2) + abs(table.partition - grid.n_partitions // 2)
    return abs(_read_images(store, table, np.array([int(away.argmin())]), grid)[0])


def _images(
    store: AcquisitionStore, table: LineTable, heads: Heads, flips: np.ndarray, grid: Grid
) -> np.ndarray:
    """Phase-correction lines in image space, complex (line, coil, readout)."""
    like = [int(np.flatnonzero(table.reverse == flip)[0]) for flip in flips]
    zero = np.zeros(len(heads), np.int64)
    first, count, column = table.first[like], table.count[like], table.column[like]
    places = LineTable(
        heads.index, zero, zero, zero, flips, first, count, column, heads.number_of_samples
    )
    return _read_images(store, places, np.arange(len(heads)), grid)


def _read_images(
    store: AcquisitionStore, table: LineTable, which: np.ndarray, grid: Grid
) -> np.ndarray:
    with store.opened() as read:
        lines = dict(read_lines(read, table, which, store.path))
    shape = (len(which), len(lines[int(which[0])]), grid.n_readout)
    full = np.zeros(shape, np.complex128)
    for place, line in enumerate(which):
        column = table.column[line]
        full[place, :, column : column + table.count[line]] = lines[int(line)]
    if not np.isfinite(full).all():
        raise InputFileError(
            f"{store.path}: phase-correction lines, or the central line, hold NaN or Inf: remove "
            "them, or export the scan again"
        )
    return readout_to_image(full, -1)
