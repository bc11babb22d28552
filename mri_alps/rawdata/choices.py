"""Of what a file has several of one is read, and how another one is chosen is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from mri_alps.core.errors import ConfigurationError

Value = TypeVar("Value", int, str)


COUNTERS = ("dataset", "encoding", "repetition", "contrast", "phase", "set")
"""What can be chosen by a selection."""
AS_ASKED = "is read, as asked for"
"""How a sentence ends that says what was chosen."""


def refuse_choices(path: Path, title: str, selection: object, *allowed: str) -> None:
    """Refuse a choice of what a kind of file never has several of.

    Parameters
    ----------
    path : Path
        The file, for the message.
    title : str
        Of the kind of file.
    selection : Selection or None
        What was asked for.
    *allowed : str
        What can be chosen in such a file.

    Raises
    ------
    ConfigurationError
        If something else was asked for.
    """
    wrong = [n for n in COUNTERS if n not in allowed and getattr(selection, n, None) is not None]
    if wrong:
        instead = f"; in such a file {' and '.join(allowed)} can be chosen" if allowed else ""
        raise ConfigurationError(
            f"{path} is laid out as {title} and has no {' and no '.join(wrong)} to choose: leave "
            f"{', '.join(wrong)} out{instead}"
        )


def note_choice(
    provenance: dict[str, Any],
    path: Path,
    name: str,
    found: Sequence[Value],
    wanted: Value | None,
) -> Value:
    """Return what is read, the first if nothing was asked for, and note it.

    Parameters
    ----------
    provenance : dict
        Of a scan; gets the choice under "counters", and sentences.
    path : Path
        The file, for messages.
    name : str
        Of the setting, "contrast" for example.
    found : sequence of int or str
        What there is.
    wanted : int or str or None
        What was asked for, if anything was.

    Raises
    ------
    ConfigurationError
        If it is not there.
    """
    if wanted is not None and wanted not in found:
        raise ConfigurationError(f"{path} has no {name} {wanted}: choose one of {in_words(found)}")
    chosen = found[0] if wanted is None else wanted
    provenance["counters"][name] = {"chosen": chosen, "available": list(found)}
    if len(found) < 2:
        return chosen
    if wanted is not None:
        provenance["processing"].append(f"{name} {chosen} of {in_words(found)} {AS_ASKED}")
        return chosen
    sentence = (
        f"{name} {chosen} is read, the file has {in_words(found)}: choose another one by the "
        f"setting {name} (--{name})"
    )
    provenance["warnings"].append(sentence)
    provenance["not_chosen"].append(sentence)
    return chosen


def in_words(values: Sequence[Any]) -> str:
    """Return values for a sentence, consecutive numbers as a range: "0 to 3, 7".

    Parameters
    ----------
    values : sequence of int or str
        Numbers in rising order, or names.
    """
    spans: list[list[Any]] = []
    for value in values:
        if spans and isinstance(value, int) and spans[-1][1] == value - 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    texts = [
        str(first) if first == last else f"{first}{',' if last == first + 1 else ' to'} {last}"
        for first, last in spans
    ]
    return ", ".join([*texts[:20], f"and {len(texts) - 20} more"] if len(texts) > 20 else texts)
