"""Our operators as deepinv physics; importing this module needs deepinv."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import ShapeError
from mri_alps.core.optional import require
from mri_alps.interop._channels import channels_to_complex, complex_to_channels

if TYPE_CHECKING:
    from mri_alps.operators import LinearOperator

deepinv: Any = require("deepinv", "a deepinv physics", "deepinv")


def as_deepinv_physics(
    operator: LinearOperator, noise_std: float | None = None, **options: Any
) -> DeepinvPhysics:
    """Return an operator as a deepinv `LinearPhysics`.

    Parameters
    ----------
    operator : LinearOperator
        For example a `SenseOperator`.
    noise_std : float, optional
        Noise per real component, which is deepinv's sigma as well; no noise if left out.
    **options
        Further arguments of deepinv's `LinearPhysics`, for example `max_iter`.

    Returns
    -------
    DeepinvPhysics
        Images (B, 2, *domain_shape), measurements (B, 2, *range_shape), real.
    """
    return DeepinvPhysics(operator, noise_std, **options)


class DeepinvPhysics(deepinv.physics.LinearPhysics):
    """What `as_deepinv_physics` makes.

    Complex arrays are channels: x is (B, 2, *domain_shape) and y (B, 2, *range_shape). An
    operator with batched maps (B, coils, H, W) is one operator per image of the batch, so that x
    is (B, 2, H, W) and y (B, 2, coils, H, W), deepinv's own layout of multi-coil data.

    `to`, `cuda` and `double` take the operator along. Noise is added where the operator
    measures, and nowhere else.
    """

    def __init__(
        self, operator: LinearOperator, noise_std: float | None = None, **options: Any
    ) -> None:
        if noise_std is not None:
            options["noise_model"] = deepinv.physics.GaussianNoise(sigma=noise_std)
        super().__init__(**options)
        self.is_batched = operator.n_slices is not None
        image_shape = operator.domain_shape[1:] if self.is_batched else operator.domain_shape
        self.img_size = (2, *image_shape)
        if operator.device is not None:
            self.to(operator.device)
        if operator.dtype is not None:
            self.to(_real(operator.dtype))
        self.operator = operator

    def A(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Apply the operator: (B, 2, *domain_shape) to (B, 2, *range_shape)."""
        return self._through(self.operator.forward, x)

    def A_adjoint(self, y: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Apply the adjoint: (B, 2, *range_shape) to (B, 2, *domain_shape)."""
        return self._through(self.operator.adjoint, y)

    def A_adjoint_A(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Apply A^H A by the operator's own fast way."""
        return self._through(self.operator.normal, x)

    def noise(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Add the noise model's noise where the operator measures."""
        noisy = self.noise_model(x, **kwargs)
        measured = self.operator.measured
        if measured is None:
            return noisy
        if self.is_batched:
            return noisy * measured.expand(self.operator.range_shape)[:, None]
        return noisy * measured.expand(self.operator.range_shape)

    def _through(
        self, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        n_slices = self.operator.domain_shape[0] if self.is_batched else None
        if n_slices is not None and len(x) != n_slices:
            raise ShapeError(
                f"{self.operator.name} has sensitivity maps for {n_slices} images, found a batch "
                f"of {len(x)}: give it one image per set of maps"
            )
        return complex_to_channels(function(channels_to_complex(x)))

    def _apply(self, function: Callable, *arguments: Any, **options: Any) -> Any:
        """What `to` and its relatives call on every tensor: the operator follows."""
        result = super()._apply(function, *arguments, **options)
        operator, holder = getattr(self, "operator", None), self._device_holder
        if operator is None:  # still in __init__
            return result
        same_device = operator.device in (None, holder.device)
        if not same_device or (operator.dtype and _real(operator.dtype) != holder.dtype):
            self.operator = operator.to(holder.device, holder.dtype)
        return result


def _real(dtype: torch.dtype) -> torch.dtype:
    return torch.empty(0, dtype=dtype).real.dtype
