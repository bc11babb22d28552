"""Records of an untrusted stream: what one claims to hold has to lie within the file."""

from __future__ import annotations

import io
import struct
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from mri_alps.core.errors import InputFileError
from mri_alps.core.optional import require

MAGIC = b"yardl"
_START = len(MAGIC) + 4
MAX_SCHEMA_BYTES = 2**20

DAMAGE = (
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    BufferError,
    struct.error,
)
"""What mrd-python and numpy raise on damaged records."""


class CountedFile(io.BufferedIOBase):
    """A file that is read in pieces, and says how far.

    Parameters
    ----------
    file : BinaryIO
        Open for reading.
    """

    def __init__(self, file: BinaryIO):
        self._file, self.position = file, 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self.position += count
        return count


def open_reader(file: CountedFile, path: Path) -> Any:
    """Open a stream by mrd-python, so that no record can claim more than the file has.

    Parameters
    ----------
    file : CountedFile
        At its start.
    path : Path
        The file, for messages.

    Raises
    ------
    InputFileError
        If it was written by another version of the format, or is damaged.
    MissingDependencyError
        If mrd-python is not installed.
    """
    mrd = require("mrd", "reading MRD 2", "mrd")
    _check_schema(path)
    try:
        reader = mrd.BinaryMrdReader(file)
    except RuntimeError as error:
        raise InputFileError(
            f"{path} is an MRD 2 stream that mrd-python {version()} does not read ({error}): it "
            "was written by another version of the format, install that version or convert the "
            "scan to ISMRMRD"
        ) from error
    except DAMAGE as error:
        raise InputFileError(
            f"{path} is an MRD 2 stream that ends or breaks within its own description ({error}): "
            "it is damaged, export the scan again"
        ) from error
    reader._stream = _bounded(mrd, reader._stream, path.stat().st_size)
    return reader


def version() -> str:
    """Return the version of mrd-python."""
    return metadata.version("mrd-python")


def _check_schema(path: Path) -> None:
    """The text that describes the format comes first, with its length in front."""
    with path.open("rb") as file:
        begin = file.read(_START + 10)
    length, shift = 0, 0
    for byte in begin[_START:]:
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if length > min(MAX_SCHEMA_BYTES, path.stat().st_size):
        raise InputFileError(
            f"{path} is an MRD 2 stream whose description of itself claims {length:,} bytes: it is "
            "damaged, export the scan again"
        )


def _bounded(mrd: Any, stream: Any, size: int) -> Any:
    class BoundedStream(mrd._binary.CodedInputStream):
        def _check(self, count: int) -> None:
            if not 0 <= count <= size:
                raise EOFError(f"a record claims {count:,} bytes of a file of {size:,}")

        def read_view(self, count: int) -> memoryview:
            self._check(count)
            view: memoryview = super().read_view(count)
            return view

        def read_bytearray(self, count: int) -> bytearray:
            self._check(count)
            array: bytearray = super().read_bytearray(count)
            return array

    bounded = BoundedStream.__new__(BoundedStream)
    bounded.__dict__.update(stream.__dict__)
    return bounded
