"""A damage of HDF5 files on which the HDF5 library runs for ever, found before it does.

Text and other data of variable length lie in global heap collections. An entry of free space
with the length zero sends the library (1.14) into an endless loop, which no exception and no
signal handler ends; so does one whose length wraps around 2^64.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from mri_alps.errors import InputFileError

LARGEST_SEARCHED = 512 * 2**20
"""Files beyond this size are not searched: it would take as long as to read them."""

_HEADER, _ENTRY = 16, 16


def check_global_heaps(path: Path) -> None:
    """Raise if a global heap collection has an entry that never ends.

    Parameters
    ----------
    path : pathlib.Path
        An HDF5 file.

    Raises
    ------
    InputFileError
        If there is one.
    """
    size = path.stat().st_size
    if not 0 < size <= LARGEST_SEARCHED:
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = data.find(b"GCOL")
        while place >= 0:
            if _is_endless(data, place, size):
                raise InputFileError(
                    f"{path} is truncated or damaged (a global heap without an end): copy or "
                    "export it again"
                )
            place = data.find(b"GCOL", place + 4)


def _is_endless(data: mmap.mmap, start: int, file_size: int) -> bool:
    if start + _HEADER > file_size or data[start + 4 : start + 8] != b"\1\0\0\0":
        return False
    (length,) = struct.unpack_from("<Q", data, start + 8)
    stop = min(start + length, file_size)
    place = start + _HEADER
    while place + _ENTRY <= stop:
        index, _, _, size = struct.unpack_from("<HHIQ", data, place)
        # An entry never leaves its collection; adding to a length near 2^64 wraps to nothing.
        if (index == 0 and size == 0) or size > length:
            return True
        place += size if index == 0 else _ENTRY + (size + 7) // 8 * 8
    return False
