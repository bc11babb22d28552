"""deepinv's physics and denoisers for our samplers; needs no import of deepinv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.interop._channels import channels_to_complex, complex_to_channels
from mri_alps.operators import LinearOperator
from mri_alps.priors import from_deepinv as from_deepinv_denoiser

__all__ = ["DeepinvOperator", "from_deepinv_denoiser", "from_deepinv_physics"]


def from_deepinv_physics(
    physics: Any,
    image_shape: Sequence[int],
    *,
    n_slices: int | None = None,
    dtype: torch.dtype = torch.complex64,
) -> LinearOperator:
    """Return a deepinv `LinearPhysics` as an operator that can be sampled.

    Parameters
    ----------
    physics : deepinv.physics.LinearPhysics
        For example `deepinv.physics.MultiCoilMRI`; its noise model is not part of the operator.
    image_shape : sequence of int
        (H, W) for complex images, which deepinv has as (B, 2, H, W); (channels, H, W) for real
        images.
    n_slices : int, optional
        For a physics with parameters of its own for each of B images, such as coil maps
        (B, coils, H, W): the domain is then (B, *image_shape).
    dtype : torch.dtype
        Complex, or real for real images.

    Returns
    -------
    LinearOperator
        A `DeepinvPhysics` gives back the operator that it was made of.

    Raises
    ------
    ConfigurationError
        If `physics` has no `A` and `A_adjoint`.
    ShapeError
        If it does not take such images, or its measurements are not one tensor of complex
        values in two channels.
    """
    ours = getattr(physics, "operator", None)
    if isinstance(ours, LinearOperator) and (
        n_slices is None or getattr(physics, "is_batched", False)
    ):
        return ours
    return DeepinvOperator(physics, image_shape, n_slices, dtype)


class DeepinvOperator(LinearOperator):
    """What `from_deepinv_physics` makes; see there for the parameters."""

    def __init__(
        self,
        physics: Any,
        image_shape: Sequence[int],
        n_slices: int | None = None,
        dtype: torch.dtype = torch.complex64,
    ):
        if not all(callable(getattr(physics, name, None)) for name in ("A", "A_adjoint")):
            raise ConfigurationError(
                f"found a {type(physics).__name__}, expected a deepinv LinearPhysics with A and "
                "A_adjoint: a physics that is not linear cannot be sampled"
            )
        self.physics, self.dtype, self.n_slices = physics, dtype, n_slices
        self.device = _device_of(physics)
        slices = () if n_slices is None else (n_slices,)
        self.domain_shape = (*slices, *(int(n) for n in image_shape))
        probe = self._probe()
        self.range_shape = tuple(probe.shape if slices else probe.shape[1:])
        self._measured = probe != 0
        if not slices:
            self._measured = self._measured[0]

    @property
    def measured(self) -> torch.Tensor:
        """Rows of A that are not zero, bool (*range_shape)."""
        return self._measured

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return f"deepinv {type(self.physics).__name__}"

    def _probe(self) -> torch.Tensor:
        """A of a random image: where it is exactly zero, A has a row of zeros."""
        generator = torch.Generator().manual_seed(0)
        shape = self.domain_shape if self.n_slices is not None else (1, *self.domain_shape)
        x = torch.randn(shape, generator=generator, dtype=self.dtype).to(self.device)
        try:
            found = self.physics.A(self._out(x))
        except (RuntimeError, ValueError, IndexError) as error:
            raise ShapeError(
                f"{self.name} cannot be applied to images of shape {self.domain_shape} "
                f"({' '.join(str(error).split())}): check image_shape"
            ) from error
        if not isinstance(found, torch.Tensor):
            raise ShapeError(
                f"{self.name} measures a {type(found).__name__}, expected one tensor: sample the "
                "parts of a stacked physics one by one"
            )
        return self._in(found)

    def _out(self, x: torch.Tensor) -> torch.Tensor:
        return complex_to_channels(x) if x.is_complex() else x

    def _in(self, y: torch.Tensor) -> torch.Tensor:
        return channels_to_complex(y) if self.dtype is not None and self.dtype.is_complex else y

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._each("A", x, self.domain_shape, self.range_shape)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        kept = y.masked_fill(~self._measured, 0)  # not every adjoint of deepinv's masks
        return self._each("A_adjoint", kept, self.range_shape, self.domain_shape)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        if not callable(getattr(self.physics, "A_adjoint_A", None)):
            return self._adjoint(self._forward(x))
        return self._each("A_adjoint_A", x, self.domain_shape, self.domain_shape)

    def _each(
        self, method: str, x: torch.Tensor, shape: tuple[int, ...], out_shape: tuple[int, ...]
    ) -> torch.Tensor:
        """Images are deepinv's batch; with parameters per image, one call for each sample."""
        function = getattr(self.physics, method)
        batch = x.shape[: x.ndim - len(shape)]
        flat = x.reshape(-1, *shape)
        if self.n_slices is None:
            result = self._in(function(self._out(flat)))
        else:
            result = torch.stack([self._in(function(self._out(part))) for part in flat])
        return result.reshape(*batch, *out_shape)


def _device_of(physics: Any) -> torch.device:
    for tensors in ("buffers", "parameters"):
        for tensor in getattr(physics, tensors, tuple)():
            return tensor.device
    return torch.device("cpu")
