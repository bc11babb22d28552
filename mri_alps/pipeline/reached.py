"""What files and the terminal say of the Monte-Carlo error that was reached; needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

MEAN_ERROR, STD_ERROR = "monte_carlo_error_mean", "monte_carlo_error_std"
"""What files call the two errors of a slice, among its `scalars`."""


def reached_as_attributes(slices: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a file's attributes say of the tolerance: nothing where none was asked.

    Parameters
    ----------
    slices : iterable of mapping
        `scalars` of the slices.

    Returns
    -------
    dict
        The largest errors of a slice, and `n_samples`, the fewest of one.
    """
    found = [s for s in slices if np.isfinite(s.get(STD_ERROR, np.nan)) and s["n_samples"] > 0]
    if not found:
        return {}
    return {
        "n_samples": min(int(s["n_samples"]) for s in found),
        "max_n_samples": max(int(s["n_samples"]) for s in found),
        MEAN_ERROR: max(float(s[MEAN_ERROR]) for s in found),
        STD_ERROR: max(float(s[STD_ERROR]) for s in found),
    }


def describe_reached(attributes: Mapping[str, Any]) -> str:
    """Say what `reached_as_attributes` found.

    Parameters
    ----------
    attributes : mapping
        Not empty.
    """
    least, most = attributes["n_samples"], attributes["max_n_samples"]
    count = f"{least}" if least == most else f"{least} to {most}"
    return (
        f"{count} samples a slice; Monte-Carlo error at most {attributes[MEAN_ERROR]:.2g} of the "
        f"object's intensity in the mean, {attributes[STD_ERROR]:.2g} of itself in the deviation"
    )
