"""Which lines make an image, and when all of them are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import ismrmrd
import numpy as np

from mri_alps.rawdata.header import Encoding, Header
from mri_alps.rawdata.ismrmrd_heads import COUNTERS, NOT_IMAGING


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
    """Sorts acquisitions into units and tells when a unit is complete.

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
    index : int
        Number of that encoding space.
    """

    def __init__(self, header: Header, encoding: Encoding, index: int = 0):
        self._index = index
        self.is_3d = encoding.encoded_matrix[2] > 1
        mode = str(header.facts.get("calibration_mode", "")).lower()
        self.is_interleaved = mode == "interleaved"
        self._last_average, self._n_expected = _expectations(encoding)
        self.units: dict[Unit, UnitLines] = {}
        self.noise: list[int] = []
        self.calibration: dict[int, list[int]] = {}

    @property
    def waits_for_the_end(self) -> bool:
        """Whether no unit can be complete before the whole scan is."""
        return self.is_3d or self.is_interleaved

    def add(self, number: int, head: np.void) -> list[Unit]:
        """Take note of acquisition `number`; return the units that it completes."""
        flags = int(head["flags"])
        if _has(flags, ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            self.noise.append(number)
        elif (
            not any(_has(flags, flag) for flag in NOT_IMAGING.values())
            and int(head["encoding_space_ref"]) == self._index
        ):
            self._take(number, head, flags)
        complete = []
        if not self.waits_for_the_end:
            complete = self._completed_by(head, flags)
        if _has(flags, ismrmrd.ACQ_LAST_IN_MEASUREMENT):
            complete = list(self.units)
        return complete

    def lines_for(self, unit: Unit) -> np.ndarray:
        """Return the numbers of all acquisitions that the reconstruction of a unit may use."""
        numbers = [*self.noise, *self.units[unit].numbers]
        if self.is_interleaved:
            same = [u for u in self.units if u.slice == unit.slice]
            numbers += [number for u in same for number in self.units[u].numbers]
        numbers += self.calibration.get(unit.slice, [])
        return np.unique(np.array(numbers, np.int64))

    def count(self, unit: Unit) -> int:
        """Return how many lines the reconstruction of a unit has to work with."""
        return len(self.units[unit].numbers) + len(self.calibration.get(unit.slice, []))

    def _take(self, number: int, head: np.void, flags: int) -> None:
        counters = head["idx"]
        both = _has(flags, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
        only = _has(flags, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) and not both
        if only or both:
            self.calibration.setdefault(int(counters["slice"]), []).append(number)
        if not only:
            lines = self.units.setdefault(_unit(head), UnitLines())
            lines.numbers.append(number)
            lines.rows.add((int(counters["kspace_encode_step_1"]), int(counters["average"])))

    def _completed_by(self, head: np.void, flags: int) -> list[Unit]:
        unit = _unit(head)
        lines = self.units.get(unit)
        if lines is None:
            return []
        last = _has(flags, ismrmrd.ACQ_LAST_IN_SLICE)
        if last and int(head["idx"]["average"]) >= self._last_average:
            lines.is_flagged = True
            return [unit]
        if not lines.is_flagged and self._n_expected and len(lines.rows) >= self._n_expected:
            lines.is_flagged = True
            return [unit]
        return []


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
