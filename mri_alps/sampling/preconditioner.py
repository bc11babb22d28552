"""Approximate posterior covariances with an exact square root.

A preconditioned Langevin step needs M drift and noise of covariance M. With M = R R^H both come
from one application of R: R (R^H drift + noise). Solving with the posterior precision
S = A^H A / noise_std^2 + F by truncated conjugate gradients instead loses variance, and many
iterations; here M only has to be near S^-1, since Langevin dynamics samples S^-1 whatever M is.
F is the prior's Fisher information, diagonal in the Fourier domain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from mri_alps.core.fourier import fftc, multiply_spectrum
from mri_alps.priors.gaussian import apply_filter

if TYPE_CHECKING:
    from mri_alps.operators.lines.factors import LineFactors
    from mri_alps.sampling.noise import ChainNoise
    from mri_alps.sampling.problem import Problem

DENSE_LIMIT = 2048
"""Images of up to so many pixels are preconditioned by the exact S^-1."""


class Preconditioner(ABC):
    """M = R R^H near (A^H A / noise_std^2 + F)^-1 for chains (n, *domain_shape).

    Attributes
    ----------
    exact : bool
        Whether M is S^-1.
    fisher, noise_std, weight : torch.Tensor
        The level's F (*image_shape), noise, and 1 / noise_std^2.
    n_normals : int
        Applications of A^H A so far.
    """

    exact = False

    def __init__(self, problem: Problem):
        self.problem = problem
        self.n_normals = 0
        self.fisher = self.shifted_fisher = torch.zeros(())
        self.noise_std = problem.noise_std
        self.weight = 1 / problem.noise_std**2

    def set_level(self, fisher: torch.Tensor, noise_std: torch.Tensor) -> None:
        """Fix F and the noise level for what follows.

        Parameters
        ----------
        fisher : torch.Tensor
            (*image_shape), positive, on the centred frequency grid.
        noise_std : torch.Tensor
            Per real component, () or (B, 1, ...).
        """
        self.fisher, self.noise_std, self.weight = fisher, noise_std, 1 / noise_std**2
        # In the order of torch.fft: shifted once, not at each application.
        self.shifted_fisher = torch.fft.ifftshift(fisher, dim=self.problem.dims)
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

    def apply(self, drift: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """Return M drift + M^(1/2) noise.

        Parameters
        ----------
        drift : torch.Tensor
            (n, *domain_shape).
        noise : torch.Tensor or None
            White, same shape; none is added if left out.
        """
        coefficients = self.root_adjoint(drift)
        return self.root(coefficients if noise is None else coefficients + noise)

    def spectrum(self, x: torch.Tensor) -> torch.Tensor:
        """Return the Fourier transform of images, unshifted and not normalised.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        """
        return torch.fft.fftn(x, dim=self.problem.dims)

    def image(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the images of spectra.

        Parameters
        ----------
        spectrum : torch.Tensor
            (n, *domain_shape), from `spectrum`.
        """
        found = torch.fft.ifftn(spectrum, dim=self.problem.dims)
        return found if self.problem.dtype.is_complex else found.real

    def apply_to_spectrum(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the spectrum of M drift, for solvers that stay in the Fourier domain.

        Parameters
        ----------
        spectrum : torch.Tensor
            That of a drift, (n, *domain_shape).
        """
        return self.spectrum(self.apply(self.image(spectrum), None))

    def precision_of_spectrum(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the spectrum of S x.

        Parameters
        ----------
        spectrum : torch.Tensor
            That of x, (n, *domain_shape).
        """
        explained = self.spectrum(self.normal(self.image(spectrum)).mul_(self.weight))
        return explained.add_(spectrum * self.shifted_fisher)

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x, counted.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        """
        self.n_normals += 1
        return self.problem.normal(x)

    def prior_precision(self, x: torch.Tensor) -> torch.Tensor:
        """Return F x.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        """
        return multiply_spectrum(x, self.shifted_fisher, self.problem.dims)

    def precision(self, x: torch.Tensor) -> torch.Tensor:
        """Return S x = (A^H A / noise_std^2 + F) x.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        """
        return self.normal(x).mul_(self.weight).add_(self.prior_precision(x))

    def data_noise(self, noise: ChainNoise) -> torch.Tensor:
        """Draw noise of the covariance A^H A / noise_std^2, that of the data's gradient.

        Parameters
        ----------
        noise : ChainNoise
            The chains' randomness.
        """
        return self.problem.adjoint(noise.data()) / self.noise_std

    def draw(self, noise: ChainNoise) -> torch.Tensor:
        """Draw what `apply` takes for noise.

        Parameters
        ----------
        noise : ChainNoise
            The chains' randomness.
        """
        return noise.image()


class DensePreconditioner(Preconditioner):
    """M = S^-1 exactly, by Cholesky factors of dense matrices: for small images."""

    exact = True

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self._n = int(torch.Size(problem.image_shape).numel())
        basis = torch.eye(self._n, dtype=problem.dtype, device=problem.device)
        self._basis = basis.reshape(self._n, *problem.image_shape)
        images = self._basis
        if problem.n_slices is not None:
            images = images.unsqueeze(1).expand(self._n, *problem.domain_shape).contiguous()
        columns = problem.normal(images).reshape(self._n, -1, self._n)
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

    def _solve(self, factor: torch.Tensor, z: torch.Tensor, upper: bool) -> torch.Tensor:
        columns = z.reshape(len(z), -1, self._n).permute(1, 2, 0)
        solution = torch.linalg.solve_triangular(factor, columns, upper=upper)
        return solution.permute(2, 0, 1).reshape(z.shape)


class FourierPreconditioner(Preconditioner):
    """M diagonal in the Fourier domain: for operators of which nothing else is known."""

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self._diagonal = fourier_diagonal(problem)
        self._root = self._diagonal

    def _factor(self) -> None:
        root = (self._diagonal / self.noise_std**2 + self.fisher).rsqrt()
        self._root = torch.fft.ifftshift(root, dim=self.problem.dims)

    def apply_to_spectrum(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the spectrum of M drift: M is diagonal there."""
        return spectrum * self._root**2

    def root(self, z: torch.Tensor) -> torch.Tensor:
        """R z with R = (diag(A^H A) / noise_std^2 + F)^(-1/2) in the Fourier domain."""
        return multiply_spectrum(z, self._root, self.problem.dims)

    def root_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """The same: R is Hermitian."""
        return self.root(z)


class LinePreconditioner(Preconditioner):
    """M = D U (L / noise_std^2 + f)^-1 U^H D for masks of whole lines.

    There A^H A couples only the pixels of one image line: each line has a small dense matrix
    U L U^H, decomposed once for all levels. D, diagonal in the Fourier domain, corrects for f
    being one number where F depends on the frequency.

    Parameters
    ----------
    problem : Problem
        Whose operator has `line_factors()`.
    factors : LineFactors
        What that returned.
    """

    def __init__(self, problem: Problem, factors: LineFactors):
        super().__init__(problem)
        self._factors = factors
        diagonal = fourier_diagonal(problem)
        self._diagonal = torch.fft.ifftshift(diagonal, dim=problem.dims)
        self._correction = self._diagonal
        self._squares = self._roots = factors.values
        self._outside = (self.noise_std, self.noise_std)

    def _factor(self) -> None:
        flat = self.fisher.log().mean().exp()
        self._squares = 1 / (self._factors.values / self._per_value(self.noise_std) ** 2 + flat)
        self._roots = self._squares.sqrt()
        self._outside = (1 / flat, flat.rsqrt())
        data = self._diagonal / self.noise_std**2
        self._correction = ((data + flat) / (data + self.shifted_fisher)).sqrt()

    def _per_value(self, noise_std: torch.Tensor) -> torch.Tensor:
        """One value for all eigenvalues, or that of each one's slice."""
        return noise_std.flatten()[self._factors.slice_of_value] if noise_std.ndim else noise_std

    def _correct(self, z: torch.Tensor) -> torch.Tensor:
        return multiply_spectrum(z, self._correction, self.problem.dims)

    def root(self, z: torch.Tensor) -> torch.Tensor:
        """R z with R = D U (L / noise_std^2 + f)^(-1/2) U^H, whatever basis U is."""
        return self._correct(self._weigh(z, self._roots, self._outside[1]))

    def root_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """R^H z = U (L / noise_std^2 + f)^(-1/2) U^H D z."""
        return self._weigh(self._correct(z), self._roots, self._outside[1])

    def _weigh(self, z: torch.Tensor, weights: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
        return self._factors.filter(z, None, weights, weights, (outside, outside))

    def apply(self, drift: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """Return M drift + R noise, reading U once."""
        found = self._factors.filter(
            self._correct(drift), noise, self._squares, self._roots, self._outside
        )
        return self._correct(found)

    def apply_to_spectrum(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the spectrum of M drift: two transforms instead of six."""
        drift = self.image(spectrum * self._correction)
        found = self._factors.filter(drift, None, self._squares, self._roots, self._outside)
        return self.spectrum(found).mul_(self._correction)

    def data_noise(self, noise: ChainNoise) -> torch.Tensor:
        """Draw U L^(1/2) U^H z / noise_std: less work than noise of all coils."""
        weights = self._factors.values.sqrt() / self._per_value(self.noise_std)
        nothing = torch.zeros_like(self._outside[0])
        return self._weigh(noise.image(), weights, nothing)


def make_preconditioner(problem: Problem, dense_limit: int = DENSE_LIMIT) -> Preconditioner:
    """Choose what the operator allows: exact, per line, or diagonal in the Fourier domain.

    Parameters
    ----------
    problem : Problem
        The data term. Its operator may offer `line_factors()`, which returns a
        `mri_alps.operators.lines.factors.LineFactors`, or None.
    dense_limit : int
        Largest number of pixels that is treated densely.
    """
    if torch.Size(problem.image_shape).numel() <= dense_limit:
        return DensePreconditioner(problem)
    offer: Callable[[], LineFactors | None] | None = getattr(problem.operator, "line_factors", None)
    factors = offer() if offer is not None else None
    if factors is not None:
        return LinePreconditioner(problem, factors)
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
        response = problem.normal(probe[None])[0].to(torch.complex128)
        spectrum = fftc(probe.to(torch.complex128), problem.dims)
        total += (spectrum.conj() * fftc(response, problem.dims)).real
    return (total / n_probes).clamp_min(0).to(problem.noise_std.dtype)
