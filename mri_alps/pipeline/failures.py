"""Slices that failed, while the others of their scan did not: what is said and kept of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MOST_LISTED = 1000
_ATTRIBUTE_BYTES = 48_000


def describe_failures(reasons: Mapping[int, str]) -> str:
    """Return in one sentence how many slices failed, and the first reason.

    Parameters
    ----------
    reasons : mapping
        From the slice to its reason, at least one.
    """
    first = min(reasons)
    others = "" if len(reasons) == 1 else f" and {len(reasons) - 1} more"
    return f"slice {first}{others} failed and is NaN in the result: {reasons[first]}"


def failures_as_attributes(reasons: Mapping[int, str]) -> dict[str, Any]:
    """Return what a file's attributes say of them; nothing where there are none.

    HDF5 limits an attribute to 64 kB, so reasons are cut and the list ends after `MOST_LISTED`;
    all of them, whole, stand in the diagnostics of their slices.

    Parameters
    ----------
    reasons : mapping
        From the slice to its reason.

    Returns
    -------
    dict
        "n_failed_slices" and "failed_slices", from the slice as text to the reason.
    """
    if not reasons:
        return {}
    length = max(len(reason) for reason in reasons.values())
    listed = {str(index): reasons[index] for index in sorted(reasons)[:MOST_LISTED]}
    while len(json.dumps(listed)) > _ATTRIBUTE_BYTES:
        length //= 2
        listed = {index: reason[:length] for index, reason in listed.items()}
    return {"n_failed_slices": len(reasons), "failed_slices": listed}
