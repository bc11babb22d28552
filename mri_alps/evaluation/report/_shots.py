"""What a report says of a scan along a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mri_alps.evaluation.path_figure import delays_in_words
from mri_alps.pipeline import CALIBRATION


def path_facts(diagnostics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known of the trajectory of the first slice that has one, or nothing.

    Parameters
    ----------
    diagnostics : sequence of dict
        Of the slices, from a file that anybody may have written.
    """
    for each in diagnostics:
        found = each.get(CALIBRATION)
        facts = found.get("facts") if isinstance(found, dict) else None
        path = facts.get("trajectory") if isinstance(facts, dict) else None
        if isinstance(path, dict):
            return path
    return {}


def sampling_of_shots(facts: dict[str, Any], chosen: Any) -> str:
    """Return how k-space was sampled, in words.

    Parameters
    ----------
    facts : dict
        From `path_facts`, not empty.
    chosen : any
        The setting `shots`.
    """
    kind, count = str(facts.get("kind", "?"))[:20], facts.get("n_shots", "?")
    how = f", chosen by --shots {str(chosen)[:40]}" if chosen else ""
    return f"{count} shots ({kind}){how}"


def rows_of_shots(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows of a table of what was measured.

    Parameters
    ----------
    facts : dict
        From `path_facts`.
    """
    try:
        delays = delays_in_words(facts)
    except (TypeError, ValueError):  # of a file that others wrote
        delays = ""
    rows = [
        ("unit of k-space", str(facts.get("unit", ""))[:100]),
        ("gradient delays, cycles per field of view", delays),
    ]
    return [row for row in rows if row[1]]
