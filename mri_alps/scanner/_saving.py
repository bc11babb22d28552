"""Keeps a scan on disk while it comes in, before any work on it.

What comes is appended to a stream of MRD messages, ``..._incomplete.mrd``: whenever the process
is killed, what was written can be read, up to the last whole message. (An HDF5 file is
unreadable while it is being extended.) At the end of the scan, or when the next server starts,
the stream becomes an ISMRMRD file and is deleted.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import re
import time
from typing import TYPE_CHECKING

from filelock import lock_descriptor

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import InputFileError, MriAlpsError
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner._scan_file import write_scan
from mri_alps.scanner.limits import QUOTAS
from mri_alps.scanner.protocol import (
    Message,
    MessageReader,
    ProtocolError,
    close_message,
    received_message,
)
from mri_alps.scanner.settings import Limits, Quota

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOG = logging.getLogger(__name__)
INCOMPLETE = "_incomplete"
_BUFFER_BYTES = 2**20
# What was taken is read back whatever the limits were, and however texts were repaired.
_WITHOUT = Limits(scan_limit=math.inf, quotas={kind: Quota(2**62, 2**62, 2**62) for kind in QUOTAS})
_numbers = itertools.count(1)


class RawSaver:
    """Writes one scan.

    Parameters
    ----------
    directory : Path
        Where it goes; created if needed.
    name : str
        Of the file, without the extension.
    start : bytes
        Configuration and header, as messages.

    Raises
    ------
    InputFileError
        If it cannot be written.
    """

    def __init__(self, directory: Path, name: str, start: bytes):
        self.directory, self.name = directory, name
        self.path = directory / f"{name}{INCOMPLETE}.mrd"
        self._kinds: set[int] = set()
        with _errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("xb", buffering=_BUFFER_BYTES)
            lock_descriptor(self._stream.fileno())  # others see that it is still written
            self._stream.write(start)

    def add(self, message: Message) -> None:
        """Take an acquisition, a waveform or an image."""
        with _errors(self.directory):
            self._stream.write(received_message(message))
        self._kinds.add(message.kind)

    def flush(self) -> None:
        """Hand everything to the system: a process that is killed then loses nothing.

        Raises
        ------
        InputFileError
            If that fails.
        """
        with _errors(self.directory):
            self._stream.flush()

    def finish(self, is_complete: bool) -> Path | None:
        """Make the ISMRMRD file, bring it to the disk and return its name.

        Parameters
        ----------
        is_complete : bool
            Whether the scan was closed; the file is called ``..._incomplete.h5`` otherwise.

        Raises
        ------
        InputFileError
            If the disk is full; what came is still in the stream of messages.
        """
        try:
            with _errors(self.directory):
                if is_complete:
                    self._stream.write(close_message())
                    self._kinds.add(kinds.CLOSE)
                self._stream.flush()
                return convert(self.path, self._kinds)
        finally:
            with contextlib.suppress(OSError, ValueError):
                self._stream.close()


def convert(stream: Path, found: set[int]) -> Path | None:
    """Make an ISMRMRD file of a stream of messages, and delete the stream.

    Parameters
    ----------
    stream : Path
        ``NAME_incomplete.mrd``; the last message may be cut.
    found : set of int
        The kinds of its messages.

    Returns
    -------
    Path or None
        ``NAME.h5``, or ``NAME_incomplete.h5`` if the scan was not closed; on the disk when this
        returns. None if there is no whole message of data.
    """
    if not found.intersection(kinds.DATA):
        stream.unlink()
        return None
    name = stream.stem if kinds.CLOSE not in found else stream.stem.removesuffix(INCOMPLETE)
    target = stream.with_name(f"{name}.h5")
    with atomic_path(target) as temporary:
        write_scan(temporary, read_stream(stream))
    stream.unlink()
    return target


def read_stream(path: Path) -> Iterator[Message]:
    """Yield the whole messages of a file.

    Parameters
    ----------
    path : Path
        Messages one after the other, of which the last may be cut.
    """
    with path.open("rb") as file:
        reader = MessageReader(file.read, _WITHOUT)
        while True:
            try:
                message = reader.next()
            except ProtocolError:  # cut
                return
            if message is None:
                return
            yield message


def recover_scans(directory: Path) -> list[Path]:
    """Make ISMRMRD files of what servers that were killed have left.

    Parameters
    ----------
    directory : Path
        Folder of saved scans; scans that another server is still receiving are left alone.

    Returns
    -------
    list of Path
        The files.
    """
    made: list[Path] = []
    for path in sorted(directory.glob(f"*{INCOMPLETE}.mrd")):
        try:
            with path.open("rb") as file:
                if not lock_descriptor(file.fileno(), blocking=False):  # still written
                    continue
                with _errors(directory):
                    for half_made in directory.glob(f".{path.stem.removesuffix(INCOMPLETE)}*.tmp"):
                        half_made.unlink()
                    saved = convert(path, {message.kind for message in read_stream(path)})
        except FileNotFoundError:  # done by now
            continue
        except (MriAlpsError, OSError):
            _LOG.exception("%s could not be made an ISMRMRD file and is kept", path)
            continue
        if saved is not None:
            _LOG.warning("%s was left by a server that was killed", saved.name)
            made.append(saved)
    return made


@contextlib.contextmanager
def _errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise InputFileError(
            f"the scan cannot be saved in {directory} ({error}): check the space left and the "
            "permissions of the folder named by --save-raw; what is written already becomes a "
            "file when the server starts again"
        ) from error


def scan_name(protocol: str = "") -> str:
    """Return a name for a scan that no other has in this folder: time, protocol, number.

    Parameters
    ----------
    protocol : str
        Anything; what does not belong in a file name is left out.
    """
    protocol = re.sub(r"[^A-Za-z0-9-]+", "_", protocol).strip("_")[:40] or "scan"
    stamp = time.strftime("%Y%m%d_%H%M%S")
    return f"{stamp}_{protocol}_{os.getpid()}_{next(_numbers)}"
