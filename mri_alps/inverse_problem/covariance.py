"""The posterior under a Gaussian prior, by solving: S^-1 = (A^H A / noise_std^2 + F)^-1.

A Langevin step needs S^-1 drift and noise of covariance S^-1; a guided step needs a draw of the
clean image, of the same form with the prior's covariance given a noisy image in the place of
F^-1. Both come from one solution: S^-1 (drift + p) with p of covariance S, that is
A^H n / noise_std + F^(1/2) n' (perturb and solve). Small images are solved by dense factors, all
others by preconditioned conjugate gradients: one road, of the same exactness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from mri_alps.core import devices
from mri_alps.core.solvers import cholesky_factor, inner_product
from mri_alps.inverse_problem._iteration_plan import IterationPlan
from mri_alps.inverse_problem.preconditioner import (
    WIDE,
    Inverse,
    Preconditioner,
    make_preconditioner,
    to_image,
    to_spectrum,
)
from mri_alps.inverse_problem.unseen import find_unseen

if TYPE_CHECKING:
    from mri_alps.inverse_problem.noise import ChainNoise
    from mri_alps.inverse_problem.problem import Problem

DENSE_LIMIT = 2048
"""Images of up to so many pixels are solved by dense factors."""
TOLERANCE = 1e-3
"""Energy of the solver's remaining error, in squared standard deviations per real value, the
preconditioner taken for the covariance."""
FINAL_TOLERANCE = 1e-4
"""The same where no later step corrects the error."""
START_ITERATIONS = 6
"""Most iterations above `handover`, where guided diffusion approximates more than the solver."""
RELAXED = 5
"""How much larger that energy may be where noise added next hides the error."""
HIDDEN = 1e-4
"""Energy of an error that is hidden, over that of the noise added next."""


class Solution(NamedTuple):
    """Of S x = target.

    Attributes
    ----------
    x, explained : torch.Tensor
        Spectra of the solution and of A^H A / noise_std^2 times it, (n, *domain_shape).
    n_normals : int
        Applications of A^H A that it took.
    unsolved : torch.Tensor
        () how many chains' errors are above the tolerance still, left on the device.
    """

    x: torch.Tensor
    explained: torch.Tensor
    n_normals: int
    unsolved: torch.Tensor


@dataclass(frozen=True)
class CovarianceAtLevel(ABC):
    """S^-1 at one F and noise level, for chains (n, *domain_shape).

    Attributes
    ----------
    problem : Problem
        The data term.
    fisher : torch.Tensor
        F, (*image_shape), positive, in the order of torch.fft.
    noise_std : torch.Tensor
        Per real component, () or (B, 1, ...).
    """

    problem: Problem
    fisher: torch.Tensor
    noise_std: torch.Tensor

    @abstractmethod
    def solve(
        self, target: torch.Tensor, near: Solution | None = None, added: float = 0.0
    ) -> Solution:
        """Solve S x = target.

        Parameters
        ----------
        target : torch.Tensor
            Spectrum, (n, *domain_shape).
        near : Solution, optional
            Where to start, at the same noise level; zero if left out.
        added : float
            Variance per real component of noise that will be added to x and hides errors.
        """

    def started_at(self, image: torch.Tensor) -> Solution:
        """Return an image as what `solve` starts near, (n, *domain_shape)."""
        nothing = torch.zeros((), device=image.device)
        return Solution(to_spectrum(image, self.problem), self.explained(image), 0, nothing)

    def perturbation(self, noise: torch.Tensor) -> torch.Tensor:
        """Return the spectrum of noise of covariance S.

        Parameters
        ----------
        noise : torch.Tensor
            (2, n, *domain_shape) from `PosteriorCovariance.draw`, or a combination.
        """
        data, prior = noise
        spectrum = to_spectrum(data / self.noise_std, self.problem)
        return spectrum.add_(to_spectrum(prior, self.problem).mul_(self.fisher.sqrt()))

    def explained(self, image: torch.Tensor) -> torch.Tensor:
        """Return the spectrum of A^H A / noise_std^2 times images."""
        return to_spectrum(self.problem.normal(image) / self.noise_std**2, self.problem)


class PosteriorCovariance(ABC):
    """S^-1 at any level.

    Attributes
    ----------
    exact : bool
        Whether it is solved by dense factors.
    n_setup : int
        Applications of A^H A that the set-up took.
    """

    exact = False
    n_setup = 0

    def __init__(self, problem: Problem):
        self.problem = problem

    @abstractmethod
    def at(
        self,
        fisher: torch.Tensor,
        noise_std: torch.Tensor,
        tolerance: float = TOLERANCE,
        most: int | None = None,
        wide: bool | None = None,
    ) -> CovarianceAtLevel:
        """Return S^-1 at a level: a new object.

        Parameters
        ----------
        fisher : torch.Tensor
            F, (*image_shape), positive, centred.
        noise_std : torch.Tensor
            Per real component, () or (B, 1, ...).
        tolerance : float
            See `TOLERANCE`.
        most : int, optional
            Most iterations of a solution that may be inexact; it then does not count as unsolved.
        wide : bool, optional
            What `is_wide` says of `fisher`, which is read for it if left out.
        """

    def draw(self, noise: ChainNoise) -> torch.Tensor:
        """Draw what perturbs a solution at any level, (2, n, *domain_shape).

        Parameters
        ----------
        noise : ChainNoise
            The chains' randomness.
        """
        return torch.stack([self.problem.adjoint(noise.data()), noise.image()])

    def _prepared(self, fisher: torch.Tensor) -> torch.Tensor:
        problem = self.problem
        fisher = torch.fft.ifftshift(fisher, dim=problem.dims)
        return fisher.to(problem.device, problem.noise_std.dtype)


def is_wide(values: torch.Tensor) -> bool:
    """Whether F, or its inverse, varies so much that bands pay.

    Parameters
    ----------
    values : torch.Tensor
        Positive, of any shape.
    """
    return bool(values.max() > WIDE * values.min())


def make_covariance(problem: Problem, dense_limit: int = DENSE_LIMIT) -> PosteriorCovariance:
    """Return the posterior covariance of a problem, dense where that is affordable.

    Parameters
    ----------
    problem : Problem
        The data term.
    dense_limit : int
        Largest number of pixels that is treated densely.
    """
    if torch.Size(problem.image_shape).numel() <= dense_limit:
        return DenseCovariance(problem)
    return SolvedCovariance(problem)


class DenseCovariance(PosteriorCovariance):
    """By Cholesky factors of dense matrices: for small images.

    Parameters
    ----------
    problem : Problem
        The data term.
    """

    exact = True

    def __init__(self, problem: Problem):
        super().__init__(problem)
        n = self.n_setup = int(torch.Size(problem.image_shape).numel())
        basis = torch.eye(n, dtype=problem.dtype, device=problem.device)
        images = self._basis = basis.reshape(n, *problem.image_shape)
        if problem.n_slices is not None:
            images = images.unsqueeze(1).expand(n, *problem.domain_shape).contiguous()
        columns = problem.normal(images).reshape(n, -1, n)
        self._gram = columns.permute(1, 2, 0)  # (slices, row, column)

    def at(
        self,
        fisher: torch.Tensor,
        noise_std: torch.Tensor,
        tolerance: float = TOLERANCE,  # noqa: ARG002 - it is exact
        most: int | None = None,  # noqa: ARG002
        wide: bool | None = None,  # noqa: ARG002
    ) -> CovarianceAtLevel:
        """See `PosteriorCovariance`."""
        fisher, problem = self._prepared(fisher), self.problem
        rows = to_image(to_spectrum(self._basis, problem) * fisher, problem)
        prior = rows.reshape(len(rows), len(rows)).mT
        matrix = self._gram / noise_std.reshape(-1, 1, 1) ** 2 + prior
        factor = cholesky_factor((matrix + matrix.mH) / 2)
        return _DenseAtLevel(problem, fisher, noise_std, factor)


@dataclass(frozen=True)
class _DenseAtLevel(CovarianceAtLevel):
    factor: torch.Tensor

    def solve(
        self,
        target: torch.Tensor,
        near: Solution | None = None,  # noqa: ARG002 - it is exact from anywhere
        added: float = 0.0,  # noqa: ARG002
    ) -> Solution:
        n = self.factor.shape[-1]
        image = to_image(target, self.problem)
        columns = image.reshape(len(target), -1, n).permute(1, 2, 0)
        solution = torch.cholesky_solve(columns, self.factor).permute(2, 0, 1)
        x = to_spectrum(solution.reshape(image.shape), self.problem)
        return Solution(x, target - x * self.fisher, 0, torch.zeros((), device=target.device))


class SolvedCovariance(PosteriorCovariance):
    """By preconditioned conjugate gradients.

    Parameters
    ----------
    problem : Problem
        The data term.
    preconditioner : Preconditioner, optional
        Of the equations; `make_preconditioner` chooses one that pays over many solutions.
    """

    def __init__(self, problem: Problem, preconditioner: Preconditioner | None = None):
        super().__init__(problem)
        self.preconditioner: Preconditioner = preconditioner or make_preconditioner(problem)
        self._unseen = find_unseen(problem)
        self._plans: dict[float, IterationPlan] = {}

    def draw(self, noise: ChainNoise) -> torch.Tensor:
        """See `PosteriorCovariance`."""
        return torch.stack([self.preconditioner.data_noise(noise), noise.image()])

    def at(
        self,
        fisher: torch.Tensor,
        noise_std: torch.Tensor,
        tolerance: float = TOLERANCE,
        most: int | None = None,
        wide: bool | None = None,
    ) -> CovarianceAtLevel:
        """See `PosteriorCovariance`."""
        wide = is_wide(fisher) if wide is None else wide
        prepared = self._prepared(fisher)
        inverse = self.preconditioner.at(prepared, noise_std, wide)
        if wide and self._unseen is not None:
            inverse = self._unseen.around(inverse, prepared)
        tolerance = tolerance / self.preconditioner.understates
        plan = IterationPlan(self.preconditioner.max_iterations)
        plan = self._plans.setdefault(tolerance, plan)
        return _SolvedAtLevel(self.problem, prepared, noise_std, inverse, tolerance, plan, most)


@dataclass(frozen=True)
class _SolvedAtLevel(CovarianceAtLevel):
    """On the CPU iterations stop when all chains are solved.

    On a device, which would run dry if the host asked, their number is planned by
    `IterationPlan`; those beyond what is needed change nothing.
    """

    inverse: Inverse
    tolerance: float
    plan: IterationPlan
    most: int | None

    def solve(
        self, target: torch.Tensor, near: Solution | None = None, added: float = 0.0
    ) -> Solution:
        """See `CovarianceAtLevel`.

        All are spectra, which saves transforms. A chain that is solved waits for the others: its
        solution must not depend on them.
        """
        if near is None:
            x, residual = torch.zeros_like(target), target.clone()
        else:
            x, residual = near.x.clone(), target - near.explained - near.x * self.fisher
        direction = preconditioned = self.inverse(residual)
        energy = self._inner(residual, preconditioned)
        unsolved = self._is_unsolved(energy, preconditioned, added)
        on_device = not devices.runs_on_host(residual)
        needed = torch.zeros((), dtype=torch.long, device=unsolved.device)
        limit = self.plan.n_iterations() if on_device else self.plan.allowed
        limit = limit if self.most is None else min(limit, self.most)
        n_iterations = 0
        while n_iterations < limit:
            active = unsolved & (energy > 0)  # beyond, rounding has won, and steps lead away
            if on_device:
                needed += active.any()
            elif not bool(active.any()):
                break
            image = to_image(direction, self.problem)
            response = self.explained(image).add_(direction * self.fisher)
            step = energy / self._inner(direction, response).clamp_min(1e-30)
            step = torch.where(active, step, torch.zeros_like(step)).to(x.dtype)
            x.addcmul_(step, direction)
            residual.addcmul_(step, response, value=-1)
            preconditioned = self.inverse(residual)
            previous, energy = energy, self._inner(residual, preconditioned)
            ratio = torch.where(
                active, energy / previous.clamp_min(1e-30), torch.zeros_like(energy)
            )
            ratio = ratio.to(x.dtype)
            direction = torch.addcmul(preconditioned, ratio, direction)
            unsolved = unsolved & self._is_unsolved(energy, preconditioned, added)
            n_iterations += 1
        if self.most is not None:
            unsolved = torch.zeros_like(unsolved)
        elif on_device:
            self.plan.record(needed, unsolved)
        explained = target - residual - x * self.fisher
        return Solution(x, explained, n_iterations, unsolved.sum())

    def _is_unsolved(
        self, energy: torch.Tensor, preconditioned: torch.Tensor, added: float
    ) -> torch.Tensor:
        """Tell by the error's energy, or by that and its size beside the noise added next.

        The error is near the preconditioned residual, and its energy near that of the residual.
        """
        n_values = self.problem.n_values
        energy = energy.abs()  # it is negative where rounding has won
        limit = self.tolerance * n_values
        large = self._inner(preconditioned, preconditioned) > HIDDEN * n_values * added
        return (energy > RELAXED * limit) | ((energy > limit) & large)

    def _inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Re <a, b> of the images whose spectra are given."""
        return inner_product(a, b, len(self.problem.image_shape)).real / self.problem.n_pixels
