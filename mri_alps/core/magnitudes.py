"""Squares and norms that do not depend on the units: single precision ends at 1e-38 and 3e38.

Data are divided by a power of two first, which is exact: where nothing was lost before, every
result stays the same to the last bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def unit_of(values: np.ndarray | torch.Tensor) -> float:
    """Return the largest power of two that is no larger than the largest magnitude.

    Parameters
    ----------
    values : numpy.ndarray or torch.Tensor
        Real or complex.

    Returns
    -------
    float
        1 if all are zero, or one is not finite.
    """
    magnitudes = np.abs(values) if isinstance(values, np.ndarray) else values.abs()
    largest = float(magnitudes.max()) if math.prod(values.shape) else 0.0
    if not (math.isfinite(largest) and largest > 0):
        return 1.0
    return math.ldexp(1.0, math.frexp(largest)[1] - 1)


def root_sum_of_squares(images: torch.Tensor) -> torch.Tensor:
    """Return the norm over the first axis.

    Parameters
    ----------
    images : torch.Tensor
        Complex, (coils, ...).
    """
    unit = unit_of(images)
    return (images / unit).abs().square().sum(0).sqrt() * unit
