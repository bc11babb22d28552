"""What an HDF5 file may claim; every number is far beyond any scan, and far below one's memory."""

from __future__ import annotations

from pathlib import Path

from mri_alps.core.errors import InputFileError

MAX_GROWTH = 64
"""What a file describes is at most so many times its own size: an acceleration, a compression."""

ALWAYS_ALLOWED_BYTES = 16 * 2**20
"""Or as much as this, whatever the size of the file."""

MAX_CHUNK_OF_DATASET = 4
"""A chunk is read as a whole, and holds at most so many times its dataset (which may grow)."""

MAX_INFLATED_BYTES = 256 * 2**20
"""Compressed chunks that could become larger than this are inflated bit by bit first."""

MAX_MEMBERS = 1000
"""Entries of a group that is searched, attributes of an object: real files have a few dozen."""

MAX_LINKS = 16
"""Soft links on the way to an object, as the HDF5 library has it."""

MAX_DEPTH = 64
"""Parts of a name, those that soft links add included."""

MAX_ATTRIBUTE_BYTES = 2**20
"""One attribute of fixed size: the format's own usual limit is 64 kB."""

MAX_HEADER_BYTES = 16 * 2**20
"""Text such as an XML header, of which real ones have 100 kB."""

MAX_PIECE_BYTES = 64 * 2**20
"""Data of variable length are read in pieces that cannot become larger than this."""

MAX_ENTRY_BYTES = 128 * 2**20
"""One entry of variable length: a line of 128 coils with 16384 samples has 16 MiB."""

LARGEST_SEARCHED = 512 * 2**20
"""Larger files are not searched for endless heaps: it would take as long as to read them."""


def check_claim(path: Path, what: str, n_bytes: int) -> None:
    """Raise if a file claims to hold far more than its size allows.

    Parameters
    ----------
    path : Path
        The file, or the common stem of a BART pair; what is no file is not checked.
    what : str
        What is claimed, in words.
    n_bytes : int
        Its size in memory.

    Raises
    ------
    InputFileError
        If that is more than `MAX_GROWTH` times the file and `ALWAYS_ALLOWED_BYTES`.
    """
    if n_bytes <= ALWAYS_ALLOWED_BYTES:
        return
    found = [p for p in (path, path.with_name(path.name + ".cfl")) if p.is_file()]
    if not found:
        return
    size = max(p.stat().st_size for p in found)
    if n_bytes > MAX_GROWTH * size:
        raise InputFileError(
            f"{path}: {what} would need {n_bytes / 2**20:.0f} MiB, and the file has "
            f"{size / 2**20:.2g} MiB: its header or its table of contents is damaged, export the "
            "scan again"
        )
