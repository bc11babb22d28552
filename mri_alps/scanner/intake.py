"""A scan that comes in: acquisitions go to the spool, complete units come out as jobs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import ismrmrd
import numpy as np

from mri_alps.errors import InputFileError
from mri_alps.rawdata import Selection
from mri_alps.rawdata.header import Encoding, Header, parse_header
from mri_alps.rawdata.ismrmrd_reader import choose_encoding
from mri_alps.scanner.configuration import OnlineConfiguration
from mri_alps.scanner.limits import Limits, check_memory
from mri_alps.scanner.protocol import ReceivedAcquisition
from mri_alps.scanner.spool import Spool, SpooledAcquisitions
from mri_alps.scanner.units import Unit, UnitTracker
from mri_alps.scanner.work import Job


@dataclass(frozen=True)
class Ready:
    """A unit that can be worked on.

    Parameters
    ----------
    unit : Unit
        Its counters.
    job : Job
        What to do.
    n_lines : int
        Lines it was made of, to notice when more come.
    reference : numpy.void
        Header of its line nearest to the centre of k-space.
    """

    unit: Unit
    job: Job
    n_lines: int
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
            If it is damaged, claims what cannot be, or is not Cartesian.
        """
        header = parse_header(text, path)
        return cls(path, header, choose_encoding(header, 0, path))


class ScanIntake:
    """Takes the acquisitions of one scan. Use as a context manager.

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
        self._spool = Spool(scan.path, limits, directory)
        self._tracker = UnitTracker(scan.header, scan.encoding)
        self._whole: SpooledAcquisitions | None = None
        self.is_over = False

    def __enter__(self) -> ScanIntake:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add(self, acquisition: ReceivedAcquisition) -> list[Ready]:
        """Take one acquisition; return the units that it completes.

        Raises
        ------
        LimitExceeded, MemoryExceeded
            If the scan is too large.
        """
        if len(self._spool) == 0:
            check_memory(
                self.scan.encoding,
                int(acquisition.head["active_channels"]),
                self.configuration.reconstruction,
                self._limits,
            )
        number = self._spool.add(acquisition)
        complete = self._tracker.add(number, acquisition.head)
        if int(acquisition.head["flags"]) >> (ismrmrd.ACQ_LAST_IN_MEASUREMENT - 1) & 1:
            self.is_over = True
        return [self._ready(unit, is_early=not self.is_over) for unit in complete]

    def finish(self) -> list[Ready]:
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
        return [self._ready(unit, is_early=False) for unit in self._tracker.units]

    def _ready(self, unit: Unit, is_early: bool) -> Ready:
        lines = self._tracker.units[unit].numbers
        store = self._spool.view(self._tracker.lines_for(unit))
        selection = Selection(
            repetition=unit.repetition, contrast=unit.contrast, phase=unit.phase, set=unit.set
        )
        job = Job(
            store=store,
            header=self.scan.header,
            selection=selection,
            configuration=self.configuration.reconstruction,
            noise_index=unit.slice,
            is_early=is_early,
            keep_samples=self.configuration.send_samples,
        )
        if not is_early and not self._tracker.noise:
            job = dataclasses.replace(job, noise_store=self._everything())
        return Ready(unit, job, self._tracker.count(unit), self._reference(lines))

    def _everything(self) -> SpooledAcquisitions:
        if self._whole is None or len(self._whole.columns) != len(self._spool):
            self._whole = self._spool.view(np.arange(len(self._spool)))
        return self._whole

    def _reference(self, lines: list[int]) -> np.void:
        heads = self._spool.heads[np.array(lines)]
        limit = self.scan.encoding.limits.get("kspace_encoding_step_1")
        steps = heads["idx"]["kspace_encode_step_1"].astype(int)
        center = limit.center if limit is not None else int(np.median(steps))
        return heads[np.argmin(abs(steps - center))].copy()
