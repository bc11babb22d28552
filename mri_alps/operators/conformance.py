"""Checks that every linear operator has to pass; use them on your own.

    >>> from mri_alps.operators.conformance import check_operator
    >>> check_operator(my_operator, torch.complex64, generator=torch.Generator())

Each check raises AssertionError with the operator, what was measured and what it may be. They
need only `forward`, `adjoint`, `normal`, `domain_shape` and `range_shape`, so any object with
these can be checked.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators.rounding import rounding_error

BATCHES: tuple[tuple[int, ...], ...] = ((), (2,), (2, 3))
_DENSE_LIMIT = 4096


class Operator(Protocol):
    """What the checks need of an operator."""

    domain_shape: tuple[int, ...]
    range_shape: tuple[int, ...]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return A x."""

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Return A^H y."""

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x."""


def check_operator(
    operator: Operator,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> None:
    """Run every check: linearity, adjoint, normal, and the dense matrix if it is small.

    Parameters
    ----------
    operator : Operator
        The operator.
    dtype : torch.dtype
        Dtype of the images, real or complex.
    device : torch.device or str
        Where the images are made.
    generator : torch.Generator, optional
        Source of the random images, on `device`; a fixed seed if left out.
    tolerance : float, optional
        Bound on relative errors; if left out, what rounding allows for the dtype and the size
        (`rounding_error`): give it for an operator that approximates.

    Raises
    ------
    AssertionError
        Naming the check that failed.
    """
    generator = generator or torch.Generator(device=device).manual_seed(0)
    check_linear(operator, dtype, generator, tolerance)
    check_adjoint(operator, dtype, generator, tolerance)
    check_normal(operator, dtype, generator, tolerance)
    if math.prod(operator.domain_shape) * math.prod(operator.range_shape) <= _DENSE_LIMIT**2:
        check_dense(operator, dtype, generator, tolerance)


def check_linear(
    operator: Operator,
    dtype: torch.dtype,
    generator: torch.Generator,
    tolerance: float | None = None,
) -> None:
    """Check A(a x + z) = a A x + A z, the same for the adjoint, and that arguments are kept.

    Parameters
    ----------
    operator, dtype, generator, tolerance
        As in `check_operator`.
    """
    factor = 0.7 - 1.3j if dtype.is_complex else -1.3
    for name, shape in (("forward", operator.domain_shape), ("adjoint", operator.range_shape)):
        apply = getattr(operator, name)
        x = standard_normal(shape, generator, dtype)
        z = standard_normal(shape, generator, dtype)
        kept = x.clone()
        found, expected = apply(factor * x + z), factor * apply(x) + apply(z)
        _compare(operator, f"{name} is linear", found, expected, _bound(operator, dtype, tolerance))
        assert torch.equal(x, kept), f"{operator}: {name} changed its argument"
        assert torch.equal(apply(x), apply(x)), f"{operator}: {name} differs between two calls"


def check_adjoint(
    operator: Operator,
    dtype: torch.dtype,
    generator: torch.Generator,
    tolerance: float | None = None,
) -> None:
    """Check <y, A x> = <A^H y, x> image by image, shapes and dtypes included, over batches.

    Parameters
    ----------
    operator, dtype, generator, tolerance
        As in `check_operator`.
    """
    for batch in BATCHES:
        x = standard_normal((*batch, *operator.domain_shape), generator, dtype)
        y = standard_normal((*batch, *operator.range_shape), generator, dtype)
        forward, adjoint = operator.forward(x), operator.adjoint(y)
        _check_like(operator, "forward", forward, y)
        _check_like(operator, "adjoint", adjoint, x)
        # One inner product per image: summed over the batch, a mix-up of images would cancel.
        left = _inner(y, forward, len(operator.range_shape))
        right = _inner(adjoint, x, len(operator.domain_shape))
        scale = _norm(y, len(operator.range_shape)) * _norm(forward, len(operator.range_shape))
        scale = scale + _norm(adjoint, len(operator.domain_shape)) * _norm(
            x, len(operator.domain_shape)
        )
        error = float(((left - right).abs() / scale.clamp_min(1e-30)).max())
        bound = _bound(operator, dtype, tolerance)
        assert error <= bound, (
            f"{operator}: <y, A x> and <A^H y, x> differ by {error:.1e} of |y| |A x| for the "
            f"batch {batch}, expected at most {bound:.0e}: adjoint is not the adjoint of forward"
        )


def check_normal(
    operator: Operator,
    dtype: torch.dtype,
    generator: torch.Generator,
    tolerance: float | None = None,
) -> None:
    """Check normal = adjoint after forward, over batches and for a strided argument.

    Parameters
    ----------
    operator, dtype, generator, tolerance
        As in `check_operator`.
    """
    shapes = [(*batch, *operator.domain_shape) for batch in BATCHES]
    images = [standard_normal(shape, generator, dtype) for shape in shapes]
    reverse = tuple(reversed(range(len(operator.domain_shape))))
    images.append(standard_normal(operator.domain_shape[::-1], generator, dtype).permute(reverse))
    for x in images:
        kept = x.clone()
        found = operator.normal(x)
        assert torch.equal(x, kept), f"{operator}: normal changed its argument"
        expected = operator.adjoint(operator.forward(x))
        _check_like(operator, "normal", found, x)
        message = f"normal is adjoint after forward, shape {tuple(x.shape)} stride {x.stride()}"
        _compare(operator, message, found, expected, _bound(operator, dtype, tolerance))


def check_dense(
    operator: Operator,
    dtype: torch.dtype,
    generator: torch.Generator,
    tolerance: float | None = None,
    matrix: torch.Tensor | None = None,
) -> None:
    """Check forward, adjoint and normal against the operator's dense matrix.

    Parameters
    ----------
    operator, dtype, generator, tolerance
        As in `check_operator`.
    matrix : torch.Tensor, optional
        The expected matrix (range size, domain size) from an independent source. If left out it
        is probed column by column, which shows that no image of a batch touches another.
    """
    n_domain, n_range = math.prod(operator.domain_shape), math.prod(operator.range_shape)
    bound = _bound(operator, dtype, tolerance)
    basis = torch.eye(n_domain, dtype=dtype, device=generator.device)
    columns = [operator.forward(e.reshape(operator.domain_shape)).reshape(-1) for e in basis]
    probed = torch.stack(columns, dim=1)
    matrix = probed if matrix is None else matrix.to(device=probed.device, dtype=probed.dtype)
    assert tuple(matrix.shape) == (n_range, n_domain), (
        f"{operator}: found a matrix {tuple(matrix.shape)}, expected {(n_range, n_domain)}"
    )
    _compare(operator, "forward's columns are those of the matrix", probed, matrix, bound)
    x = standard_normal((3, *operator.domain_shape), generator, dtype)
    y = standard_normal((3, *operator.range_shape), generator, dtype)
    flat_x, flat_y = x.reshape(3, n_domain), y.reshape(3, n_range)
    for name, found, expected in (
        ("forward", operator.forward(x), flat_x @ matrix.T),
        ("adjoint", operator.adjoint(y), flat_y @ matrix.conj()),
        ("normal", operator.normal(x), flat_x @ matrix.T @ matrix.conj()),
    ):
        message = f"{name} is the dense matrix's"
        _compare(operator, message, found.reshape(expected.shape), expected, bound)


def _bound(operator: Operator, dtype: torch.dtype, tolerance: float | None) -> float:
    if tolerance is not None:
        return tolerance
    n_summed = max(math.prod(operator.domain_shape), math.prod(operator.range_shape))
    return rounding_error(dtype, n_summed)


def _compare(
    operator: Operator, what: str, found: torch.Tensor, expected: torch.Tensor, bound: float
) -> None:
    _check_like(operator, what, found, expected)
    scale = max(float(expected.abs().max()), float(found.abs().max()))
    error = float((found - expected).abs().max()) / scale if scale else 0.0
    assert error <= bound, (
        f"{operator}: found a relative error of {error:.1e}, expected at most {bound:.0e}, in: "
        f"{what}"
    )


def _check_like(operator: Operator, what: str, found: torch.Tensor, model: torch.Tensor) -> None:
    for name in ("shape", "dtype", "device"):
        assert getattr(found, name) == getattr(model, name), (
            f"{operator}: found {name} {getattr(found, name)}, expected {getattr(model, name)}, "
            f"in: {what}"
        )


def _inner(a: torch.Tensor, b: torch.Tensor, n_axes: int) -> torch.Tensor:
    return (a.conj() * b).flatten(a.ndim - n_axes).sum(-1)


def _norm(a: torch.Tensor, n_axes: int) -> torch.Tensor:
    return a.flatten(a.ndim - n_axes).abs().square().sum(-1).sqrt()
