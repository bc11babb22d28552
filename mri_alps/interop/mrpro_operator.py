"""Operators as mrpro linear operators, and back; importing this module needs mrpro.

mrpro has images (*other, coils, z, y, x) and k-space (*other, coils, k2, k1, k0). Its transforms
are centred and orthonormal as ours are, so that nothing is rescaled.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.optional import require
from mri_alps.operators import LinearOperator, NormalOperator

mrpro: Any = require("mrpro.operators", "an mrpro operator", "mrpro")

GRAM_TOLERANCE = 1e-4
"""Relative error to which mrpro's A^H A has to be adjoint after forward; its NUFFT has 1e-5."""
_COMPLEX = (torch.complex64, torch.complex128)


def as_mrpro_operator(operator: LinearOperator) -> Any:
    """Return an operator as an mrpro `LinearOperator`, for its algorithms and algebra.

    Parameters
    ----------
    operator : LinearOperator
        With the domain (H, W), or (B, H, W) of B slices side by side, and a range of the same
        slices: (coils, ...) or an image.

    Returns
    -------
    mrpro.operators.LinearOperator
        Takes (..., *slices, 1, 1, H, W); returns (..., *slices, coils, 1, a, b) for the range
        (*slices, coils, a, b). Its `gram` is the operator's fast `normal`. An operator that came
        from mrpro is handed back as it was.

    Raises
    ------
    ShapeError
        If the domain is no image.
    """
    if isinstance(operator, MrproOperator):
        return operator.mrpro_operator
    return OperatorOp(operator)


def from_mrpro_operator(
    operator: Any,
    image_shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str = "cpu",
) -> LinearOperator:
    """Return an mrpro `LinearOperator` as an operator that can be sampled.

    Parameters
    ----------
    operator : mrpro.operators.LinearOperator
        For example `FourierOp.from_kdata(kdata) @ csm.as_operator()`, of any trajectory, or one
        with a field map (`B0InformedFourierOp`).
    image_shape : sequence of int
        (y, x), or (slices, y, x) where maps or trajectory differ between slices; mrpro sees
        (slices, 1, 1, y, x).
    dtype : torch.dtype
        complex64 or complex128.
    device : torch.device or str
        Where the operator's tensors are.

    Returns
    -------
    LinearOperator
        Range: (coils, k2, k1, k0), or (slices, coils, k2, k1, k0). An operator that came from
        `as_mrpro_operator` is handed back as it was.

    Raises
    ------
    ConfigurationError
        If it is no mrpro linear operator.
    ShapeError
        If it does not take such images.
    DtypeError
        If `dtype` is another.
    """
    if isinstance(operator, OperatorOp):
        return operator.operator
    return MrproOperator(operator, tuple(int(n) for n in image_shape), dtype, torch.device(device))


class OperatorOp(mrpro.LinearOperator):
    """What `as_mrpro_operator` makes.

    Parameters
    ----------
    operator : LinearOperator
        The operator.
    """

    def __init__(self, operator: LinearOperator):
        super().__init__()
        if len(operator.domain_shape) != (2 if operator.n_slices is None else 3):
            raise ShapeError(
                f"{operator.name}: found the domain {operator.domain_shape}, expected an image "
                "(H, W) or slices (B, H, W)"
            )
        self.operator = operator
        self._n_slice_axes = 0 if operator.n_slices is None else 1

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """Apply the operator.

        Parameters
        ----------
        x : torch.Tensor
            Images.
        """
        return super().__call__(x)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """Apply the operator; see `as_mrpro_operator` for shapes.

        Parameters
        ----------
        x : torch.Tensor
            Images.
        """
        found = self.operator.forward(self._plain(x, self.operator.domain_shape))
        return (self._dressed(found, self.operator.range_shape),)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """Apply the adjoint.

        Parameters
        ----------
        x : torch.Tensor
            Measurements.
        """
        found = self.operator.adjoint(self._plain(x, self.operator.range_shape))
        return (self._dressed(found, self.operator.domain_shape),)

    @property
    def gram(self) -> Any:
        """A^H A by the operator's own fast way."""
        return OperatorOp(NormalOperator(self.operator))

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(*slices, H, W) as (*slices, 1, 1, H, W), (*slices, coils, ...) as (coils, 1, ...)."""
        slices, rest = shape[: self._n_slice_axes], shape[self._n_slice_axes :]
        if len(rest) == 2:
            return (*slices, 1, 1, *rest)
        return (*slices, rest[0], 1, *rest[1:])

    def _plain(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        wanted = self._shape(shape)
        if tuple(x.shape[max(0, x.ndim - len(wanted)) :]) != wanted:
            raise ShapeError(f"{self.operator.name}: found {tuple(x.shape)}, expected {wanted}")
        return x.reshape(*x.shape[: x.ndim - len(wanted)], *shape)

    def _dressed(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return x.reshape(*x.shape[: x.ndim - len(shape)], *self._shape(shape))


class MrproOperator(LinearOperator):
    """What `from_mrpro_operator` makes; see there for the parameters."""

    def __init__(
        self, operator: Any, image_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ):
        if not isinstance(operator, mrpro.LinearOperator):
            raise ConfigurationError(
                f"found a {type(operator).__name__}, expected an mrpro LinearOperator: what is not "
                "linear cannot be sampled"
            )
        if dtype not in _COMPLEX:
            raise DtypeError(
                f"from_mrpro_operator: found {dtype}, expected complex64 or complex128"
            )
        if len(image_shape) not in (2, 3):
            raise ShapeError(
                f"from_mrpro_operator: found image_shape {image_shape}, expected (y, x) or "
                "(slices, y, x)"
            )
        self.mrpro_operator, self.dtype, self.device = operator, dtype, device
        self.domain_shape = image_shape
        self.n_slices = image_shape[0] if len(image_shape) == 3 else None
        x = torch.randn(image_shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
        x = x.to(device)
        probe = self._probe(x)
        self.range_shape = tuple(probe.shape)
        self._measured = probe != 0
        self._gram = self._trusted_gram(x)

    @property
    def measured(self) -> torch.Tensor:
        """Rows of A that are not zero, bool (*range_shape)."""
        return self._measured

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return f"mrpro {type(self.mrpro_operator).__name__}"

    def _probe(self, x: torch.Tensor) -> torch.Tensor:
        """A of a random image: where it is exactly zero, A has a row of zeros."""
        try:
            (found,) = self.mrpro_operator(self._dressed(x[None]))
        except (RuntimeError, ValueError, IndexError) as error:
            raise ShapeError(
                f"{self.name} cannot be applied to images of shape {self.domain_shape} "
                f"({' '.join(str(error).split())}): check image_shape"
            ) from error
        one = len(self.domain_shape) == 2
        if found.ndim < 5 or (one and len(found) != 1):
            raise ShapeError(
                f"{self.name} gives {tuple(found.shape)} for one image {self.domain_shape}: its "
                "maps or trajectory differ between slices, give image_shape (slices, y, x)"
            )
        return found[0]

    def _trusted_gram(self, x: torch.Tensor) -> Any:
        """mrpro's own Gram where it is that of the operator; None elsewhere.

        That of mrpro 0.261015 is not for trajectories off the grid and images of odd size, by
        half of its norm.
        """
        gram = self.mrpro_operator.gram
        expected = self._adjoint(self._forward(x))
        error = torch.linalg.vector_norm(
            gram(self._dressed(x[None]))[0][0, ..., 0, 0, :, :] - expected
        )
        return gram if error <= GRAM_TOLERANCE * torch.linalg.vector_norm(expected) else None

    def _dressed(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., None, None, :, :]

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[: x.ndim - len(self.domain_shape)]
        flat = x.reshape(-1, *self.domain_shape)
        return self.mrpro_operator(self._dressed(flat))[0].reshape(*batch, *self.range_shape)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        batch = y.shape[: y.ndim - len(self.range_shape)]
        flat = y.masked_fill(~self._measured, 0).reshape(-1, *self.range_shape)
        return self.mrpro_operator.adjoint(flat)[0].reshape(*batch, *self.domain_shape)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        if self._gram is None:
            return self._adjoint(self._forward(x))
        flat = x.reshape(-1, *self.domain_shape)
        return self._gram(self._dressed(flat))[0].reshape(x.shape)

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        assert self.device is not None and self.dtype is not None
        target, real = device or self.device, real_dtype or self.dtype.to_real()
        moved = copy.deepcopy(self.mrpro_operator)
        # mrpro's own `to` takes one dtype for all tensors, real and complex ones alike.
        for module in moved.modules():
            vars(module).pop("gram", None)  # which it keeps once it was asked for
            for name, tensor in module._buffers.items():
                if tensor is None:
                    continue
                kind = real.to_complex() if tensor.is_complex() else real
                keeps = not (tensor.is_complex() or tensor.is_floating_point())
                module._buffers[name] = tensor.to(target, None if keeps else kind)
        return MrproOperator(moved, self.domain_shape, real.to_complex(), target)
