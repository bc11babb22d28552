"""The SENSE operator: mask, centred Fourier transform and coil sensitivities.

Source: Pruessmann et al., Magn Reson Med 42:952 (1999); A = M F S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.operators._gram import make_gram
from mri_alps.operators._kinds import as_tensor, with_precision
from mri_alps.operators.base import LinearOperator
from mri_alps.operators.lines._structure import line_axis, normal_fourier_diagonal
from mri_alps.operators.lines.bands import LineBands
from mri_alps.operators.lines.factors import LineFactors
from mri_alps.operators.lines.shared import SHARED_LIMIT, SharedLines

_COIL_IMAGES_BYTES = 1 << 22
"""Coil images that the forward operator and its adjoint hold at a time, several copies of them."""


class SenseOperator(LinearOperator):
    """Cartesian multi-coil acquisition, A x = weights * mask * F(sensitivity_maps * x).

    F is the centred orthonormal Fourier transform over the last two axes
    (`mri_alps.core.fourier.fftc`). Entries outside the mask are exactly zero after `forward` and
    are ignored by `adjoint`.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Complex, (coils, H, W), or (B, coils, H, W) for B slices at a time; the domain is then
        (B, H, W) and the range (B, coils, H, W). No normalisation is assumed. The tensor is
        kept, not copied: do not write into it afterwards.
    mask : torch.Tensor or array_like
        Boolean (or only 0 and 1), True where measured. Broadcasts to (H, W); (W,) means lines
        along the last axis. With batched maps also (B, H or 1, W or 1).
    weights : torch.Tensor, optional
        Real, positive, of the shapes a mask may have; 1 if left out. Data whose noise is not
        the same everywhere are given divided by its standard deviation relative to
        `noise_std`, and the operator with that factor as its weight.

    Raises
    ------
    ShapeError
        If maps, mask and weights do not fit together.
    DtypeError
        If the maps are real, or the mask has values other than 0 and 1, or the weights are not
        real, finite and positive.

    Notes
    -----
    `normal` never forms k-space: all shifts cancel and, for a mask that varies along one axis
    only, so does the other axis' transform (see `mri_alps.operators._gram`). It keeps a second,
    packed copy of the maps for this.
    """

    def __init__(
        self,
        sensitivity_maps: torch.Tensor,
        mask: torch.Tensor,
        weights: torch.Tensor | None = None,
    ):
        check_maps(sensitivity_maps)
        *batch, n_coils, height, width = sensitivity_maps.shape
        self.domain_shape = (*batch, height, width)
        self.n_slices = batch[0] if batch else None
        self.range_shape = (*batch, n_coils, height, width)
        self.dtype, self.device = sensitivity_maps.dtype, sensitivity_maps.device
        self.sensitivity_maps = sensitivity_maps.detach()
        self.mask = as_mask(mask, self.domain_shape).to(self.device)
        self.weights = None
        # What stands between F and F^H in A^H A.
        self._power = self.mask
        if weights is not None:
            self.weights = as_weights(weights, self.domain_shape).to(self.mask.device)
            self.weights = self.weights.to(self.dtype.to_real())
            self._power = self.weights.square() * self.mask
        self._gram = make_gram(self.sensitivity_maps, self._power)
        self._factors: LineFactors | SharedLines | None = None
        self._bands: LineBands | None = None

    @property
    def n_coils(self) -> int:
        """Number of coils."""
        return self.range_shape[-3]

    @property
    def measured(self) -> torch.Tensor:
        """The mask with a coil axis: boolean, broadcastable to `range_shape`."""
        return self.mask.unsqueeze(-3)

    @property
    def unseen(self) -> torch.Tensor:
        """Pixels where all maps are zero: boolean, `domain_shape`."""
        return (self.sensitivity_maps == 0).all(-3)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self._coils_at_a_time(x.shape[:-2])
        found = [self._weigh(fftc(maps * x.unsqueeze(-3)) * self.measured) for maps, _ in parts]
        return found[0] if len(found) == 1 else torch.cat(found, -3)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor | None = None
        for maps, coils in self._coils_at_a_time(y.shape[:-3]):
            # masked_fill, since NaN times zero would let unmeasured garbage through
            measured = y[..., coils, :, :].masked_fill(~self.measured, 0)
            found = (maps.conj() * ifftc(self._weigh(measured))).sum(-3)
            total = found if total is None else total.add_(found)
        assert total is not None
        return total

    def _coils_at_a_time(self, batch: Sequence[int]) -> list[tuple[torch.Tensor, slice]]:
        """Maps of some coils after the other, and which they are: a few copies of all are too many.

        Parameters
        ----------
        batch : sequence of int
            Images of the same call.
        """
        maps = self.sensitivity_maps
        size = math.prod(batch) * math.prod(maps.shape[-2:]) * maps.element_size()
        n = max(1, _COIL_IMAGES_BYTES // max(1, size))
        starts = range(0, self.n_coils, n)
        return [(maps[..., k : k + n, :, :], slice(k, k + n)) for k in starts]

    def _weigh(self, kspace: torch.Tensor) -> torch.Tensor:
        return kspace if self.weights is None else kspace * self.weights.unsqueeze(-3)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        batched = x.reshape(-1, *self.domain_shape)
        return self._gram(batched).reshape(x.shape)

    def normal_fourier_diagonal(self) -> torch.Tensor:
        """Diagonal of A^H A in the Fourier basis, real (*domain_shape); see `line_structure`."""
        return normal_fourier_diagonal(self.sensitivity_maps, self._power)

    def line_factors(self) -> LineFactors | SharedLines | None:
        """Eigenvectors of A^H A per image line; None for masks along both axes.

        Found when they are first asked for, and kept. Where weights vary along the lines they are
        of the mean along each, and `exact` says so. In images of more than
        `mri_alps.operators.lines.shared.SHARED_LIMIT` entries adjacent lines share them.
        """
        axis = line_axis(self.mask)
        if axis is not None and self._factors is None:
            exact = line_axis(self._power) is not None
            across = -3 - axis
            power = self._power if exact else self._power.mean(across, keepdim=True)
            if self._n_entries(axis) > SHARED_LIMIT:
                self._factors = SharedLines(self.sensitivity_maps, power, axis, exact)
            else:
                self._factors = LineFactors(self.sensitivity_maps, power, exact)
        return self._factors

    def _n_entries(self, axis: int) -> int:
        """Entries of the eigenvectors of all lines of a slice."""
        return math.prod(self.domain_shape[-2:]) * self.domain_shape[axis]

    def line_bands(self) -> LineBands | None:
        """A^H A in bands of low frequencies across the lines; None for masks along both axes.

        Found when they are first asked for, and kept.
        """
        axis = line_axis(self.mask)
        if axis is not None and self._bands is None:
            factors = self.line_factors()
            shared = factors if isinstance(factors, SharedLines) else None
            self._bands = LineBands(self.sensitivity_maps, self._power, axis, shared)
        return self._bands

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> SenseOperator:
        maps = with_precision(self.sensitivity_maps, device, real_dtype)
        return SenseOperator(maps, self.mask.to(maps.device), self.weights)


def single_coil_maps(
    shape: Sequence[int],
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Return the unit maps of a single-coil acquisition, (1, H, W).

    Parameters
    ----------
    shape : sequence of int
        Image shape (H, W).
    dtype : torch.dtype
        Complex dtype of the maps.
    device : torch.device or str, optional
        Where the maps are made.
    """
    return torch.ones((1, *shape), dtype=dtype, device=device)


def as_mask(mask: torch.Tensor, domain_shape: tuple[int, ...]) -> torch.Tensor:
    """Return `mask` as a boolean tensor with the dimensions of `domain_shape`.

    Parameters
    ----------
    mask : torch.Tensor or array_like
        Boolean or only 0 and 1.
    domain_shape : tuple of int
        (H, W) or (B, H, W). The mask has to broadcast to it.

    Raises
    ------
    ShapeError, DtypeError
        If it does not, or has other values.
    """
    mask = as_tensor(mask)
    if mask.dtype != torch.bool:
        if mask.is_complex() or not bool(((mask == 0) | (mask == 1)).all()):
            raise DtypeError(
                f"sampling mask: found {mask.dtype} with values other than 0 and 1, expected a "
                "boolean mask, True where measured; threshold it first"
            )
        mask = mask.bool()
    if mask.ndim == 4 and len(domain_shape) == 3 and mask.shape[1] == 1:
        mask = mask[:, 0]  # (B, 1, H, W), as it stands beside the k-space
    while mask.ndim > len(domain_shape) and mask.shape[0] == 1:
        mask = mask[0]
    return _fit(mask, domain_shape, "sampling mask")


def as_weights(weights: torch.Tensor, domain_shape: tuple[int, ...]) -> torch.Tensor:
    """Return `weights` with the dimensions of `domain_shape`.

    Parameters
    ----------
    weights : torch.Tensor or array_like
        Real, finite and positive.
    domain_shape : tuple of int
        (H, W) or (B, H, W). The weights have to broadcast to it.

    Raises
    ------
    DtypeError, ShapeError
        If they are anything else.
    """
    weights = as_tensor(weights)
    if not weights.is_floating_point() or not bool((weights.isfinite() & (weights > 0)).all()):
        raise DtypeError(
            f"sampling weights: found {weights.dtype}, or values that are not finite and positive; "
            "expected positive real numbers, and the mask to say what was not measured"
        )
    return _fit(weights, domain_shape, "sampling weights")


def _fit(mask: torch.Tensor, domain_shape: tuple[int, ...], name: str) -> torch.Tensor:
    """Give a mask, or what varies like one, the dimensions of the domain."""
    mask = mask.reshape((1,) * (len(domain_shape) - mask.ndim) + tuple(mask.shape))
    fits = len(mask.shape) == len(domain_shape) and all(
        found in (1, wanted) for found, wanted in zip(mask.shape, domain_shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{name}: found shape {tuple(mask.shape)}, expected one that broadcasts to "
            f"the image shape {domain_shape}; (W,) means lines along the last axis"
        )
    return mask.clone()


def check_maps(maps: torch.Tensor) -> None:
    """Raise an error unless `maps` are sensitivity maps of one slice or of several.

    Parameters
    ----------
    maps : torch.Tensor
        Anything; expected complex, (coils, H, W) or (B, coils, H, W).

    Raises
    ------
    DtypeError, ShapeError
        Naming what was found.
    """
    if not isinstance(maps, torch.Tensor) or maps.dtype not in (torch.complex64, torch.complex128):
        found = maps.dtype if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise DtypeError(
            f"sensitivity_maps: found {found}, expected a complex64 or complex128 torch.Tensor"
        )
    if maps.ndim not in (3, 4) or 0 in maps.shape:
        raise ShapeError(
            f"sensitivity_maps: found shape {tuple(maps.shape)}, expected (coils, H, W) or "
            "(B, coils, H, W)"
        )
