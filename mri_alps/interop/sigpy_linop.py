"""Operators as sigpy linear operators, and back.

Both packages use (coil, *spatial) and the centred orthonormal Fourier transform, so that nothing
is reordered or rescaled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sigpy
import torch

from mri_alps.core.errors import DtypeError
from mri_alps.operators import AdjointOperator, LinearOperator, NormalOperator

_REAL_OF = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}


def as_sigpy_linop(operator: LinearOperator) -> sigpy.linop.Linop:
    """Return an operator as a sigpy Linop, for sigpy's Apps and algebra.

    Parameters
    ----------
    operator : LinearOperator
        For example a `SenseOperator`; A^H A keeps its fast `normal`.

    Returns
    -------
    sigpy.linop.Linop
        Takes and returns numpy arrays, wherever the operator computes. The precision is the
        higher of array and operator; a real array counts as complex where the operator is
        complex. An operator that came from sigpy is handed back as it was.
    """
    if isinstance(operator, SigpyOperator):
        return operator.linop
    return OperatorLinop(operator)


def from_sigpy_linop(
    linop: sigpy.linop.Linop, dtype: torch.dtype = torch.complex64
) -> LinearOperator:
    """Return a sigpy Linop as an operator that can be sampled.

    Parameters
    ----------
    linop : sigpy.linop.Linop
        For example `sigpy.mri.linop.Sense(maps, weights=mask)`.
    dtype : torch.dtype
        Of the images: complex, or real for operators between real arrays.

    Returns
    -------
    LinearOperator
        On the CPU. A Linop that came from `as_sigpy_linop` is handed back as it was.

    Raises
    ------
    DtypeError
        If `dtype` is neither single nor double precision.
    """
    if isinstance(linop, OperatorLinop):
        return linop.operator
    return SigpyOperator(linop, dtype)


class OperatorLinop(sigpy.linop.Linop):
    """What `as_sigpy_linop` makes."""

    def __init__(self, operator: LinearOperator):
        self.operator = operator
        self._other_precision: LinearOperator | None = None
        super().__init__(operator.range_shape, operator.domain_shape, repr_str=operator.name)

    def _apply(self, array: np.ndarray) -> np.ndarray:
        if not isinstance(array, np.ndarray):
            raise DtypeError(
                f"{self.repr_str}: found a {type(array).__module__}.{type(array).__name__}, "
                "expected a numpy array: move it to the host with sigpy.to_device(array, -1)"
            )
        if array.dtype.kind not in "biufc":
            raise DtypeError(f"{self.repr_str}: found {array.dtype}, expected numbers")
        dtype = _dtype_for(self.operator, array.dtype)
        contiguous = np.ascontiguousarray(array, dtype)
        x = torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy())
        operator = self._in_precision(x.real.dtype if x.is_complex() else x.dtype)
        return operator.forward(x.to(operator.device or "cpu")).detach().cpu().numpy()

    def _in_precision(self, real: torch.dtype) -> LinearOperator:
        """The operator in the precision of an array; both are kept."""
        own = self.operator.dtype
        if own is None or torch.empty(0, dtype=own).real.dtype == real:
            return self.operator
        if self._other_precision is None:
            self._other_precision = self.operator.to(dtype=real)
        return self._other_precision

    def _adjoint_linop(self) -> sigpy.linop.Linop:
        return OperatorLinop(self.operator.H)

    def _normal_linop(self) -> sigpy.linop.Linop:
        return OperatorLinop(NormalOperator(self.operator))


def _dtype_for(operator: LinearOperator, found: np.dtype) -> np.dtype:
    if operator.dtype is None:
        return found if found.char in "fdFD" else np.result_type(found, np.float32)
    own = torch.empty(0, dtype=operator.dtype).numpy().dtype
    return np.result_type(own, found if found.char in "fdFD" else own)


class SigpyOperator(LinearOperator):
    """What `from_sigpy_linop` makes.

    Parameters
    ----------
    linop : sigpy.linop.Linop
        The Linop.
    dtype : torch.dtype
        Of the images.
    """

    def __init__(self, linop: sigpy.linop.Linop, dtype: torch.dtype = torch.complex64):
        if dtype not in (torch.float32, torch.float64, torch.complex64, torch.complex128):
            raise DtypeError(f"from_sigpy_linop: found {dtype}, expected a floating or complex one")
        self.linop = linop
        self.domain_shape = tuple(int(n) for n in linop.ishape)
        self.range_shape = tuple(int(n) for n in linop.oshape)
        self.dtype, self.device = dtype, torch.device("cpu")

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return _apply_each(self.linop, x, self.domain_shape, self.range_shape)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return _apply_each(self.linop.H, y, self.range_shape, self.domain_shape)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return _apply_each(self.linop.N, x, self.domain_shape, self.domain_shape)

    @property
    def H(self) -> LinearOperator:
        """The adjoint as an operator of its own."""
        return AdjointOperator(self)

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return f"sigpy {self.linop.repr_str}"

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        if device is not None and device.type != "cpu":
            raise DtypeError(f"{self.name}: sigpy operators are applied on the CPU here")
        if real_dtype is None or self.dtype is None:
            return self
        complex_of = {torch.float32: torch.complex64, torch.float64: torch.complex128}
        return SigpyOperator(
            self.linop, complex_of[real_dtype] if self.dtype.is_complex else real_dtype
        )


def _apply_each(
    function: Callable[[np.ndarray], Any],
    x: torch.Tensor,
    shape: tuple[int, ...],
    out_shape: tuple[int, ...],
) -> torch.Tensor:
    """Apply a function of one array to every array of a batch, keeping the dtype."""
    batch = x.shape[: x.ndim - len(shape)]
    arrays = x.detach().resolve_conj().resolve_neg().reshape(-1, *shape).numpy()
    result = torch.empty((len(arrays), *out_shape), dtype=x.dtype)
    for place, array in zip(result, arrays, strict=True):
        place.copy_(torch.from_numpy(np.ascontiguousarray(function(array))))
    return result.reshape(*batch, *out_shape)
