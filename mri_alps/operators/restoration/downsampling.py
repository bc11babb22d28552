"""Down-sampling, the operator of super-resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.operators._kinds import with_precision
from mri_alps.operators.base import LinearOperator


class DownsamplingOperator(LinearOperator):
    """Make an image `factor` times smaller on both axes, (H, W) to (H / factor, W / factor).

    Parameters
    ----------
    shape : sequence of int
        Image shape (H, W); both divisible by `factor`.
    factor : int
        At least 1; the paper uses 4.
    method : {"average", "bicubic"}
        Mean of each factor x factor block, or the anti-aliased bicubic filter (a = -0.5, 4
        factor taps, weights renormalised at the edges) of `torch.nn.functional.interpolate`.
    dtype : torch.dtype
        Precision of the bicubic weights and so of the images, which may be real or complex;
        averaging has no weights and takes any.

    Raises
    ------
    ShapeError, ConfigurationError
        If the factor does not divide the shape, or an option is unknown.

    Notes
    -----
    The adjoint is the transpose, not an interpolation back. For averaging `normal` is
    (1 / factor^2) times the projection onto block-wise constant images; for bicubic it passes
    through the small image, which is cheaper than the product of the matrices.
    """

    def __init__(
        self,
        shape: Sequence[int],
        factor: int = 4,
        method: str = "average",
        dtype: torch.dtype = torch.float32,
    ):
        if method not in ("average", "bicubic"):
            raise ConfigurationError(
                f"DownsamplingOperator: found method={method!r}, expected 'average' or 'bicubic'"
            )
        if factor < 1 or len(shape) != 2 or any(size % factor or size < factor for size in shape):
            raise ShapeError(
                f"DownsamplingOperator: found images {tuple(shape)} and factor={factor}, expected "
                "(H, W), both divisible by the factor; crop the images first"
            )
        self.factor, self.method = int(factor), method
        height, width = (int(size) for size in shape)
        self.domain_shape = (height, width)
        self.range_shape = (height // self.factor, width // self.factor)
        if method == "bicubic":
            self._rows = _bicubic_matrix(height, self.range_shape[0]).to(dtype)
            self._columns = _bicubic_matrix(width, self.range_shape[1]).to(dtype)
            self.dtype, self.device = dtype, self._rows.device

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.method == "average":
            return self._blocks(x).mean(dim=(-3, -1))
        return _separable(x, self._rows, self._columns)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        if self.method == "average":
            blocks = (y / self.factor**2)[..., :, None, :, None]
            height, width = self.range_shape
            grown = blocks.expand(*y.shape[:-2], height, self.factor, width, self.factor)
            return grown.reshape(*y.shape[:-2], *self.domain_shape)
        return _separable(y, self._rows.T, self._columns.T)

    def _blocks(self, x: torch.Tensor) -> torch.Tensor:
        height, width = self.range_shape
        return x.reshape(*x.shape[:-2], height, self.factor, width, self.factor)

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        if self.method == "average":
            return self
        moved = DownsamplingOperator(
            self.domain_shape, self.factor, self.method, real_dtype or self._rows.dtype
        )
        device = device or self._rows.device
        moved._rows = with_precision(moved._rows, device, None)
        moved._columns = with_precision(moved._columns, device, None)
        moved.device = moved._rows.device
        return moved


def _bicubic_matrix(size: int, small_size: int) -> torch.Tensor:
    """Return the matrix (small_size, size) of bicubic down-sampling along one axis."""
    basis = torch.eye(size, dtype=torch.float64)[None, None]
    small = torch.nn.functional.interpolate(
        basis, size=(size, small_size), mode="bicubic", antialias=True
    )
    return small[0, 0].T.contiguous()


def _separable(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return rows @ x @ columns^T; real matrices act on real and imaginary parts alike."""
    if not x.is_complex():
        return rows @ x @ columns.T
    parts = rows @ torch.view_as_real(x).movedim(-1, 0) @ columns.T
    return torch.view_as_complex(parts.movedim(0, -1).contiguous())
