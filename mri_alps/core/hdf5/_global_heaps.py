"""A damage of HDF5 files on which the HDF5 library runs for ever, found before it does.

Text and other data of variable length lie in global heap collections. An entry of free space
with the length zero sends the library (1.14) into an endless loop, which no exception and no
signal handler ends; so does one whose length wraps around 2^64.

The file is read, not mapped: a mapped file that another process shortens kills this one.
"""

from __future__ import annotations

import functools
import os
import struct
from pathlib import Path

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5.limits import LARGEST_SEARCHED

_HEADER, _ENTRY = 16, 16
_SEARCHED, _WALKED = 4 * 2**20, 2**16


def check_global_heaps(path: Path) -> int | None:
    """Raise if a global heap collection has an entry that never ends.

    A file is searched once, for as long as it does not change.

    Parameters
    ----------
    path : pathlib.Path
        An HDF5 file.

    Returns
    -------
    int or None
        Bytes of the largest entry; None for a file beyond `LARGEST_SEARCHED`.

    Raises
    ------
    InputFileError
        If there is one, or the file cannot be read.
    """
    try:
        found = path.stat()
        if found.st_size > LARGEST_SEARCHED:
            return None
        largest = _search(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise InputFileError(f"{path} cannot be read ({error.strerror or error})") from error
    if largest is None:
        raise InputFileError(
            f"{path} is truncated or damaged (a global heap without an end): copy or "
            "export it again"
        )
    return largest


@functools.lru_cache(maxsize=1024)
def _search(path: Path, _device: int, _inode: int, size: int, _changed: int) -> int | None:
    """Return the bytes of the largest entry, None if one is endless."""
    largest = 0
    with path.open("rb") as stream:
        window = _Window(stream.fileno())
        for start in range(0, size, _SEARCHED):
            block = os.pread(stream.fileno(), _SEARCHED + 3, start)  # a mark may lie across
            place = block.find(b"GCOL")
            while place >= 0:
                entry = _largest_entry(window, start + place, size)
                if entry is None:
                    return None
                largest = max(largest, entry)
                place = block.find(b"GCOL", place + 4)
    return largest


class _Window:
    """A file of which the last few kilobytes that were asked for are in memory."""

    def __init__(self, handle: int):
        self._handle, self._start, self._bytes = handle, 0, b""

    def at(self, place: int, count: int) -> bytes:
        """Return `count` bytes, fewer at the end of the file."""
        first = place - self._start
        if first < 0 or first + count > len(self._bytes):
            self._start, self._bytes = place, os.pread(self._handle, _WALKED, place)
            first = 0
        return self._bytes[first : first + count]


def _largest_entry(window: _Window, start: int, file_size: int) -> int | None:
    header = window.at(start, _HEADER)
    if len(header) < _HEADER or header[4:8] != b"\1\0\0\0":
        return 0
    (length,) = struct.unpack_from("<Q", header, 8)
    stop = min(start + length, file_size)
    place, largest = start + _HEADER, 0
    while place + _ENTRY <= stop:
        entry = window.at(place, _ENTRY)
        if len(entry) < _ENTRY:  # the file was shortened
            break
        index, _, _, size = struct.unpack("<HHIQ", entry)
        # An entry never leaves its collection; adding to a length near 2^64 wraps to nothing.
        if (index == 0 and size == 0) or size > length:
            return None
        largest = max(largest, size if index else 0)
        place += size if index == 0 else _ENTRY + (size + 7) // 8 * 8
    return largest
