"""What became of each input, for machines: one line of JSON each, written as it is known."""

from __future__ import annotations

import datetime
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.errors import InputFileError

if TYPE_CHECKING:
    from mri_alps.pipeline.scan_job import ScanOutcome

MANIFEST = "manifest.jsonl"


class Manifest:
    """Appends to a file of JSON lines; of several lines for one input the last one counts.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder.
    shard : tuple of int, optional
        Each part of a divided run has a file of its own.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] | None = None):
        name = MANIFEST if shard is None else f"manifest-{shard[0]}-of-{shard[1]}.jsonl"
        self.path = folder / name

    def write(self, outcome: ScanOutcome) -> None:
        """Append a line.

        Parameters
        ----------
        outcome : ScanOutcome
            What became of an input.
        """
        time = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        entry = outcome.to_dict() | {"time": time, "host": socket.gethostname()}
        line = json.dumps(entry, sort_keys=True) + "\n"
        as_it_is = getattr(os, "O_BINARY", 0)  # on Windows
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | as_it_is, 0o666)
        try:
            if _ends_within_a_line(handle):
                line = "\n" + line  # a killed run was writing
            os.write(handle, line.encode())  # at once: lines of two processes do not mix
        finally:
            os.close(handle)


def read_manifest(path: str | Path) -> dict[str, dict]:
    """Return the last line of each input, by its path as it was given.

    Of a file with several parts, each has a line of its own: after the path stands a "#" and its
    name, such as ``scan.h5#contrast-1``.

    Parameters
    ----------
    path : str or pathlib.Path
        A manifest; lines that a killed run left unfinished are skipped.

    Raises
    ------
    InputFileError
        If it cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"{path} cannot be read as a manifest ({error})") from error
    found = {}
    for line in lines:
        try:
            entry = json.loads(line)
            part = entry.get("part", "")
            found[entry["source"] + (f"#{part}" if part else "")] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _ends_within_a_line(handle: int) -> bool:
    if os.fstat(handle).st_size == 0:
        return False
    os.lseek(handle, -1, os.SEEK_END)  # what is appended goes to the end all the same
    return os.read(handle, 1) != b"\n"
