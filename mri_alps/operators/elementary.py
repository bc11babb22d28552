"""Building blocks: dense matrices, the Fourier transform, coil sensitivities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mri_alps.core.errors import ShapeError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.operators._kinds import require_floating, with_precision
from mri_alps.operators.base import IdentityOperator, LinearOperator


class MatrixOperator(LinearOperator):
    """A dense matrix acting on flattened images.

    Parameters
    ----------
    matrix : torch.Tensor
        Real or complex, (m, n).
    domain_shape : sequence of int, optional
        Shape of an image with n entries; (n,) if left out.
    range_shape : sequence of int, optional
        Shape of a measurement with m entries; (m,) if left out.

    Raises
    ------
    ShapeError, DtypeError
        If the shapes do not multiply to (m, n), or the matrix is neither real nor complex.
    """

    def __init__(
        self,
        matrix: torch.Tensor,
        domain_shape: Sequence[int] | None = None,
        range_shape: Sequence[int] | None = None,
    ):
        require_floating("MatrixOperator", matrix)
        if matrix.ndim != 2:
            raise ShapeError(f"MatrixOperator: found shape {tuple(matrix.shape)}, expected (m, n)")
        self.domain_shape = (matrix.shape[1],) if domain_shape is None else tuple(domain_shape)
        self.range_shape = (matrix.shape[0],) if range_shape is None else tuple(range_shape)
        sizes = (math.prod(self.range_shape), math.prod(self.domain_shape))
        if sizes != tuple(matrix.shape):
            raise ShapeError(
                f"MatrixOperator: found a matrix {tuple(matrix.shape)} for the domain "
                f"{self.domain_shape} and the range {self.range_shape}, expected {sizes}"
            )
        self.matrix = matrix.detach()
        self.dtype, self.device = matrix.dtype, matrix.device

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._apply(self.matrix.T, x, self.domain_shape, self.range_shape)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self._apply(self.matrix.conj(), y, self.range_shape, self.domain_shape)

    @staticmethod
    def _apply(
        right: torch.Tensor, x: torch.Tensor, old: tuple[int, ...], new: tuple[int, ...]
    ) -> torch.Tensor:
        batch = x.shape[: x.ndim - len(old)]
        return (x.reshape(*batch, math.prod(old)) @ right.to(x.dtype)).reshape(*batch, *new)

    def _simplify_after(self, inner: LinearOperator) -> LinearOperator | None:
        if not isinstance(inner, MatrixOperator):
            return None
        dtype = torch.promote_types(self.matrix.dtype, inner.matrix.dtype)
        product = self.matrix.to(dtype) @ inner.matrix.to(dtype)
        return MatrixOperator(product, inner.domain_shape, self.range_shape)

    @property
    def H(self) -> LinearOperator:
        """The operator of the conjugate transpose."""
        return MatrixOperator(self.matrix.mH, self.range_shape, self.domain_shape)

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        matrix = with_precision(self.matrix, device, real_dtype)
        return MatrixOperator(matrix, self.domain_shape, self.range_shape)


class FourierOperator(LinearOperator):
    """The centred orthonormal Fourier transform of the last two axes; unitary.

    Parameters
    ----------
    shape : sequence of int
        Shape of one image, (..., H, W).
    inverse : bool
        Make it the inverse transform.
    """

    def __init__(self, shape: Sequence[int], inverse: bool = False):
        if len(shape) < 2:
            raise ShapeError(f"FourierOperator: found shape {tuple(shape)}, expected (..., H, W)")
        self.domain_shape = self.range_shape = tuple(int(n) for n in shape)
        self.inverse = inverse

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return ifftc(x) if self.inverse else fftc(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return fftc(y) if self.inverse else ifftc(y)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    def _simplify_after(self, inner: LinearOperator) -> LinearOperator | None:
        opposite = isinstance(inner, FourierOperator) and inner.inverse != self.inverse
        return IdentityOperator(self.domain_shape) if opposite else None

    @property
    def H(self) -> LinearOperator:
        """The opposite transform, which is also the inverse."""
        return FourierOperator(self.domain_shape, not self.inverse)


class SensitivityOperator(LinearOperator):
    """Multiplication by coil sensitivities, (H, W) to (coils, H, W).

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Real or complex, (coils, H, W) or (B, coils, H, W).
    """

    def __init__(self, sensitivity_maps: torch.Tensor):
        require_floating("SensitivityOperator", sensitivity_maps)
        if sensitivity_maps.ndim not in (3, 4):
            raise ShapeError(
                f"SensitivityOperator: found maps of shape {tuple(sensitivity_maps.shape)}, "
                "expected (coils, H, W) or (B, coils, H, W)"
            )
        *batch, _, height, width = sensitivity_maps.shape
        self.domain_shape = (*batch, height, width)
        self.range_shape = tuple(sensitivity_maps.shape)
        self.dtype, self.device = sensitivity_maps.dtype, sensitivity_maps.device
        self.sensitivity_maps = sensitivity_maps.detach()
        self._weight = self.sensitivity_maps.abs().square().sum(-3)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sensitivity_maps * x.unsqueeze(-3)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return (self.sensitivity_maps.conj() * y).sum(-3)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return self._weight * x

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return SensitivityOperator(with_precision(self.sensitivity_maps, device, real_dtype))


def to_dense(operator: LinearOperator, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return the matrix of an operator, column by column through `forward`.

    Parameters
    ----------
    operator : LinearOperator
        Any operator; small, since the matrix has prod(range) x prod(domain) entries.
    dtype : torch.dtype, optional
        Dtype of the probing images; that of the operator, or complex128 if it takes any.

    Returns
    -------
    torch.Tensor
        (prod(range_shape), prod(domain_shape)).
    """
    dtype = dtype or operator.dtype or torch.complex128
    n = math.prod(operator.domain_shape)
    basis = torch.eye(n, dtype=dtype, device=operator.device).reshape(n, *operator.domain_shape)
    columns = operator.forward(basis)
    return columns.reshape(n, math.prod(operator.range_shape)).T
