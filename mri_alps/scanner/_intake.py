"""A scan that comes in: acquisitions go to the spool, complete units come out as jobs."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import ismrmrd
import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import Encoding, Header, Selection, parse_header
from mri_alps.rawdata.ismrmrd import SpooledAcquisitions, choose_encoding
from mri_alps.scanner._spool import Spool
from mri_alps.scanner._units import Unit, UnitTracker, before
from mri_alps.scanner._work import Job
from mri_alps.scanner.limits import check_memory

if TYPE_CHECKING:
    from pathlib import Path

    from mri_alps.scanner.configuration import OnlineConfiguration
    from mri_alps.scanner.protocol import ReceivedAcquisition
    from mri_alps.scanner.settings import Limits


@dataclass(frozen=True)
class Due:
    """A unit that can be worked on; small, as many may wait for their turn.

    Parameters
    ----------
    unit : Unit
        Its counters.
    end : int
        Acquisitions that had come.
    is_early : bool
        Whether more of the scan is to come.
    n_lines : int
        Lines it is made of, to notice when more come.
    """

    unit: Unit
    end: int
    is_early: bool
    n_lines: int


class Work(NamedTuple):
    """What `Due` stands for.

    Parameters
    ----------
    job : Job
        What to do.
    reference : numpy.void
        Header of its line nearest to the centre of k-space.
    """

    job: Job
    reference: np.void


@dataclass(frozen=True)
class ScanHeader:
    """The header of a scan, checked.

    Parameters
    ----------
    path : Path
        What the scan is called in messages.
    header : Header
        The XML header.
    encoding : Encoding
        Its first encoding space.
    """

    path: Path
    header: Header
    encoding: Encoding

    @classmethod
    def parse(cls, text: bytes | str, path: Path) -> ScanHeader:
        """Parse and check an XML header.

        Parameters
        ----------
        text : bytes or str
            The document.
        path : Path
            What the scan is called.

        Raises
        ------
        InputFileError
            If it is damaged, claims what cannot be, or is of a kind that nothing can be made of.
        """
        header = parse_header(text, path)
        encoding = choose_encoding(header, 0, path)
        return cls(path, header, encoding)


class ScanIntake:
    """Takes the acquisitions of one scan. Use as a context manager.

    Each unit becomes due when it is complete and when the measurement is over, whatever its
    lines claim. One thread may add while another asks for the work.

    Parameters
    ----------
    scan : ScanHeader
        The header.
    configuration : OnlineConfiguration
        The settings.
    limits : Limits
        How much may come.
    directory : Path, optional
        For the temporary file.

    Attributes
    ----------
    is_over : bool
        Whether the last acquisition of the measurement has come.
    """

    def __init__(
        self,
        scan: ScanHeader,
        configuration: OnlineConfiguration,
        limits: Limits,
        directory: Path | None = None,
    ):
        self.scan, self.configuration, self._limits = scan, configuration, limits
        self._spool = Spool(scan.path, directory)
        self._tracker = UnitTracker(scan.header, scan.encoding, limits.image_limit)
        self._lock = threading.Lock()
        self._whole: SpooledAcquisitions | None = None
        self.is_over = False

    def __enter__(self) -> ScanIntake:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    @property
    def n_units(self) -> int:
        """Units that have come."""
        return len(self._tracker.units)

    @property
    def n_left_out(self) -> int:
        """Lines that no unit was made of, as there are too many units."""
        return self._tracker.n_left_out

    def add(self, acquisition: ReceivedAcquisition) -> list[Due]:
        """Take one acquisition; return the units that it completes.

        Raises
        ------
        MemoryExceeded
            If the scan is too large.
        """
        if len(self._spool) == 0:
            check_memory(
                self.scan.encoding,
                int(acquisition.head["active_channels"]),
                self.configuration.reconstruction,
                self._limits,
            )
        with self._lock:
            complete = self._tracker.add(self._spool.add(acquisition), acquisition.head)
        is_last = int(acquisition.head["flags"]) >> (ismrmrd.ACQ_LAST_IN_MEASUREMENT - 1) & 1
        if is_last and not self.is_over:
            self.is_over = True
            complete = list(self._tracker.units)
        return [self._due(unit, is_early=not self.is_over) for unit in complete]

    def finish(self) -> list[Due]:
        """Return all units of the scan, now that it is over.

        Raises
        ------
        InputFileError
            If there is none.
        """
        if not self._tracker.units:
            raise InputFileError(
                f"{self.scan.path}: none of the {len(self._spool)} acquisitions is an imaging "
                "line: check their flags and encoding_space_ref, or send the image scan"
            )
        return [self._due(unit, is_early=False) for unit in self._tracker.units]

    def _due(self, unit: Unit, is_early: bool) -> Due:
        end = len(self._spool)
        return Due(unit, end, is_early, self._tracker.count(unit, end))

    def work(self, due: Due) -> Work:
        """Return what is to be done for a unit.

        Parameters
        ----------
        due : Due
            The unit, and the acquisitions that count.
        """
        with self._lock:
            unit = due.unit
            lines = self._tracker.lines_for(unit, due.end)
            selection = Selection(
                repetition=unit.repetition, contrast=unit.contrast, phase=unit.phase, set=unit.set
            )
            job = Job(
                store=self._spool.view(lines),
                header=self.scan.header,
                selection=selection,
                configuration=self.configuration.reconstruction,
                noise_index=unit.slice,
                is_early=due.is_early,
                keep_samples=self.configuration.sending.send_samples,
            )
            if not due.is_early and not self._tracker.noise:
                job = dataclasses.replace(job, noise_store=self._everything())
            return Work(job, self._reference(before(self._tracker.units[unit].numbers, due.end)))

    def _everything(self) -> SpooledAcquisitions:
        if self._whole is None or len(self._whole.columns) != len(self._spool):
            self._whole = self._spool.view(np.arange(len(self._spool)))
        return self._whole

    def _reference(self, lines: np.ndarray) -> np.void:
        heads = self._spool.heads[lines]
        limit = self.scan.encoding.limits.get("kspace_encoding_step_1")
        steps = heads["idx"]["kspace_encode_step_1"].astype(int)
        center = limit.center if limit is not None else int(np.median(steps))
        return heads[np.argmin(abs(steps - center))].copy()
