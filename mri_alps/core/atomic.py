"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import io
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import psutil

from mri_alps.core.errors import ConfigurationError, OutputFileError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_IS_WINDOWS = os.name == "nt"
_RANDOM_LENGTH = 8
"""Of what `tempfile` puts into the names that it makes."""


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to it only if the block succeeds.

    A failure leaves neither a half-written file nor the temporary one; an older file of the
    same name survives it. The content is on the disk before the name is: a loss of power leaves
    the old file or the new one.

    Parameters
    ----------
    path : pathlib.Path or str
        The file to be written.
    """
    path = Path(path)
    remove_abandoned(path)
    handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would hide results from colleagues
        _flush(temporary)
        os.replace(temporary, path)  # noqa: PTH105 - tests kill processes here, in any version
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_abandoned(path: Path) -> None:
    """Remove temporary files of a target whose writers were killed.

    Parameters
    ----------
    path : pathlib.Path
        As `atomic_path` has it. Files of processes that live, or of another machine, are left.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{_place()}-*.tmp"):
        process = leftover.name.removesuffix(".tmp").rpartition("-")[2].partition(".")[0]
        if process.isdecimal() and not _lives(int(process)):
            leftover.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name}.{_place()}-{os.getpid()}."


@functools.cache
def _place() -> str:
    """A short text that only processes share which see each other's numbers."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # where there is /proc: since when, and in which container
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        return psutil.pid_exists(process)  # signal 0 is Ctrl-C on Windows
    except OverflowError:  # no number of this system's
        return True


def check_name_length(path: Path) -> None:
    """Raise if `atomic_path` could not write a file because its name is too long.

    Parameters
    ----------
    path : pathlib.Path
        The file to be written; its folder exists.

    Raises
    ------
    ConfigurationError
        If the name, with what `atomic_path` adds to it, is longer than the folder's disk allows,
        or there is no such folder.
    """
    if not hasattr(os, "pathconf"):  # pragma: no cover - Windows
        return
    length = len(os.fsencode(_prefix(path))) + _RANDOM_LENGTH + len(".tmp")
    try:
        longest = os.pathconf(path.parent, "PC_NAME_MAX")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written, its folder is none ({error.strerror}): make it first"
        ) from error
    if length > longest:
        raise ConfigurationError(
            f"the name of {path} has {len(os.fsencode(path.name))} bytes and, while it is written, "
            f"{length}, where {path.parent} allows {longest}: rename the input to a shorter name"
        )


@contextlib.contextmanager
def create_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Write an HDF5 file as `atomic_path` writes files.

    Parameters
    ----------
    path : pathlib.Path or str
        The file to be written.

    Raises
    ------
    OutputFileError
        If the disk is full or fails; nothing is left behind then.
    """
    with atomic_path(path) as temporary, _PatientFile(temporary) as stream:
        try:
            with h5py.File(stream, "w") as file:
                yield file
        finally:
            if stream.failure is not None:
                raise OutputFileError(
                    f"{path} cannot be written ({stream.failure.strerror or stream.failure}): free "
                    "space on its disk, or name a folder on another one"
                ) from stream.failure


class _PatientFile(io.FileIO):
    """A file that never fails to be written, but says afterwards what went wrong.

    The HDF5 library does not survive a disk that is full: it cannot close the file, says so on
    standard error, and kills the process at its end.
    """

    def __init__(self, path: Path):
        super().__init__(path, "r+")
        self.failure: OSError | None = None

    def write(self, content: Buffer) -> int:
        view = memoryview(content).cast("B")
        done = 0
        try:
            while self.failure is None and done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size) if self.failure is None else size or 0
        except OSError as error:
            self.failure = error
            return size or 0

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        count = super().readinto(view) or 0
        view[count:] = bytes(len(view) - count)  # what could not be written
        return len(view)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if _IS_WINDOWS and path.is_dir():  # which opens no folders, and keeps a journal of names
        return
    handle = os.open(path, os.O_RDWR if _IS_WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot do it for folders: then theirs is the last word.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
