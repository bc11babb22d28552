"""Reverse diffusion conditioned on the data: the outer part of the path of large problems.

At level sigma, x = x0 + sqrt(v) n with v = sigma^2 - sigma_min^2. Given x, the prior knows x0 as
mean D and covariance C; taken as Gaussian with C diagonal in the Fourier domain and multiplied
by the likelihood of the data at their own noise, that is

    x0 ~ N(D + M A^H (y - A D) / noise_std^2, M),   M = (A^H A / noise_std^2 + C^-1)^-1,

which is drawn exactly by perturbing and solving; new noise of the next level is added to it.
Unlike on the annealed path, the data are never blurred: what they say about the unmeasured
neighbours of measured lines is used from the first level on. C is no more than an
approximation, so the annealed path takes over where most of the image is decided.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mri_alps.sampling.covariance import PrecisionSolver

if TYPE_CHECKING:
    from mri_alps.priors.spectrum import PriorSpectrum
    from mri_alps.sampling.noise import ChainNoise
    from mri_alps.sampling.preconditioner import Preconditioner
    from mri_alps.sampling.problem import Problem


class GuidedDiffusion:
    """Draws x0 given x and the data, level by level.

    Parameters
    ----------
    problem : Problem
        Data and likelihood.
    spectrum : PriorSpectrum
        Knows C per level.
    preconditioner : Preconditioner
        Of the solver; its level is changed.
    noise : ChainNoise
        The chains' randomness.
    sigma_min : float
        Level that stands for the prior itself.

    Attributes
    ----------
    n_iterations : int
        Of the last solution.
    """

    def __init__(
        self,
        problem: Problem,
        spectrum: PriorSpectrum,
        preconditioner: Preconditioner,
        noise: ChainNoise,
        sigma_min: float,
    ):
        self.problem, self.spectrum = problem, spectrum
        self.preconditioner, self.noise = preconditioner, noise
        self.sigma_min = sigma_min
        self._solver = PrecisionSolver(preconditioner)
        # Spectra of the last draw and of A^H A / noise_std^2 times it.
        self._x0: torch.Tensor | None = None
        self._image: torch.Tensor | None = None
        self._explained: torch.Tensor | None = None

    @property
    def n_iterations(self) -> int:
        """Of the last solution."""
        return self._solver.n_iterations

    def start(self) -> torch.Tensor:
        """Draw x0 given the data under the Gaussian prior of the image spectrum."""
        power = self.spectrum.image(self.problem.image_shape)
        mean = torch.zeros_like(self.noise.image())
        return self._draw(mean, power, 0.0)

    def step(
        self, x: torch.Tensor, score: torch.Tensor, sigma: float, following: float
    ) -> torch.Tensor:
        """Draw x0 given x at level `sigma` and the data.

        Parameters
        ----------
        x, score : torch.Tensor
            State and the score there, (n, *domain_shape).
        sigma : float
            Level of the state.
        following : float
            Level whose noise is added to x0 next.
        """
        variance = self.variance(sigma)
        covariance = self.spectrum.posterior_variance(sigma, self.problem.image_shape)
        return self._draw(x + variance * score, covariance, self.variance(following))

    def clean_image(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The last draw of x0, and A^H A x0 without another application of A^H A."""
        assert self._image is not None and self._explained is not None
        explained = self.preconditioner.image(self._explained)
        return self._image, explained * self.problem.noise_std**2

    def variance(self, sigma: float) -> float:
        """v, the variance that the level adds to the prior's own."""
        return max(sigma**2 - self.sigma_min**2, 0.0)

    def renoise(self, x0: torch.Tensor, sigma: float, noise: torch.Tensor) -> torch.Tensor:
        """State at level `sigma` whose clean image is x0.

        Parameters
        ----------
        x0, noise : torch.Tensor
            (n, *domain_shape).
        sigma : float
            Level.
        """
        return x0 + math.sqrt(self.variance(sigma)) * noise

    def _draw(self, mean: torch.Tensor, covariance: torch.Tensor, added: float) -> torch.Tensor:
        problem, preconditioner = self.problem, self.preconditioner
        precision = (1 / covariance).to(problem.device, problem.noise_std.dtype)
        preconditioner.set_level(precision, problem.noise_std)
        root = preconditioner.shifted_fisher.sqrt()
        mean = preconditioner.spectrum(mean)
        prior = (mean * root).add_(preconditioner.spectrum(self.noise.image())).mul_(root)
        data = problem.back_projection / problem.noise_std**2
        target = prior + preconditioner.spectrum(data + preconditioner.data_noise(self.noise))
        # The last draw explains the data already, which the mean does not.
        start, explained = self._x0, self._explained
        if start is None or explained is None:
            start = mean
            image = preconditioner.image(mean)
            explained = preconditioner.spectrum(preconditioner.normal(image) / problem.noise_std**2)
        residual = target - explained - start * preconditioner.shifted_fisher
        x, residual = self._solver.solve(residual, start.clone(), added)
        self._x0 = x
        self._explained = target - residual - x * preconditioner.shifted_fisher
        self._image = preconditioner.image(x)
        return self._image
