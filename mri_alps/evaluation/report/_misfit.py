"""What a reader is told of slices whose samples are too far from the measurement, or too near."""

from __future__ import annotations

import numpy as np

_GOOD_MISFIT = (0.8, 1.25)


def misfit_notes(misfit: np.ndarray) -> list[str]:
    """Return a sentence about slices on either side of 1.

    Parameters
    ----------
    misfit : numpy.ndarray
        Squared distance to the measurement over its noise, one for each slice.
    """
    far, near = misfit > _GOOD_MISFIT[1], misfit < _GOOD_MISFIT[0]
    notes = []
    if far.any():
        notes.append(
            f"The images do not explain the measurement to within its noise in {far.sum()} of "
            f"{len(misfit)} slices (data misfit {span(misfit[far])} where 1 is expected): the "
            "noise, the sensitivity maps or the sampler's length may be wrong, and with them the "
            "standard deviation."
        )
    if near.any():
        notes.append(
            f"The images are closer to the measurement than its noise lets expect in {near.sum()} "
            f"of {len(misfit)} slices (data misfit {span(misfit[near])} where 1 is expected): the "
            "noise level, or what is allowed for inexact sensitivity maps, is too large, and the "
            "standard deviation probably too."
        )
    return notes


def span(values: np.ndarray) -> str:
    """Return the range of some numbers in words.

    Parameters
    ----------
    values : numpy.ndarray
        NaN where there is none.
    """
    if np.isnan(values).all():
        return "unknown"
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{low:.3g}" if np.isclose(low, high, rtol=0.01) else f"{low:.3g} to {high:.3g}"
