"""Simulated measurements with noise where, and only where, something is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.core.random import standard_normal

if TYPE_CHECKING:
    from mri_alps.operators.base import LinearOperator


def simulate(
    operator: LinearOperator,
    x: torch.Tensor,
    noise_std: float | torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return y = A x + n.

    Parameters
    ----------
    operator : LinearOperator
        A. Entries outside `operator.measured` stay exactly zero.
    x : torch.Tensor
        (..., *domain_shape).
    noise_std : float or torch.Tensor
        Standard deviation of n per real component; one number, or one per entry of the
        range's first axis: (B,) for an operator on B slices at a time.
    generator : torch.Generator
        Source of the noise, on the device of `x`.

    Returns
    -------
    torch.Tensor
        (..., *range_shape), dtype and device of `x`.

    Raises
    ------
    ShapeError, DtypeError
        If `x`, the generator or `noise_std` does not fit.
    """
    y = operator.forward(x)
    if generator.device != y.device:
        raise DtypeError(
            f"simulate: found a generator on {generator.device}, expected it on {y.device}, "
            "where the image is"
        )
    std = torch.as_tensor(noise_std, device=y.device, dtype=y.dtype.to_real())
    if std.ndim > 1 or (std.ndim == 1 and std.shape[0] not in (1, operator.range_shape[0])):
        raise ShapeError(
            f"simulate: found noise_std of shape {tuple(std.shape)}, expected a number or "
            f"({operator.range_shape[0]},), one per entry of the range's first axis"
        )
    if std.ndim == 1:
        std = std.reshape(-1, *[1] * (len(operator.range_shape) - 1))
    noise = standard_normal(y.shape, generator, y.dtype) * std
    if operator.measured is not None:
        noise = noise.masked_fill(~operator.measured, 0)
    return y + noise
