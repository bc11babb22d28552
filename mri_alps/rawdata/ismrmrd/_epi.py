"""Lines that were read in opposite directions, as EPI's are, brought together before gridding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.ghost import GAINED, Judgement, ghost_of, judge_directions
from mri_alps.rawdata.ismrmrd._directions import (
    DirectedLines,
    Measured,
    measure_navigators,
    measure_shared_lines,
    read_directions,
)
from mri_alps.rawdata.ismrmrd._lines import Grid, LineShift, LineTable

if TYPE_CHECKING:
    from pathlib import Path

    from mri_alps.rawdata.header import Encoding
    from mri_alps.rawdata.ismrmrd._navigators import Difference
    from mri_alps.rawdata.ismrmrd.heads import Heads
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore

VISIBLE = 0.01
"""Ghost over image below which nothing is corrected without phase-correction lines."""
_WRONG = 0.02
"""The same, left by phase-correction lines, above which the image's own lines are believed."""
_SLICES = 3
"""Slices that are looked at where phase-correction lines leave something open."""
_SMALLEST_ERROR = 0.001


@dataclass
class Correction:
    """Shifts of lines, and what is to be said of them.

    Parameters
    ----------
    imaging, calibration : LineTable
        With their shifts.
    processing, warnings : list of str
        Sentences.
    provenance : dict
        json-able.
    """

    imaging: LineTable
    calibration: LineTable | None
    processing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)


def refuse_ramps(encoding: Encoding, path: Path) -> None:
    """Refuse lines that were sampled while the gradient was still rising or falling.

    Parameters
    ----------
    encoding : Encoding
        Its trajectory description is that of Gadgetron and of the converters: `rampUpTime`,
        `flatTopTime`, `acqDelayTime` and `dwellTime` in microseconds, `numSamples`.
    path : pathlib.Path
        The file, for the message.

    Raises
    ------
    InputFileError
        If they were: their samples are not equally spaced.
    """
    told = encoding.trajectory_parameters
    names = ("rampUpTime", "flatTopTime", "acqDelayTime", "dwellTime", "numSamples")
    if not all(name in told for name in names):
        return
    rise, flat, delay, dwell, count = (told[name] for name in names)
    end = delay + dwell * count
    if delay >= rise - dwell and end <= rise + flat + dwell:
        return
    raise InputFileError(
        f"{path}: EPI with ramp sampling: its trajectory description has samples from {delay:g} to "
        f"{end:g} us after the gradient began to rise, which is constant from {rise:g} to "
        f"{rise + flat:g} us only, so that samples are not equally spaced: regrid the lines, for "
        "example by Gadgetron, and send them with a Cartesian trajectory"
    )


def bring_together(
    store: AcquisitionStore,
    imaging: DirectedLines,
    calibration: DirectedLines | None,
    navigators: Heads,
    grid: Grid,
    noise: np.ndarray | None,
) -> Correction:
    """Measure delay and phase between the directions, and shift each line by half of them.

    Phase-correction lines measure them; the lines of the image are asked whether they agree, and
    are all there is where phase-correction lines are missing.

    Parameters
    ----------
    store : AcquisitionStore
        Gives samples.
    imaging, calibration : DirectedLines
        The lines to be corrected.
    navigators : Heads
        Phase-correction lines of the same coils.
    grid : Grid
        Sizes.
    noise : numpy.ndarray or None
        Covariance of the noise, per real component.
    """
    table = imaging.table
    found = Correction(table, None if calibration is None else calibration.table)
    if table.reverse.all() or not table.reverse.any():
        if len(navigators):
            found.warnings.append(
                f"{len(navigators)} phase-correction lines are left out: all lines of the image "
                "were read in one direction by their flags; if a converter turned some of them "
                "round and took the flag away, a ghost half a field of view away remains"
            )
        return found
    groups = _mixed_groups(table)
    measured = measure_navigators(store, imaging, calibration, navigators, grid)
    if not measured.source:
        shared = measure_shared_lines(store, table, groups[:_SLICES], grid)
        shared.processing, shared.warnings = measured.processing, measured.warnings
        measured = shared
    chosen = measured.of_lines(imaging.heads)
    rest: Judgement | None = None
    doubts: list[str] = []
    if measured.trains or not measured.source:  # else the lines of the image have spoken
        tried = replace(table, shift=_shift(table, measured.values, chosen, grid))
        variance = None if noise is None else 2 * float(np.mean(np.diag(noise).real))
        groups = groups[: 1 if measured.is_sure else _SLICES]
        rest, doubts = _judge(store, tried, groups, grid, variance, measured)
    _tell(found, [measured.values[number] for number in np.unique(chosen)], rest, measured)
    found.warnings += doubts
    values = measured.values
    if rest is not None:
        values = [
            replace(each, delay=each.delay + rest.delay, phase=each.phase + rest.phase)
            for each in values
        ]
    if any(each.delay or each.phase for each in values):
        found.imaging = replace(table, shift=_shift(table, values, chosen, grid))
        if calibration is not None:
            chosen, table = measured.of_lines(calibration.heads), calibration.table
            found.calibration = replace(table, shift=_shift(table, values, chosen, grid))
    return found


def _mixed_groups(table: LineTable) -> list[int]:
    """Slices that have lines of both directions, nearest to the middle first."""
    groups = [
        int(group)
        for group in np.unique(table.group)
        if len(np.unique(table.reverse[table.group == group])) == 2
    ]
    middle = len(groups) // 2
    return [groups[place] for place in sorted(range(len(groups)), key=lambda p: abs(p - middle))]


def _shift(table: LineTable, values: list[Difference], chosen: np.ndarray, grid: Grid) -> LineShift:
    """Half of the difference for reversed lines, and the opposite for forward ones."""
    half = np.where(table.reverse, 0.5, -0.5)
    delays = np.array([each.delay for each in values])[chosen]
    phases = np.array([each.phase for each in values])[chosen]
    return LineShift(half * delays, half * phases, grid.n_readout)


def _judge(
    store: AcquisitionStore,
    table: LineTable,
    groups: list[int],
    grid: Grid,
    variance: float | None,
    measured: Measured,
) -> tuple[Judgement | None, list[str]]:
    """Return what the lines of the image say is left, if it is to be corrected, and doubts."""
    slices = [read_directions(store, table, group, grid) for group in groups]
    slices = [each for each in slices if np.isfinite(each.forward + each.backward).all()]
    rest = judge_directions(slices, variance)
    if not rest.is_certain:
        if measured.is_sure:
            return None, []
        what = (
            "what they measure is right"
            if measured.source
            else "they fit each other, and there may be a ghost half a field of view away"
        )
        return None, [
            "lines were read in opposite directions, "
            + ("" if measured.source else "without phase-correction lines that tell how, ")
            + f"and the data do not tell whether {what}"
        ]
    seen = ghost_of(rest.delay, rest.phase, grid.n_readout)
    if rest.gain < GAINED or seen < (_WRONG if measured.source else VISIBLE):
        return None, []
    if measured.source or rest.is_sure_of_sign:
        return rest, []
    return rest, [
        "that the phase between them is not half a turn more, which moves the image by half a "
        "field of view, is taken for granted"
    ]


def _tell(
    found: Correction, used: list[Difference], rest: Judgement | None, measured: Measured
) -> None:
    """Say what was measured, by what, and what is done with it."""
    found.processing += measured.processing
    found.warnings += measured.warnings
    delays, phases = [each.delay for each in used], [each.phase for each in used]
    errors = [max(each.errors[place] for each in used) for place in (0, 1)]
    found.provenance.update(
        source=measured.source or "the lines of the image",
        delay=delays,
        phase=phases,
        errors=errors,
        left=None if rest is None else [rest.delay, rest.phase],
    )
    if measured.source:
        to = [f"(to {max(error, _SMALLEST_ERROR):.1g})" for error in errors]
        found.processing.append(
            f"lines read in opposite directions are brought together by {measured.source}: a "
            f"delay of {_range(delays)} samples {to[0]} and a phase of {_range(phases)} rad "
            f"{to[1]} between reversed and forward lines"
        )
    if rest is not None:
        sentence = f"a delay of {rest.delay:.2f} samples and a phase of {rest.phase:.2f} rad"
        found.warnings.append(
            f"the lines of the image still differ by {sentence} after that, and are corrected by it"
            if measured.source
            else "lines were read in opposite directions, without phase-correction lines that tell "
            f"how they differ: {sentence} were found in the lines of the image, and are corrected"
        )
    elif not measured.source:
        found.processing.append(
            "lines were read in opposite directions, without phase-correction lines; nothing is "
            "corrected between them"
        )


def _range(values: list[float]) -> str:
    texts = list(dict.fromkeys(f"{value:.2f}" for value in (min(values), max(values))))
    return " to ".join(texts)
