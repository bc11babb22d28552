"""The linear-operator contract and the algebra of operators.

A subclass gives `domain_shape`, `range_shape`, `_forward`, `_adjoint` and, where it knows a
faster way than adjoint after forward, `_normal`. The public methods check shape, dtype and
device first, so that a wrong argument is named at the door instead of being broadcast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.operators._kinds import REAL_OF, common_kind, describe, fits

Scalar = complex | float | int


class LinearOperator(ABC):
    """A linear map between images and measurements, with its adjoint.

    Attributes
    ----------
    domain_shape, range_shape : tuple of int
        Shapes of one image and of one measurement. Tensors may have any leading batch
        dimensions before these: (..., *domain_shape).
    dtype : torch.dtype or None
        A complex dtype means that images have exactly this dtype; a real one means that they
        have it or its complex counterpart; None means that any floating or complex dtype will
        do. The result has the dtype and device of the argument.
    device : torch.device or None
        Where the images have to be; None if the operator holds no tensors.
    n_slices : int or None
        B if the operator is one of B slices side by side, with a domain (B, *image_shape) and a
        range (B, ...); None for one image.

    Notes
    -----
    The adjoint is that of the complex inner product <a, b> = sum(conj(a) b).
    Operators never change after construction and keep no state between calls.
    """

    domain_shape: tuple[int, ...]
    range_shape: tuple[int, ...]
    dtype: torch.dtype | None = None
    device: torch.device | None = None
    n_slices: int | None = None

    @abstractmethod
    def _forward(self, x: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def _adjoint(self, y: torch.Tensor) -> torch.Tensor: ...

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return self._adjoint(self._forward(x))

    def _simplify_after(self, inner: LinearOperator) -> LinearOperator | None:
        """Return a single operator equal to `self @ inner`, or None if there is none."""
        return None

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return self

    @property
    def measured(self) -> torch.Tensor | None:
        """Which entries of the range are measured at all.

        Returns
        -------
        torch.Tensor or None
            Boolean, broadcastable to `range_shape`; None means all. The operator puts exact
            zeros elsewhere, and noise has no place there.
        """
        return None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the operator, A x.

        Parameters
        ----------
        x : torch.Tensor
            (..., *domain_shape).

        Returns
        -------
        torch.Tensor
            (..., *range_shape), same dtype and device.

        Raises
        ------
        ShapeError, DtypeError
            If `x` does not fit.
        """
        self._check(x, self.domain_shape, "forward")
        return self._forward(x)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Apply the adjoint, A^H y.

        Parameters
        ----------
        y : torch.Tensor
            (..., *range_shape).

        Returns
        -------
        torch.Tensor
            (..., *domain_shape), same dtype and device.

        Raises
        ------
        ShapeError, DtypeError
            If `y` does not fit.
        """
        self._check(y, self.range_shape, "adjoint")
        return self._adjoint(y)

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """Apply A^H A, by the fastest way the operator knows.

        Parameters
        ----------
        x : torch.Tensor
            (..., *domain_shape).

        Returns
        -------
        torch.Tensor
            Same shape, dtype and device as `x`.

        Raises
        ------
        ShapeError, DtypeError
            If `x` does not fit.
        """
        self._check(x, self.domain_shape, "normal")
        if x.requires_grad and torch.is_grad_enabled():
            # The fast ways write into buffers, which automatic differentiation cannot follow.
            return self._adjoint(self._forward(x))
        return self._normal(x)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the operator; the same as `forward`."""
        return self.forward(x)

    @property
    def H(self) -> LinearOperator:
        """The adjoint as an operator of its own."""
        return AdjointOperator(self)

    def to(
        self,
        device: torch.device | str | torch.dtype | None = None,
        dtype: torch.dtype | None = None,
    ) -> LinearOperator:
        """Return this operator on another device or in another precision.

        Parameters
        ----------
        device : torch.device or str or torch.dtype, optional
            Target device; a dtype may stand here alone, as in `torch.Tensor.to`.
        dtype : torch.dtype, optional
            Sets the precision: float64 and complex128 both mean double. Real weights stay
            real and complex ones complex.

        Raises
        ------
        DtypeError
            If `dtype` is neither single nor double precision.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        if dtype is not None and dtype not in REAL_OF:
            raise DtypeError(
                f"{self.name}.to: found {dtype}, expected float32, float64, complex64 or complex128"
            )
        target = None if device is None else torch.device(device)
        return self._to(target, None if dtype is None else REAL_OF[dtype])

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{self.name}({self.domain_shape} -> {self.range_shape})"

    def __matmul__(self, inner: LinearOperator) -> LinearOperator:
        if not isinstance(inner, LinearOperator):
            return NotImplemented
        if self.domain_shape != inner.range_shape:
            raise ShapeError(
                f"{self.name} @ {inner.name}: found a left domain {self.domain_shape} and a right "
                f"range {inner.range_shape}, expected them to be equal"
            )
        return compose(self, inner)

    def __mul__(self, factor: Scalar) -> LinearOperator:
        if not isinstance(factor, (int, float, complex)):
            return NotImplemented
        return ScaledOperator(self, factor)

    __rmul__ = __mul__

    def __neg__(self) -> LinearOperator:
        return ScaledOperator(self, -1)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        return SumOperator(self, other)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        return SumOperator(self, -other)

    def _check(self, x: torch.Tensor, shape: tuple[int, ...], method: str) -> None:
        where = f"{self.name}.{method}"
        if not isinstance(x, torch.Tensor):
            raise DtypeError(f"{where}: found {type(x).__name__}, expected a torch.Tensor")
        if tuple(x.shape[max(x.ndim - len(shape), 0) :]) != shape:
            expected = ", ".join(["...", *map(str, shape)])
            raise ShapeError(f"{where}: found shape {tuple(x.shape)}, expected ({expected})")
        if not fits(x.dtype, self.dtype):
            raise DtypeError(
                f"{where}: found {x.dtype}, expected {describe(self.dtype)}; convert the tensor, "
                "or the operator with .to(dtype)"
            )
        if self.device is not None and x.device != self.device:
            raise DtypeError(
                f"{where}: found a tensor on {x.device}, expected it on {self.device}; move the "
                "tensor, or the operator with .to(device)"
            )


class IdentityOperator(LinearOperator):
    """The identity on images of the given shape; vanishes in compositions.

    Parameters
    ----------
    shape : sequence of int
        Shape of one image.
    """

    def __init__(self, shape: Sequence[int]):
        self.domain_shape = self.range_shape = tuple(int(n) for n in shape)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return y

    @property
    def H(self) -> LinearOperator:
        """The identity itself."""
        return self


class AdjointOperator(LinearOperator):
    """The adjoint of an operator; what `operator.H` returns unless a simpler form exists."""

    def __init__(self, operator: LinearOperator):
        self.operator = operator
        self.domain_shape, self.range_shape = operator.range_shape, operator.domain_shape
        self.dtype, self.device = operator.dtype, operator.device
        self.n_slices = operator.n_slices

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operator.adjoint(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.operator.forward(y)

    @property
    def H(self) -> LinearOperator:
        """The operator itself."""
        return self.operator

    def _simplify_after(self, inner: LinearOperator) -> LinearOperator | None:
        return NormalOperator(inner) if inner is self.operator else None

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return AdjointOperator(self.operator._to(device, real_dtype))

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return f"{self.operator.name}.H"


class NormalOperator(LinearOperator):
    """A^H A as an operator that uses the fast `normal` of A; what `A.H @ A` becomes."""

    def __init__(self, operator: LinearOperator):
        self.operator = operator
        self.domain_shape = self.range_shape = operator.domain_shape
        self.dtype, self.device = operator.dtype, operator.device
        self.n_slices = operator.n_slices

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operator.normal(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.operator.normal(y)

    @property
    def H(self) -> LinearOperator:
        """The operator itself: it is Hermitian."""
        return self

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return NormalOperator(self.operator._to(device, real_dtype))


class ComposedOperator(LinearOperator):
    """outer after inner; what `outer @ inner` returns unless a simpler form exists."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator):
        self.outer, self.inner = outer, inner
        self.domain_shape, self.range_shape = inner.domain_shape, outer.range_shape
        self.dtype, self.device = common_kind(f"{outer.name} @ {inner.name}", outer, inner)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer.forward(self.inner.forward(x))

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.adjoint(self.outer.normal(self.inner.forward(x)))

    @property
    def H(self) -> LinearOperator:
        """The adjoint, composed of the factors' adjoints."""
        return compose(self.inner.H, self.outer.H)

    @property
    def measured(self) -> torch.Tensor | None:
        """Which entries of the range are measured at all, as the outer factor says."""
        return self.outer.measured

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return compose(self.outer._to(device, real_dtype), self.inner._to(device, real_dtype))

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return f"({self.outer.name} @ {self.inner.name})"


class ScaledOperator(LinearOperator):
    """factor times operator; a complex factor needs complex images."""

    operator: LinearOperator
    factor: Scalar

    def __init__(self, operator: LinearOperator, factor: Scalar):
        if isinstance(operator, ScaledOperator):
            factor = factor * operator.factor
            operator = operator.operator
        self.operator = operator
        complex_factor = complex(factor)
        self.factor = complex_factor if complex_factor.imag else complex_factor.real
        self.domain_shape, self.range_shape = operator.domain_shape, operator.range_shape
        self.dtype, self.device = operator.dtype, operator.device
        self.n_slices = operator.n_slices

    def _check(self, x: torch.Tensor, shape: tuple[int, ...], method: str) -> None:
        super()._check(x, shape, method)
        if isinstance(self.factor, complex) and not x.is_complex():
            raise DtypeError(
                f"{self.name}.{method}: found {x.dtype}, expected a complex tensor since the "
                f"factor {self.factor} is complex"
            )

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operator.forward(x) * self.factor

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.operator.adjoint(y) * self.factor.conjugate()

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return self.operator.normal(x) * abs(self.factor) ** 2

    @property
    def H(self) -> LinearOperator:
        """The conjugate factor times the adjoint."""
        return ScaledOperator(self.operator.H, self.factor.conjugate())

    @property
    def measured(self) -> torch.Tensor | None:
        """Which entries of the range are measured at all."""
        return self.operator.measured

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return ScaledOperator(self.operator._to(device, real_dtype), self.factor)

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return f"{self.factor} * {self.operator.name}"


class SumOperator(LinearOperator):
    """The sum of two operators with the same domain and range."""

    def __init__(self, first: LinearOperator, second: LinearOperator):
        shapes = [(o.domain_shape, o.range_shape) for o in (first, second)]
        if shapes[0] != shapes[1]:
            raise ShapeError(
                f"{first.name} + {second.name}: found {shapes[0]} and {shapes[1]}, expected the "
                "same domain and range"
            )
        self.first, self.second = first, second
        self.domain_shape, self.range_shape = shapes[0]
        self.dtype, self.device = common_kind(f"{first.name} + {second.name}", first, second)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first.forward(x) + self.second.forward(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.first.adjoint(y) + self.second.adjoint(y)

    @property
    def H(self) -> LinearOperator:
        """The sum of the adjoints."""
        return SumOperator(self.first.H, self.second.H)

    @property
    def measured(self) -> torch.Tensor | None:
        """Which entries of the range at least one term measures."""
        first, second = self.first.measured, self.second.measured
        return None if first is None or second is None else first | second

    def _to(self, device: torch.device | None, real_dtype: torch.dtype | None) -> LinearOperator:
        return SumOperator(self.first._to(device, real_dtype), self.second._to(device, real_dtype))

    @property
    def name(self) -> str:
        """Name of the operator in messages."""
        return f"({self.first.name} + {self.second.name})"


def compose(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """Return outer after inner, simplified where one operator says the same.

    Factors are regrouped to bring neighbours together: with A a composition P @ Q, the product
    A @ B tries Q @ B first. Scalar factors move to the front.

    Parameters
    ----------
    outer, inner : LinearOperator
        Of which `inner` is applied first.
    """
    if isinstance(outer, IdentityOperator):
        return inner
    if isinstance(inner, IdentityOperator):
        return outer
    if isinstance(outer, ScaledOperator):
        return ScaledOperator(compose(outer.operator, inner), outer.factor)
    if isinstance(inner, ScaledOperator):
        return ScaledOperator(compose(outer, inner.operator), inner.factor)
    if isinstance(outer, ComposedOperator):
        tail = compose(outer.inner, inner)
        if not isinstance(tail, ComposedOperator):
            return compose(outer.outer, tail)
        return ComposedOperator(outer.outer, tail)
    if isinstance(inner, ComposedOperator):
        head = outer._simplify_after(inner.outer)
        return ComposedOperator(outer, inner) if head is None else compose(head, inner.inner)
    simpler = outer._simplify_after(inner)
    return ComposedOperator(outer, inner) if simpler is None else simpler
