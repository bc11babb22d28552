"""Conjugate gradients for Hermitian positive semi-definite equations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import torch

from mri_alps.core.errors import ConfigurationError

LOOK = 10
"""Iterations after which it is looked at whether equations are solved, if that is to be known."""


def conjugate_gradient(
    apply: Callable[[torch.Tensor], torch.Tensor],
    b: torch.Tensor,
    n_iterations: int,
    n_axes: int = 2,
    x: torch.Tensor | None = None,
    tolerance: float | None = None,
) -> torch.Tensor:
    """Solve M x = b for every image of a batch by a fixed number of iterations, or fewer.

    Parameters
    ----------
    apply : callable
        x -> M x, Hermitian and positive semi-definite, on tensors of the shape of `b`.
    b : torch.Tensor
        Right-hand sides (..., *image_shape).
    n_iterations : int
        Iterations. An image that is solved exactly before stays as it is.
    n_axes : int
        Number of trailing axes that make up one image; the others are independent equations.
    x : torch.Tensor, optional
        Where to start (zero if left out). It is not changed.
    tolerance : float, optional
        Stop where |b - M x|^2 is at most this part of |b|^2 for all images.

    Returns
    -------
    torch.Tensor
        The solutions, of the shape of `b`.

    Notes
    -----
    Hestenes and Stiefel, J Res Natl Bur Stand 49:409 (1952). Without a tolerance no value is read
    back by the host, so that a GPU is never waited for; with one, after every `LOOK` iterations.
    """
    residual = b if x is None else b - apply(x)
    x = torch.zeros_like(b) if x is None else x.clone()
    energies = _energies(apply, residual, x, n_axes)
    limit = None if tolerance is None else tolerance * energy_of(b, n_axes).real
    for count, energy in enumerate(islice(energies, n_iterations + 1)):
        if limit is not None and count % LOOK == 0 and bool((energy.real <= limit).all()):
            break
    return x


def _energies(
    apply: Callable[[torch.Tensor], torch.Tensor],
    residual: torch.Tensor,
    x: torch.Tensor,
    n_axes: int,
) -> Iterator[torch.Tensor]:
    """|b - M x|^2 of every image: of the start, then after an iteration each, which changes x."""
    direction, energy = residual, energy_of(residual, n_axes)
    yield energy
    while True:
        response = apply(direction)
        step = _ratio(energy, inner_product(direction, response, n_axes))
        x.addcmul_(step, direction)
        residual = residual.addcmul(-step, response)
        previous, energy = energy, energy_of(residual, n_axes)
        direction = torch.addcmul(residual, _ratio(energy, previous), direction)
        yield energy


def inner_product(a: torch.Tensor, b: torch.Tensor, n_axes: int) -> torch.Tensor:
    """Return Re <a, b> of each image, with the axes of an image kept at length one.

    Parameters
    ----------
    a, b : torch.Tensor
        (..., *image_shape), complex or real.
    n_axes : int
        Number of trailing axes that make up one image.
    """
    left, right = (torch.view_as_real(z) if z.is_complex() else z for z in (a, b))
    left, right = (z.flatten(a.ndim - n_axes) for z in (left, right))
    # Terms of both signs may nearly cancel. It takes half of the time of a matrix product.
    product = (left * right).sum(-1, dtype=torch.float64).to(a.dtype)
    return product.reshape(*a.shape[: a.ndim - n_axes], *([1] * n_axes))


def energy_of(a: torch.Tensor, n_axes: int) -> torch.Tensor:
    """Return <a, a> of each image, as `inner_product` does.

    Parameters
    ----------
    a : torch.Tensor
        Images (..., *image_shape).
    n_axes : int
        Number of trailing axes that make up one image.
    """
    return inner_product(a, a, n_axes)


def _ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # What is solved exactly is divided by zero, or by what underflowed: it is to stay as it is.
    solved = b.abs() < torch.finfo(b.dtype).tiny
    return torch.where(solved, torch.zeros_like(a), a / b)


def cholesky_factor(matrix: torch.Tensor) -> torch.Tensor:
    """Return the lower factor L of precisions L L^H = A^H A / noise_std^2 + F.

    Parameters
    ----------
    matrix : torch.Tensor
        (..., n, n), Hermitian.

    Raises
    ------
    ConfigurationError
        If it is not positive definite in this precision.
    """
    try:
        return torch.linalg.cholesky(matrix)
    except torch.linalg.LinAlgError:
        raise ConfigurationError(
            "the posterior's precision cannot be factored: noise_std is too small, or the data are "
            "too large, for the precision of the numbers: expected a noise_std measured from the "
            "scan; give the data in double precision, or check their scale"
        ) from None
