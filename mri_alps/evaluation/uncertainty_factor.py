"""By what deviations were scaled, as reconstruction files say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.pipeline import SCALARS_GROUP

if TYPE_CHECKING:
    from mri_alps.core.hdf5 import File

_NAMES = ("uncertainty_factor", "uncertainty_factor_error")


def calibrated_factors(scalars: Mapping[str, Any]) -> np.ndarray:
    """Return the factor of each slice's deviations, NaN where left-out samples did not give it.

    Parameters
    ----------
    scalars : mapping
        Name to values, one per slice: what a reconstruction file holds under ``facts``. Files of
        other programs and of earlier versions have no such factors.

    Returns
    -------
    numpy.ndarray
        float64, (slices,), empty where there are none.
    """
    if not all(name in scalars for name in _NAMES):
        return np.empty(0)
    factor, error = (np.asarray(scalars[name], dtype=float).reshape(-1) for name in _NAMES)
    # Deviations that are the prior's own have a factor of 1 and no error.
    return np.where(np.isfinite(error), factor, np.nan)


def mean_factor(file: File) -> float | None:
    """Return the factor of a scan's deviations, in the mean over its slices.

    Parameters
    ----------
    file : File
        A reconstruction.

    Returns
    -------
    float or None
        None where left-out samples did not give any.
    """
    stored = {name: f"{SCALARS_GROUP}/{name}" for name in _NAMES}
    if not all(place in file for place in stored.values()):
        return None
    factors = calibrated_factors({name: file[place][()] for name, place in stored.items()})
    return float(np.nanmean(factors)) if np.isfinite(factors).any() else None
