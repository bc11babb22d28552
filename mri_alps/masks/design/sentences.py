"""What a design says of itself: how scans differ, and how far its forecasts came true."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mri_alps.masks.design.loop import Design


def forecast_sentence(designed: Design) -> str:
    """Compare what was expected of each scan one look ahead with what was found.

    Parameters
    ----------
    designed : Design
        With at least two looks at scans whose truth is known; else "" is returned.
    """
    pairs = [(a, b) for a, b in designed.forecasts() if a > 0 and b > 0]
    if not pairs:
        return ""
    expected, actual = np.log(np.array(pairs)).T
    ratio = math.exp(float((expected - actual).mean()))
    text = f"forecast over actual error: {ratio:.2f} (geometric mean of {len(pairs)})"
    if len(pairs) < 3 or min(expected.std(), actual.std()) < 1e-12:
        return text
    return f"{text}, correlation {np.corrcoef(expected, actual)[0, 1]:.2f} of the logarithms"


def spread_sentence(designed: Design) -> str:
    """Tell how much the gain over the calibration region differs between scans.

    Parameters
    ----------
    designed : Design
        With at least one pick.
    """
    known = [point for point in designed.points if len(point.errors) > 1]
    if len(known) < 2:
        return ""
    first, last = (np.array(known[place].errors) for place in (0, -1))
    if first.shape != last.shape or min(first.min(), last.min()) <= 0:
        return ""
    gains = 10 * np.log10(first / last)
    return (
        f"expected gain over the calibration region: {gains.mean():.1f} dB, from {gains.min():.1f} "
        f"to {gains.max():.1f} over {len(gains)} slices, standard deviation {gains.std(ddof=1):.1f}"
    )
