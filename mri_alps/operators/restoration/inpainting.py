"""Inpainting: some pixels (or k-space entries) are measured, the others are not."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.operators._kinds import as_tensor
from mri_alps.operators.base import LinearOperator


class InpaintingOperator(LinearOperator):
    """Keep the entries where `mask` is True and put zeros elsewhere; an orthogonal projection.

    The measurement keeps the image's shape. Its zeros are no data: noise must not be added to
    them (the reference code of the paper did). `mri_alps.operators.simulation` does it right,
    and `measured` tells which entries count.

    Parameters
    ----------
    mask : torch.Tensor
        Boolean, broadcastable to `domain_shape`.
    domain_shape : sequence of int, optional
        Shape of one image; the mask's shape if left out.

    Raises
    ------
    DtypeError, ShapeError
        If the mask is not boolean or does not broadcast.
    """

    def __init__(self, mask: torch.Tensor, domain_shape: Sequence[int] | None = None):
        mask = as_tensor(mask)
        if mask.dtype != torch.bool:
            raise DtypeError(
                f"InpaintingOperator: found a mask of {mask.dtype}, expected a boolean one, True "
                "where measured"
            )
        shape = tuple(mask.shape) if domain_shape is None else tuple(map(int, domain_shape))
        try:
            self.mask = torch.broadcast_to(mask, shape).clone()
        except RuntimeError as error:
            raise ShapeError(
                f"InpaintingOperator: found a mask {tuple(mask.shape)}, expected one that "
                f"broadcasts to {shape}"
            ) from error
        self.domain_shape = self.range_shape = shape
        self.device = mask.device

    @property
    def measured(self) -> torch.Tensor:
        """The mask."""
        return self.mask

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        # masked_fill and not a product: NaN outside the mask stays outside
        return x.masked_fill(~self.mask, 0)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self._forward(y)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(x)

    def normal_fourier_diagonal(self) -> torch.Tensor:
        """Diagonal of A^H A in the Fourier basis, real (*domain_shape): the share that is measured.

        Over the last two axes, each image of a batch for itself.
        """
        axes = tuple(range(-min(2, self.mask.ndim), 0))
        return self.mask.double().mean(axes, keepdim=True).expand(self.domain_shape)

    def _simplify_after(self, inner: LinearOperator) -> LinearOperator | None:
        if isinstance(inner, InpaintingOperator):
            return InpaintingOperator(self.mask & inner.mask)
        return None

    @property
    def H(self) -> LinearOperator:
        """The operator itself: a projection is Hermitian."""
        return self

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return InpaintingOperator(self.mask.to(device or self.mask.device))


def random_pixel_mask(
    shape: Sequence[int], fraction_measured: float, generator: torch.Generator
) -> torch.Tensor:
    """Return a mask with exactly round(fraction * size) measured pixels, drawn uniformly.

    Parameters
    ----------
    shape : sequence of int
        Shape of the mask.
    fraction_measured : float
        In (0, 1]. The paper's random inpainting drops 70 % of the pixels: 0.3.
    generator : torch.Generator
        Source of randomness; its device is the mask's device.

    Raises
    ------
    ConfigurationError
        If the fraction is outside (0, 1].
    """
    if not 0 < fraction_measured <= 1:
        raise ConfigurationError(
            f"random_pixel_mask: found fraction_measured={fraction_measured}, expected a number "
            "in (0, 1]"
        )
    mask = torch.zeros(tuple(shape), dtype=torch.bool, device=generator.device)
    order = torch.randperm(mask.numel(), generator=generator, device=generator.device)
    mask.view(-1)[order[: max(1, round(fraction_measured * mask.numel()))]] = True
    return mask


def box_mask(
    shape: Sequence[int], box_shape: Sequence[int], corner: Sequence[int] | None = None
) -> torch.Tensor:
    """Return a mask that is False inside a box and True elsewhere.

    Parameters
    ----------
    shape : sequence of int
        Image shape (H, W).
    box_shape : sequence of int
        Height and width of the missing box.
    corner : sequence of int, optional
        First row and column of the box; the box is centred if left out.

    Raises
    ------
    ConfigurationError
        If the box does not lie inside the image.
    """
    (height, width), (box_height, box_width) = shape, box_shape
    top, left = ((height - box_height) // 2, (width - box_width) // 2) if corner is None else corner
    inside = 0 <= top <= top + box_height <= height and 0 <= left <= left + box_width <= width
    if not inside or box_height < 1 or box_width < 1:
        raise ConfigurationError(
            f"box_mask: found a box {tuple(box_shape)} at ({top}, {left}), expected one inside "
            f"the image {tuple(shape)}"
        )
    mask = torch.ones((height, width), dtype=torch.bool)
    mask[top : top + box_height, left : left + box_width] = False
    return mask
