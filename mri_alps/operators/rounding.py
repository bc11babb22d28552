"""How far two results may lie apart if they differ by rounding alone: the one rule for tests.

A processor may sum in another order, use fused multiply-adds or wider registers. What this
changes in a sum is a multiple of epsilon times the norm of what is summed, not of the sum: where
terms cancel, the relative error of an element has no bound.

    >>> assert_equal_to_rounding(operator.normal(x), operator.adjoint(operator.forward(x)))
"""

from __future__ import annotations

import math

import numpy as np
import torch

FACTOR = 8
"""Roundings that one term may go through before it is summed, with room to spare."""
BLOCK = 1024
"""Libraries sum longer vectors in blocks, so that errors hardly grow beyond this number."""


def rounding_error(dtype: object, n_summed: int = 1) -> float:
    """Return the bound on an error of rounding, in units of the norm of what is summed.

    Parameters
    ----------
    dtype : torch.dtype, numpy.dtype or str
        The number format, real or complex. Exact formats (integers) count as double precision.
    n_summed : int
        How many numbers are summed into one. Rounding errors are independent: they grow as
        its square root.

    Returns
    -------
    float
        The bound: ``FACTOR * epsilon * sqrt(min(n_summed, BLOCK))``.
    """
    if not isinstance(dtype, torch.dtype):
        dtype = torch.from_numpy(np.zeros(0, dtype)).dtype
    inexact = dtype.is_floating_point or dtype.is_complex
    epsilon = torch.finfo(dtype if inexact else torch.float64).eps
    return FACTOR * epsilon * math.sqrt(min(n_summed, BLOCK))


def assert_equal_to_rounding(
    found: object,
    expected: object,
    n_summed: int | None = None,
    scale: object = None,
    dtype: object = None,
) -> None:
    """Check that two results differ by rounding alone.

    Parameters
    ----------
    found, expected : torch.Tensor, numpy.ndarray or number
        The results, of one shape (or `expected` a single number).
    n_summed : int, optional
        How many numbers are summed into an element, see `rounding_error`; as many as `found`
        has elements if left out.
    scale : float, torch.Tensor or numpy.ndarray, optional
        Norm of what is summed, for all elements or one for each. If left out it is the largest
        magnitude in `expected`; give it where sums cancel in every element (then it is larger),
        or where elements do not mix (then it is `abs(expected)`).
    dtype : torch.dtype, numpy.dtype or str, optional
        The coarsest number format on the way to the results; that of the results if left out.

    Raises
    ------
    AssertionError
        Naming the largest error, its bound and the place; also for another shape, and for
        another dtype if both are tensors.
    """
    left, right = _tensor(found), _tensor(expected)
    assert right.ndim == 0 or left.shape == right.shape, (
        f"found the shape {tuple(left.shape)}, expected {tuple(right.shape)}"
    )
    if isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor):
        assert left.dtype == right.dtype, f"found {left.dtype}, expected {right.dtype}"
    assert left.numel(), "found nothing to compare"
    formats = (left.dtype, right.dtype) if dtype is None else (dtype,)
    left, right = torch.broadcast_tensors(left, right.to(left.device))
    n_summed = left.numel() if n_summed is None else n_summed
    norm = right.abs().max() if scale is None else _tensor(scale).to(left.device)
    bound = max(rounding_error(each, n_summed) for each in formats) * norm.double()
    bound = bound.broadcast_to(left.shape)
    error = (left - right).abs()
    wrong = ~(error <= bound)  # NaN is wrong
    if wrong.any():
        worst = int(torch.where(wrong, (error / bound).nan_to_num(math.inf), -1.0).argmax())
        place = tuple(int(i) for i in np.unravel_index(worst, left.shape))
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.numel()} elements differ by more than rounding: at "
            f"{place} found {left[place].item()}, expected {right[place].item()} to within "
            f"{float(bound[place]):.1e}"
        )


def _tensor(value: object) -> torch.Tensor:
    """Return a tensor, without a copy if possible; numbers of Python are double."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    return torch.from_numpy(np.array(value))
