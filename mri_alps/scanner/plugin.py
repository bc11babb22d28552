"""A scan inside somebody else's server: acquisitions in, images out, in one thread."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner._intake import ScanHeader, ScanIntake
from mri_alps.scanner._runner import WARNING, SendLog, UnitRunner
from mri_alps.scanner._saving import scan_name
from mri_alps.scanner.configuration import (
    OnlineConfiguration,
    SendingConfiguration,
    configure,
)
from mri_alps.scanner.limits import Meter
from mri_alps.scanner.protocol import ReceivedAcquisition
from mri_alps.scanner.settings import Limits
from mri_alps.scanner.workers import InlineReconstructor, Reconstructor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import ismrmrd


def reconstruct_items(
    acquisitions: Iterable[ismrmrd.Acquisition],
    header: object,
    config: str,
    send_log: SendLog,
    send_image: Callable[[ismrmrd.Image], None],
    reconstructor: Reconstructor | None = None,
) -> None:
    """Reconstruct a scan as it comes; slices are sent when they are complete.

    Images are 16-bit integers unless the configuration asks for float32: what comes behind, a
    scanner or a writer of DICOM, takes other pixels for integers.

    Parameters
    ----------
    acquisitions : iterable of ismrmrd.Acquisition
        The whole scan, in the order in which it was acquired.
    header : ismrmrd.xsd.ismrmrdHeader, bytes or str
        Its header.
    config : str
        As `configure` takes it.
    send_log, send_image : callable
        What becomes of sentences and images.
    reconstructor : Reconstructor, optional
        Where the work is done; here if left out.

    Raises
    ------
    MriAlpsError
        If the scan cannot be reconstructed, in whole or in part.
    """
    scan = ScanHeader.parse(header_text(header), Path(scan_name()))
    defaults = OnlineConfiguration(sending=SendingConfiguration(data_type="uint16"))
    configuration = configure([config], defaults)
    for note in configuration.notes:
        send_log(WARNING, note)
    limits = Limits()
    meter = Meter(limits)
    with (
        tempfile.TemporaryDirectory(prefix="mri_alps_") as directory,
        ScanIntake(scan, configuration, limits, Path(directory)) as intake,
    ):
        runner = UnitRunner(intake, reconstructor or InlineReconstructor(), send_log, send_image)
        for acquisition in acquisitions:
            received = ReceivedAcquisition.from_ismrmrd(acquisition)
            meter.count(kinds.ACQUISITION, received.size)
            for due in intake.add(received):
                runner.run(due)
        for due in intake.finish():
            runner.run(due)
        runner.summarise()


def header_text(header: object) -> bytes | str:
    """Return an XML header as text.

    Parameters
    ----------
    header : ismrmrd.xsd.ismrmrdHeader, bytes or str
        A header in any form that servers hand over.

    Raises
    ------
    InputFileError
        If it is none of these.
    """
    if isinstance(header, bytes | str):
        return header
    if hasattr(header, "toXML"):
        return str(header.toXML())
    raise InputFileError(
        f"the scan's header is a {type(header).__name__}, expected an ismrmrdHeader or its XML: "
        "update the ismrmrd package"
    )
