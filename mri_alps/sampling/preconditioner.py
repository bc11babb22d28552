"""Approximate posterior covariances with an exact square root.

A preconditioned Langevin step needs M drift and noise of covariance M. With M = R R^H both come
from one application of R: R (R^H drift + noise). Solving with the posterior precision
S = A^H A / noise_std^2 + F by truncated conjugate gradients instead loses variance, and many
iterations; here M only has to be near S^-1, since Langevin dynamics samples S^-1 whatever M is.
F is the prior's Fisher information, diagonal in the Fourier domain.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from mri_alps.fourier import fftc
from mri_alps.priors.gaussian import apply_filter
from mri_alps.random import standard_normal
from mri_alps.sampling.problem import Problem

DENSE_LIMIT = 2048
"""Images of up to so many pixels are preconditioned by the exact S^-1."""
HANDOVER = 0.5
"""Guided diffusion hands over at this multiple of the images' root mean square."""
POWER_ITERATIONS = 12
SAFETY = 1.1


class Preconditioner(ABC):
    """M = R R^H near (A^H A / noise_std^2 + F)^-1 for chains (n, *domain_shape).

    Attributes
    ----------
    n_inner : int
        Inner Langevin steps that each evaluation of the score should be followed by: 1 where M
        is exact.
    data_variance : float
        How much of the smoothing's variance the likelihood should be widened by along an
        annealed path for M to stay near S^-1.
    handover : float
        Down to which level, relative to the prior's root mean square, diffusion guided by the
        data should take the annealed path's place; infinity for nowhere.
    fisher, noise_std : torch.Tensor
        The level's F (*image_shape) and noise.
    n_normals : int
        Applications of A^H A so far.
    """

    n_inner = 1
    data_variance = 0.0
    handover = math.inf

    def __init__(self, problem: Problem):
        self.problem = problem
        self.n_normals = 0
        self.fisher = torch.zeros(())
        self.noise_std = problem.noise_std

    def set_level(self, fisher: torch.Tensor, noise_std: torch.Tensor) -> None:
        """Fix F and the noise level for what follows.

        Parameters
        ----------
        fisher : torch.Tensor
            (*image_shape), positive, on the centred frequency grid.
        noise_std : torch.Tensor
            Per real component, () or (B, 1, ...).
        """
        self.fisher, self.noise_std = fisher, noise_std
        self._factor()

    @abstractmethod
    def _factor(self) -> None: ...

    @abstractmethod
    def root(self, z: torch.Tensor) -> torch.Tensor:
        """Return R z.

        Parameters
        ----------
        z : torch.Tensor
            (n, *domain_shape).
        """

    @abstractmethod
    def root_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """Return R^H z.

        Parameters
        ----------
        z : torch.Tensor
            (n, *domain_shape).
        """

    def apply(self, drift: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return M drift + M^(1/2) noise.

        Parameters
        ----------
        drift : torch.Tensor
            (n, *domain_shape).
        noise : torch.Tensor
            White, same shape.
        """
        return self.root(self.root_adjoint(drift) + noise)

    def precision(self, x: torch.Tensor) -> torch.Tensor:
        """Return S x = (A^H A / noise_std^2 + F) x.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        """
        self.n_normals += 1
        prior = apply_filter(x, self.fisher, self.problem.dims)
        return self.problem.operator.normal(x) / self.noise_std**2 + prior

    def largest_eigenvalue(self) -> float:
        """Largest eigenvalue of R^H S R, which decides what steps are stable; 1 if exact.

        By power iteration on A^H A, without the score, over all slices at once, with a margin
        for what the iteration leaves.
        """
        generator = torch.Generator(device=self.problem.device).manual_seed(0)
        shape = (1, *self.problem.domain_shape)
        z = standard_normal(shape, generator, self.problem.dtype)
        value = torch.ones(())
        for _ in range(POWER_ITERATIONS):
            z = z / z.abs().square().sum().sqrt()
            z = self.root_adjoint(self.precision(self.root(z)))
            value = z.abs().square().sum().sqrt()
        return SAFETY * float(value)


class DensePreconditioner(Preconditioner):
    """M = S^-1 exactly, by Cholesky factors of dense matrices: for small images."""

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self._n = int(torch.Size(problem.image_shape).numel())
        basis = torch.eye(self._n, dtype=problem.dtype, device=problem.device)
        self._basis = basis.reshape(self._n, *problem.image_shape)
        images = self._basis
        if problem.n_slices is not None:
            images = images.unsqueeze(1).expand(self._n, *problem.domain_shape).contiguous()
        columns = problem.operator.normal(images).reshape(self._n, -1, self._n)
        self.n_normals += self._n
        self._gram = columns.permute(1, 2, 0)  # (slices, row, column)
        self._cholesky = self._gram

    def _factor(self) -> None:
        rows = apply_filter(self._basis, self.fisher, self.problem.dims)
        prior = rows.reshape(self._n, self._n).mT
        matrix = self._gram / self.noise_std.reshape(-1, 1, 1) ** 2 + prior
        self._cholesky = torch.linalg.cholesky((matrix + matrix.mH) / 2)

    def root(self, z: torch.Tensor) -> torch.Tensor:
        """R z with R = L^-H, S = L L^H."""
        return self._solve(self._cholesky.mH, z, upper=True)

    def root_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """R^H z = L^-1 z."""
        return self._solve(self._cholesky, z, upper=False)

    def largest_eigenvalue(self) -> float:
        """One: M is exact."""
        return 1.0

    def _solve(self, factor: torch.Tensor, z: torch.Tensor, upper: bool) -> torch.Tensor:
        columns = z.reshape(len(z), -1, self._n).permute(1, 2, 0)
        solution = torch.linalg.solve_triangular(factor, columns, upper=upper)
        return solution.permute(2, 0, 1).reshape(z.shape)


class FourierPreconditioner(Preconditioner):
    """M diagonal in the Fourier domain: for operators of which nothing else is known."""

    n_inner = 4
    data_variance = 0.3
    handover = HANDOVER

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self._diagonal = fourier_diagonal(problem)
        self._root = self._diagonal

    def _factor(self) -> None:
        self._root = (self._diagonal / self.noise_std**2 + self.fisher).rsqrt()

    def root(self, z: torch.Tensor) -> torch.Tensor:
        """R z with R = (diag(A^H A) / noise_std^2 + F)^(-1/2) in the Fourier domain."""
        return apply_filter(z, self._root, self.problem.dims)

    def root_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """The same: R is Hermitian."""
        return self.root(z)


class LinePreconditioner(Preconditioner):
    """M = D U (L / noise_std^2 + f)^-1 U^H D for masks of whole lines.

    There A^H A couples only the pixels of one image line: each line has a small dense matrix
    B = U L U^H, decomposed once for all levels. D, diagonal in the Fourier domain, corrects
    for f being one number where F depends on the frequency.

    Parameters
    ----------
    problem : Problem
        Whose operator has `line_normal_matrices()`.
    matrices : torch.Tensor
        (*slices, lines, n, n), Hermitian.
    axis : int
        Image axis along which the lines run, -1 or -2.
    """

    n_inner = 2
    handover = HANDOVER

    def __init__(self, problem: Problem, matrices: torch.Tensor, axis: int):
        super().__init__(problem)
        self._axis = axis
        self._values, self._vectors = torch.linalg.eigh(matrices)
        # Stored without lazy conjugation or transposition: a product would copy them each time.
        self._vectors = self._vectors.contiguous()
        self._vectors_adjoint = self._vectors.mH.resolve_conj().contiguous()
        self._diagonal = fourier_diagonal(problem)
        self._correction = self._line_root = self._diagonal

    def _factor(self) -> None:
        flat = self.fisher.log().mean().exp()
        per_line = self.noise_std.reshape(-1, *[1] * 2) if self.noise_std.ndim else self.noise_std
        self._line_root = (self._values.clamp_min(0) / per_line**2 + flat).rsqrt().unsqueeze(-1)
        data = self._diagonal / self.noise_std**2
        self._correction = ((data + flat) / (data + self.fisher)).sqrt()

    def root(self, z: torch.Tensor) -> torch.Tensor:
        """R z with R = D U (L / noise_std^2 + f)^(-1/2)."""
        lines = _adjoint_product(self._vectors_adjoint, self._line_root * self._to_lines(z))
        return apply_filter(self._from_lines(lines, z), self._correction, self.problem.dims)

    def root_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """R^H z = (L / noise_std^2 + f)^(-1/2) U^H D z."""
        filtered = apply_filter(z, self._correction, self.problem.dims)
        lines = self._line_root * _adjoint_product(self._vectors, self._to_lines(filtered))
        return self._from_lines(lines, z)

    def _to_lines(self, z: torch.Tensor) -> torch.Tensor:
        """(n, *slices, H, W) to (*slices, lines, pixels, n): one matrix product per line."""
        return z.transpose(-1, self._axis).movedim(0, -1)

    def _from_lines(self, lines: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return lines.movedim(-1, 0).transpose(-1, self._axis).reshape(like.shape)


def _adjoint_product(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Return matrices^H @ vectors, as rows times matrices: they are read once, in order."""
    return (vectors.mH.resolve_conj() @ matrices).mH


def make_preconditioner(problem: Problem, dense_limit: int = DENSE_LIMIT) -> Preconditioner:
    """Choose what the operator allows: exact, per line, or diagonal in the Fourier domain.

    Parameters
    ----------
    problem : Problem
        The data term. Its operator may offer `line_normal_matrices()`, which returns matrices
        and axis for `LinePreconditioner`, or None.
    dense_limit : int
        Largest number of pixels that is treated densely.
    """
    if torch.Size(problem.image_shape).numel() <= dense_limit:
        return DensePreconditioner(problem)
    offer: Callable[[], tuple[torch.Tensor, int] | None] | None = getattr(
        problem.operator, "line_normal_matrices", None
    )
    lines = offer() if offer is not None else None
    if lines is not None:
        return LinePreconditioner(problem, *lines)
    return FourierPreconditioner(problem)


def fourier_diagonal(problem: Problem, n_probes: int = 16) -> torch.Tensor:
    """Diagonal of A^H A in the Fourier basis, (*domain_shape), real, not negative.

    Taken from the operator's `normal_fourier_diagonal()` where it has one, otherwise estimated
    from the response to random signs, z^H A^H A z (Hutchinson's estimator).

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
        response = problem.operator.normal(probe[None])[0].to(torch.complex128)
        spectrum = fftc(probe.to(torch.complex128), problem.dims)
        total += (spectrum.conj() * fftc(response, problem.dims)).real
    return (total / n_probes).clamp_min(0).to(problem.noise_std.dtype)
