"""The posterior's covariance under a Gaussian prior, applied by solving, and noise that has it.

A Langevin step needs M drift and noise of covariance M. M = S^-1 = (A^H A / noise_std^2 + F)^-1
takes the same step whatever the operator. Where only some M near S^-1 can be applied, both come
from one solution: S^-1 (drift + p) with p of covariance S, that is A^H n / noise_std + F^(1/2) n'
(perturb and solve). A cheap M instead mixes more slowly, and inner steps that leave the score
linear between evaluations lose up to half the variance wherever the prior is wider than F says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mri_alps.core import devices
from mri_alps.core.solvers import inner_product
from mri_alps.sampling.iteration_plan import IterationPlan

if TYPE_CHECKING:
    from mri_alps.sampling.noise import ChainNoise
    from mri_alps.sampling.preconditioner import Preconditioner

TOLERANCE = 1e-2
"""Energy of the solver's remaining error, in squared standard deviations per real value, the
preconditioner taken for the covariance."""
RELAXED = 5
"""How much larger that energy may be where noise added next hides the error."""
HIDDEN = 1e-4
"""Energy of an error that is hidden, over that of the noise added next."""
MAX_ITERATIONS = 60


class PrecisionSolver:
    """Preconditioned conjugate gradients for S x = target.

    On the CPU iterations stop when all chains are solved. On a device, which would run dry if the
    host asked, their number is planned by `IterationPlan`; those beyond what is needed change
    nothing.

    Parameters
    ----------
    preconditioner : Preconditioner
        Set to the level; its `precision` is S.

    Attributes
    ----------
    n_iterations : int
        Of the last solution.
    """

    def __init__(self, preconditioner: Preconditioner):
        self.preconditioner = preconditioner
        self.n_iterations = 0
        self._plan = IterationPlan(MAX_ITERATIONS)

    def solve(
        self, residual: torch.Tensor, x: torch.Tensor, added: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Improve x in place until its error is small; return it and its residual.

        All are spectra, which saves transforms. A chain that is solved waits for the others: its
        solution must not depend on them.

        Parameters
        ----------
        residual : torch.Tensor
            Spectrum of target - S x, (n, *domain_shape); overwritten.
        x : torch.Tensor
            Spectrum of where to start, same shape; overwritten.
        added : float
            Variance per real component of noise that will be added to x and hides errors.
        """
        preconditioner = self.preconditioner
        direction = preconditioned = preconditioner.apply_to_spectrum(residual)
        energy = self._inner(residual, preconditioned)
        unsolved = self._is_unsolved(energy, preconditioned, added)
        self.n_iterations = 0
        on_device = not devices.runs_on_host(residual)
        needed = torch.zeros((), dtype=torch.long, device=unsolved.device)
        limit = self._plan.n_iterations() if on_device else MAX_ITERATIONS
        while self.n_iterations < limit and (on_device or bool(unsolved.any())):
            if on_device:
                needed += unsolved.any()
            response = preconditioner.precision_of_spectrum(direction)
            step = energy / self._inner(direction, response).clamp_min(1e-30)
            step = torch.where(unsolved, step, torch.zeros_like(step)).to(x.dtype)
            x.addcmul_(step, direction)
            residual.addcmul_(step, response, value=-1)
            preconditioned = preconditioner.apply_to_spectrum(residual)
            previous, energy = energy, self._inner(residual, preconditioned)
            ratio = (energy / previous.clamp_min(1e-30)).to(x.dtype)
            direction = torch.addcmul(preconditioned, ratio, direction)
            unsolved = unsolved & self._is_unsolved(energy, preconditioned, added)
            self.n_iterations += 1
        if on_device:
            self._plan.record(needed, unsolved)
        return x, residual

    def _is_unsolved(
        self, energy: torch.Tensor, preconditioned: torch.Tensor, added: float
    ) -> torch.Tensor:
        """Tell by the error's energy, or by that and its size beside the noise added next.

        The error is near the preconditioned residual, and its energy near that of the residual.
        """
        n_values = self._n_pixels * (2 if self.preconditioner.problem.dtype.is_complex else 1)
        limit = TOLERANCE * n_values
        large = self._inner(preconditioned, preconditioned) > HIDDEN * n_values * added
        return (energy > RELAXED * limit) | ((energy > limit) & large)

    def _inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Re <a, b> of the images whose spectra are given."""
        n_axes = len(self.preconditioner.problem.image_shape)
        return inner_product(a, b, n_axes).real / self._n_pixels

    @property
    def _n_pixels(self) -> int:
        return torch.Size(self.preconditioner.problem.image_shape).numel()


class SolvedCovariance:
    """S^-1 and noise of that covariance, for Langevin steps, by perturbing and solving.

    Parameters
    ----------
    preconditioner : Preconditioner
        Set to the level before each step.
    """

    def __init__(self, preconditioner: Preconditioner):
        self.preconditioner = preconditioner
        self.solver = PrecisionSolver(preconditioner)

    def draw(self, noise: ChainNoise) -> torch.Tensor:
        """Draw what perturbs a solution at any level, (2, n, *domain_shape).

        Parameters
        ----------
        noise : ChainNoise
            The chains' randomness.
        """
        preconditioner = self.preconditioner
        data = preconditioner.data_noise(noise) * preconditioner.noise_std
        return torch.stack([data, noise.image()])

    def apply(self, drift: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return S^-1 drift + noise of covariance S^-1.

        Parameters
        ----------
        drift : torch.Tensor
            (n, *domain_shape).
        noise : torch.Tensor
            What `draw` returned, or a combination.
        """
        preconditioner = self.preconditioner
        root = preconditioner.shifted_fisher.sqrt()
        target = preconditioner.spectrum(drift + noise[0] / preconditioner.noise_std)
        target.add_(preconditioner.spectrum(noise[1]).mul_(root))
        return preconditioner.image(self.solver.solve(target, torch.zeros_like(target))[0])
