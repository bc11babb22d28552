"""Which lines make an image, and when all of them are there."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import ismrmrd
import numpy as np

from mri_alps.rawdata.ismrmrd import COUNTERS, NOT_IMAGING

if TYPE_CHECKING:
    from mri_alps.rawdata import Encoding, Header


class Unit(NamedTuple):
    """What one image (of a 3-D scan: one volume) is made of, by the encoding counters."""

    slice: int
    repetition: int
    contrast: int
    phase: int
    set: int

    def __str__(self) -> str:
        others = [f"{name} {getattr(self, name)}" for name in COUNTERS if getattr(self, name) != 0]
        return ", ".join([f"slice {self.slice}", *others])


@dataclass
class UnitLines:
    """Lines of a unit that have come so far."""

    numbers: list[int] = field(default_factory=list)
    rows: set[tuple[int, int]] = field(default_factory=set)
    is_flagged: bool = False


class UnitTracker:
    """Sorts acquisitions into units and tells, once for each, when a unit is complete.

    A unit is complete with the line that carries ACQ_LAST_IN_SLICE (of the last average), or
    once every phase encode of the header's limits has come in every average, or at the end of
    the measurement. 3-D scans, and scans whose repetitions calibrate each other, are complete
    at the end only.

    Parameters
    ----------
    header : Header
        The XML header.
    encoding : Encoding
        Its encoding space that is reconstructed.
    n_units : int
        Lines of units beyond so many are left out.
    index : int
        Number of that encoding space.

    Attributes
    ----------
    n_left_out : int
        Lines of units beyond `n_units`.
    """

    def __init__(self, header: Header, encoding: Encoding, n_units: int, index: int = 0):
        self._index, self._n_units = index, n_units
        self.is_3d = encoding.encoded_matrix[2] > 1
        mode = str(header.parameters.get("calibration_mode", "")).lower()
        self.is_interleaved = mode == "interleaved"
        self._last_average, self._n_expected = _expectations(encoding)
        self.units: dict[Unit, UnitLines] = {}
        self.noise: list[int] = []
        self.phase_correction: dict[int, list[int]] = {}
        self.calibration: dict[int, list[int]] = {}
        self._of_slice: dict[int, list[int]] = {}  # where repetitions calibrate each other
        self.n_left_out = 0

    @property
    def waits_for_the_end(self) -> bool:
        """Whether no unit can be complete before the whole scan is."""
        return self.is_3d or self.is_interleaved

    def add(self, number: int, head: np.void) -> list[Unit]:
        """Take note of acquisition `number`; return the units that it completes."""
        flags = int(head["flags"])
        if _has(flags, ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            self.noise.append(number)
        elif _has(flags, ismrmrd.ACQ_IS_PHASECORR_DATA):
            self.phase_correction.setdefault(int(head["idx"]["slice"]), []).append(number)
        elif (
            not any(_has(flags, flag) for flag in NOT_IMAGING.values())
            and int(head["encoding_space_ref"]) == self._index
        ):
            self._take(number, head, flags)
        return [] if self.waits_for_the_end else self._completed_by(head, flags)

    def lines_for(self, unit: Unit, end: int) -> np.ndarray:
        """Return the acquisitions that the reconstruction of a unit may use.

        Parameters
        ----------
        unit : Unit
            A known one.
        end : int
            Only acquisitions with smaller numbers count.
        """
        parts = [self.noise, self.units[unit].numbers, self.calibration.get(unit.slice, [])]
        parts.append(self.phase_correction.get(unit.slice, []))
        if self.is_interleaved:
            parts.append(self._of_slice[unit.slice])
        return np.unique(np.concatenate([before(part, end) for part in parts]))

    def count(self, unit: Unit, end: int) -> int:
        """Return how many lines the reconstruction of a unit has to work with.

        Parameters
        ----------
        unit : Unit
            A known one.
        end : int
            Only acquisitions with smaller numbers count.
        """
        parts = (self.units[unit].numbers, self.calibration.get(unit.slice, []))
        return sum(bisect_left(part, end) for part in parts)

    def _take(self, number: int, head: np.void, flags: int) -> None:
        counters = head["idx"]
        both = _has(flags, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
        only = _has(flags, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) and not both
        if only or both:
            self.calibration.setdefault(int(counters["slice"]), []).append(number)
        if only:
            return
        unit = _unit(head)
        if unit not in self.units and len(self.units) >= self._n_units:
            self.n_left_out += 1
            return
        lines = self.units.setdefault(unit, UnitLines())
        lines.numbers.append(number)
        lines.rows.add((int(counters["kspace_encode_step_1"]), int(counters["average"])))
        if self.is_interleaved:
            self._of_slice.setdefault(unit.slice, []).append(number)

    def _completed_by(self, head: np.void, flags: int) -> list[Unit]:
        unit = _unit(head)
        lines = self.units.get(unit)
        if lines is None or lines.is_flagged:
            return []
        last = _has(flags, ismrmrd.ACQ_LAST_IN_SLICE)
        is_last = last and int(head["idx"]["average"]) >= self._last_average
        if is_last or (self._n_expected and len(lines.rows) >= self._n_expected):
            lines.is_flagged = True
            return [unit]
        return []


def before(numbers: list[int], end: int) -> np.ndarray:
    """Return the numbers below `end` of an ascending list.

    Parameters
    ----------
    numbers : list of int
        Acquisitions; more may be appended meanwhile.
    end : int
        The first that does not count.
    """
    return np.array(numbers[: bisect_left(numbers, end)], np.int64)


def _unit(head: np.void) -> Unit:
    return Unit(*(int(head["idx"][name]) for name in Unit._fields))


def _has(flags: int, flag: int) -> bool:
    return bool(flags >> (flag - 1) & 1)


def _expectations(encoding: Encoding) -> tuple[int, int]:
    """Return the last average, and how many (row, average) a fully sampled slice has; 0 unknown."""
    average = encoding.limits.get("average")
    last = 0 if average is None else max(average.maximum, 0)
    limit = encoding.limits.get("kspace_encoding_step_1")
    if limit is None or limit.maximum <= limit.minimum:
        return last, 0
    return last, (limit.maximum - limit.minimum + 1) * (last + 1)
