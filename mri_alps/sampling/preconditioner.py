"""The posterior precision A^H A / noise_std^2 + F and systems with it.

F is diagonal in the Fourier domain: the prior's Fisher information. Drift and noise of a
preconditioned Langevin step share one solve with this matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mri_alps.fourier import fftc
from mri_alps.priors.gaussian import apply_filter
from mri_alps.sampling.problem import Problem
from mri_alps.solvers import conjugate_gradient

DENSE_LIMIT = 1024
"""Images of up to so many pixels are solved by Cholesky factors, larger ones iteratively."""


class Preconditioner:
    """Solves (A^H A / noise_std^2 + F) z = rhs for chains (n, *domain_shape).

    Small problems use a dense Cholesky factor and are exact; larger ones use conjugate
    gradients to a relative residual, preconditioned by the diagonal in the Fourier domain.

    Parameters
    ----------
    problem : Problem
        The data term.
    tolerance : float
        Relative residual of the iterative solver.
    max_iterations : int
        Its limit.
    dense_limit : int
        Largest number of pixels that is solved densely.

    Attributes
    ----------
    n_solves, n_applications : int
        Counted since construction: solves, and applications of `normal` within them.
    worst_residual : float
        Largest relative residual left by any solve.
    """

    def __init__(
        self,
        problem: Problem,
        tolerance: float = 1e-3,
        max_iterations: int = 200,
        dense_limit: int = DENSE_LIMIT,
    ):
        self._problem = problem
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.n_solves = self.n_applications = 0
        self.worst_residual = 0.0
        n_pixels = int(torch.Size(problem.image_shape).numel())
        self._dense = _DenseGram(problem) if n_pixels <= dense_limit else None
        self._diagonal = None if self._dense else fourier_diagonal(problem)
        self._factor: torch.Tensor | None = None
        self._fisher = torch.zeros(())
        self._noise_std = problem.noise_std

    def set_level(self, fisher: torch.Tensor, noise_std: torch.Tensor) -> None:
        """Fix F and the noise level for the solves that follow.

        Parameters
        ----------
        fisher : torch.Tensor
            (*image_shape), positive, on the centred frequency grid.
        noise_std : torch.Tensor
            Per real component, () or (B, 1, ...).
        """
        self._fisher, self._noise_std = fisher, noise_std
        if self._dense:
            self._factor = self._dense.factor(fisher, noise_std)

    def solve(self, rhs: torch.Tensor) -> torch.Tensor:
        """Return (A^H A / noise_std^2 + F)^-1 rhs.

        Parameters
        ----------
        rhs : torch.Tensor
            (n, *domain_shape).
        """
        self.n_solves += 1
        if self._dense:
            assert self._factor is not None
            return self._dense.solve(self._factor, rhs)
        dims, normal = self._problem.dims, self._problem.operator.normal
        inverse_variance = 1 / self._noise_std**2
        assert self._diagonal is not None
        inverse_diagonal = 1 / (self._diagonal * inverse_variance + self._fisher)

        def apply(z: torch.Tensor) -> torch.Tensor:
            return normal(z) * inverse_variance + apply_filter(z, self._fisher, dims)

        def precondition(z: torch.Tensor) -> torch.Tensor:
            return apply_filter(z, inverse_diagonal, dims)

        solution = conjugate_gradient(
            apply,
            rhs,
            dims,
            precondition=precondition,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            check_every=1 if rhs.device.type == "cpu" else 5,
        )
        self.n_applications += solution.n_applications
        self.worst_residual = max(self.worst_residual, float(solution.residual.max()))
        return solution.x

    def noise_right_hand_side(
        self, data_noise: torch.Tensor, image_noise: torch.Tensor
    ) -> torch.Tensor:
        """Noise whose covariance is the precision itself: A^H n1 / noise_std + F^(1/2) n2.

        Solving with it gives noise of covariance (A^H A / noise_std^2 + F)^-1
        (perturb-and-solve).

        Parameters
        ----------
        data_noise : torch.Tensor
            n1, unit variance, (n, *data.shape).
        image_noise : torch.Tensor
            n2, unit variance, (n, *domain_shape).
        """
        projected = self._problem.operator.adjoint(data_noise) / self._noise_std
        return projected + apply_filter(image_noise, self._fisher.sqrt(), self._problem.dims)


class _DenseGram:
    """A^H A as a matrix, for small images."""

    def __init__(self, problem: Problem):
        self._problem = problem
        self._n = int(torch.Size(problem.image_shape).numel())
        slices = problem.n_slices or 1
        basis = torch.eye(self._n, dtype=problem.dtype, device=problem.device)
        self._basis = basis.reshape(self._n, *problem.image_shape)
        images = self._basis
        if problem.n_slices is not None:
            images = images.unsqueeze(1).expand(self._n, *problem.domain_shape).contiguous()
        columns = problem.operator.normal(images).reshape(self._n, slices, self._n)
        self._gram = columns.permute(1, 2, 0)  # (slices, row, column)

    def factor(self, fisher: torch.Tensor, noise_std: torch.Tensor) -> torch.Tensor:
        rows = apply_filter(self._basis, fisher, self._problem.dims)
        prior = rows.reshape(self._n, self._n).mT
        matrix = self._gram / noise_std.reshape(-1, 1, 1) ** 2 + prior
        return torch.linalg.cholesky((matrix + matrix.mH) / 2)

    def solve(self, factor: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
        columns = rhs.reshape(len(rhs), -1, self._n).permute(1, 2, 0)
        solution = torch.cholesky_solve(columns, factor)
        return solution.permute(2, 0, 1).reshape(rhs.shape)


def fourier_diagonal(problem: Problem, n_probes: int = 16) -> torch.Tensor:
    """Diagonal of A^H A in the Fourier basis, (*domain_shape), real, not negative.

    Taken from the operator's `normal_fourier_diagonal()` where it has one, otherwise estimated
    from the response to random phases, z^H A^H A z (Hutchinson's estimator).

    Parameters
    ----------
    problem : Problem
        Holds the operator.
    n_probes : int
        Number of random images.
    """
    exact: Callable[[], torch.Tensor] | None = getattr(
        problem.operator, "normal_fourier_diagonal", None
    )
    if exact is not None:
        return exact().to(problem.noise_std.dtype)
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(problem.domain_shape, dtype=torch.float64, device=problem.device)
    for _ in range(n_probes):
        signs = torch.randint(0, 2, problem.domain_shape, generator=generator) * 2.0 - 1
        probe = signs.to(device=problem.device, dtype=problem.dtype)
        response = problem.operator.normal(probe[None])[0]
        as_complex = torch.complex128
        spectrum = fftc(probe.to(as_complex), problem.dims)
        total += (spectrum.conj() * fftc(response.to(as_complex), problem.dims)).real
    return (total / n_probes).clamp_min(0).to(problem.noise_std.dtype)
