"""Which scans a command means: files, folders, patterns; a part of them."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mri_alps.core.errors import InputFileError

RAW_SUFFIXES = (".h5", ".hdf5", ".mrd", ".cfl")
_MAGIC = re.compile(r"[*?\[]")


def find_scans(inputs: Iterable[str | Path]) -> list[Path]:
    """Return the raw files that are meant, each once.

    Parameters
    ----------
    inputs : iterable of str or pathlib.Path
        Files, taken as they are; folders, of which all files that look like raw data by their
        name (.h5, .hdf5, .mrd, .cfl) are taken, sorted, none from folders below; and patterns
        with ``*``, ``?``, ``[...]`` and ``**``, which the shell may have left alone.

    Raises
    ------
    InputFileError
        If a folder holds no raw data or a pattern fits nothing.
    """
    found: dict[Path, None] = {}
    for entry in map(Path, inputs):
        found.update(dict.fromkeys(_expand(entry)))
    return list(found)


def _expand(entry: Path) -> list[Path]:
    if entry.is_dir():
        files = [path for path in sorted(entry.iterdir()) if _looks_raw(path)]
        if not files:
            raise InputFileError(
                f"{entry} is a directory without raw data in it (files ending in "
                f"{', '.join(RAW_SUFFIXES)}): name the folder that holds the scans"
            )
        return files
    if _MAGIC.search(str(entry)) and not entry.exists():
        matches = [Path(name) for name in sorted(glob.glob(str(entry), recursive=True))]  # noqa: PTH207 - an absolute pattern too
        files = [path for path in matches if path.is_file()]
        if not files:
            raise InputFileError(f"no file fits the pattern {entry}: check its spelling")
        return files
    return [entry]


def _looks_raw(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() in RAW_SUFFIXES


def choose_part(
    scans: Sequence[Path], limit: int | None = None, shard: tuple[int, int] | None = None
) -> list[Path]:
    """Return the first `limit` scans, and of these every n-th.

    Parameters
    ----------
    scans : sequence of pathlib.Path
        All of them, in an order that is the same on every machine.
    limit : int, optional
        At least 1.
    shard : tuple of int, optional
        (i, n): the i-th of n parts, counted from 1; together the parts are everything, once.

    """
    chosen = list(scans[:limit])
    if shard is None:
        return chosen
    part, count = shard
    return chosen[part - 1 :: count]
