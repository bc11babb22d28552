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

import torch

from mri_alps.priors.spectrum import PriorSpectrum
from mri_alps.sampling.noise import ChainNoise
from mri_alps.sampling.preconditioner import Preconditioner
from mri_alps.sampling.problem import Problem
from mri_alps.solvers import inner_product

TOLERANCE = 1e-2
"""Energy of the solver's remaining error, in squared standard deviations per real value, the
preconditioner taken for the covariance. What is left is small beside the Gaussian approximation,
and the annealed path corrects both."""
RELAXED = 5
"""How much larger that energy may be where the next level's noise hides the error."""
HIDDEN = 1e-4
"""Energy of an error that is hidden, over that of the noise added next."""
MAX_ITERATIONS = 60
CHECK_EVERY = 4
"""Iterations between looks at the error on a device that would have to be waited for."""


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
        self.n_iterations = 0
        # Spectra of the last draw and of A^H A / noise_std^2 times it.
        self._x0: torch.Tensor | None = None
        self._image: torch.Tensor | None = None
        self._explained: torch.Tensor | None = None

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
        x, residual = self._solve(residual, start.clone(), added)
        self._x0 = x
        self._explained = target - residual - x * preconditioner.shifted_fisher
        self._image = preconditioner.image(x)
        return self._image

    def _solve(
        self, residual: torch.Tensor, x: torch.Tensor, added: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Preconditioned conjugate gradients for M^-1 x = target, from x and its residual.

        All are spectra, which saves transforms. A chain that is solved waits for the others: its
        solution must not depend on them.
        """
        preconditioner = self.preconditioner
        direction = preconditioned = preconditioner.apply_to_spectrum(residual)
        energy = self._inner(residual, preconditioned)
        unsolved = self._is_unsolved(energy, preconditioned, added)
        self.n_iterations = 0
        while self.n_iterations < MAX_ITERATIONS and self._goes_on(unsolved):
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
        return x, residual

    def _is_unsolved(
        self, energy: torch.Tensor, preconditioned: torch.Tensor, added: float
    ) -> torch.Tensor:
        """Tell by the error's energy, or by that and its size beside the noise added next.

        The error is near the preconditioned residual, and its energy near that of the residual.
        """
        parts = 2 if self.problem.dtype.is_complex else 1
        limit = TOLERANCE * parts * self._n_pixels
        size = self._inner(preconditioned, preconditioned)
        large = size > HIDDEN * parts * self._n_pixels * added
        return (energy > RELAXED * limit) | ((energy > limit) & large)

    def _goes_on(self, unsolved: torch.Tensor) -> bool:
        """Look whether a chain is unsolved: now and then only where looking means waiting."""
        if self.n_iterations % (1 if unsolved.device.type == "cpu" else CHECK_EVERY):
            return True
        return bool(unsolved.any())

    def _inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Re <a, b> of the images whose spectra are given."""
        n_axes = len(self.problem.image_shape)
        return inner_product(a, b, n_axes).real / self._n_pixels

    @property
    def _n_pixels(self) -> int:
        return torch.Size(self.problem.image_shape).numel()
