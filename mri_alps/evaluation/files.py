"""Text, CSV and JSON that evaluations write, each there whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mri_alps.rawdata import atomic_path


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    text : str
        Its content.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Sequence[Any]], line_end: str = "\n") -> None:
    """Write a table for other programs.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    rows : iterable of sequence
        The headings first.
    line_end : str
        Of every row.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream, lineterminator=line_end).writerows(rows)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that every reader takes: NaN, which is none, is refused.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    content : mapping
        What JSON does not know is written as text.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False, default=str))


def stored_content(text: str, file_format: str, identity: str) -> dict[str, Any] | None:
    """Return what an earlier run kept, without the two marks; None if it is of another task.

    Parameters
    ----------
    text : str
        JSON with "format" and "identity".
    file_format : str
        Name and version of the layout.
    identity : str
        Hash of all that the content depends on.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        If the text is damaged.
    """
    stored = json.loads(text)
    marks = (stored.pop("format"), stored.pop("identity"))
    return stored if marks == (file_format, identity) else None


def number_text(value: float | None) -> str:
    """Return a number as a table for other programs holds it: six digits, nothing for None.

    Parameters
    ----------
    value : float or None
        The number.
    """
    return "" if value is None else f"{value:.6g}"
