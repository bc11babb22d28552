"""Conjugate gradients for many right-hand sides at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

Apply = Callable[[torch.Tensor], torch.Tensor]


class Solution(NamedTuple):
    """What `conjugate_gradient` found.

    Attributes
    ----------
    x : torch.Tensor
        The solution, shape of the right-hand side.
    n_applications : int
        How often the matrix was applied.
    residual : torch.Tensor
        Relative residual of each system, float64.
    """

    x: torch.Tensor
    n_applications: int
    residual: torch.Tensor


def conjugate_gradient(
    apply: Apply,
    rhs: torch.Tensor,
    dims: Sequence[int],
    start: torch.Tensor | None = None,
    precondition: Apply | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 200,
    check_every: int = 1,
) -> Solution:
    """Solve Hermitian positive definite systems, each on its own.

    Every system keeps its own step lengths and stops at its own residual; a system that has
    converged is left alone while others go on, so no solution depends on its neighbours.

    Parameters
    ----------
    apply : callable
        The matrix, applied to a tensor shaped as `rhs`.
    rhs : torch.Tensor
        Right-hand sides; `dims` are the axes of one system, the others count systems.
    dims : sequence of int
        Negative axes of one system.
    start : torch.Tensor, optional
        First guess; zero if left out.
    precondition : callable, optional
        Approximate inverse, Hermitian positive definite.
    tolerance : float
        Stop at |rhs - A x| <= tolerance |rhs|.
    max_iterations : int
        Stop at the latest after so many applications of the matrix.
    check_every : int
        Look only at every so many-th iteration whether all have converged: looking makes a
        GPU wait for the host. The result does not depend on it.

    Returns
    -------
    Solution
        The solutions, with the largest relative residual among them.
    """
    dims = tuple(dims)
    applications = 0
    if start is None:
        x, residual = torch.zeros_like(rhs), rhs.clone()
    else:
        x, residual = start.clone(), rhs - apply(start)
        applications += 1
    target = tolerance**2 * _norm2(rhs, dims)
    z = residual if precondition is None else precondition(residual)
    direction = z.clone()
    rho = _inner(residual, z, dims)
    for iteration in range(max_iterations):
        active = _norm2(residual, dims) > target
        if iteration % check_every == 0 and not bool(active.any()):
            break
        product = apply(direction)
        applications += 1
        curvature = _inner(direction, product, dims)
        step = torch.where(active & (curvature > 0), rho / curvature, torch.zeros_like(rho))
        x.addcmul_(direction, step.to(x.dtype))
        residual.addcmul_(product, step.to(x.dtype), value=-1)
        z = residual if precondition is None else precondition(residual)
        new = _inner(residual, z, dims)
        ratio = torch.where(active & (rho > 0), new / rho, torch.zeros_like(rho))
        direction = torch.where(active, z + ratio.to(x.dtype) * direction, direction)
        rho = torch.where(active, new, rho)
    scale = _norm2(rhs, dims).double().clamp_min(1e-300)
    return Solution(x, applications, (_norm2(residual, dims).double() / scale).sqrt())


def _inner(a: torch.Tensor, b: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    return (a.conj() * b).real.sum(dims, keepdim=True)


def _norm2(a: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    return (a.real.square() + a.imag.square() if a.is_complex() else a.square()).sum(
        dims, keepdim=True
    )
