"""What is fixed at a noise level of the path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch

from mri_alps.inverse_problem import (
    FINAL_TOLERANCE,
    START_ITERATIONS,
    TOLERANCE,
    CovarianceAtLevel,
    PosteriorCovariance,
    is_wide,
)

if TYPE_CHECKING:
    from mri_alps.inverse_problem import Problem
    from mri_alps.priors.spectrum import PriorSpectrum
    from mri_alps.sampling.path import AlpsConfiguration
    from mri_alps.sampling.score import LocalSpectrum


@dataclass(frozen=True)
class Level:
    """The target of one level: the smoothed prior, the data, and covariances to move with.

    Attributes
    ----------
    sigma : float
        Noise level at which the score is evaluated.
    variance : float
        v = sigma^2 - sigma_min^2, what the level adds to the prior's own noise.
    target : torch.Tensor
        A^H y_sigma, (*domain_shape) or (n, *domain_shape).
    step_size : float
        Of a Langevin step to this level's target.
    """

    levels: Levels
    sigma: float
    variance: float
    target: torch.Tensor
    step_size: float

    @cached_property
    def fisher(self) -> torch.Tensor:
        """F, the smoothed prior's Fisher information, in the order of torch.fft."""
        problem = self.levels.problem
        fisher = torch.fft.ifftshift(self._fisher, dim=problem.dims)
        return fisher.to(problem.device, problem.noise_std.dtype)

    @cached_property
    def _fisher(self) -> torch.Tensor:
        return self.levels.spectrum.fisher(self.sigma, self.levels.problem.image_shape)

    @cached_property
    def noise_std(self) -> torch.Tensor:
        """Of the data at this level."""
        return self.levels.noise_std(self.variance)

    @cached_property
    def covariance(self) -> CovarianceAtLevel:
        """(A^H A / noise_std^2 + F)^-1, that of the target."""
        tight = self.sigma <= self.levels.tight_below
        tolerance = FINAL_TOLERANCE if tight else TOLERANCE
        wide = self.levels.wide[self.sigma]
        return self.levels.covariance.at(self._fisher, self.noise_std, tolerance, wide=wide)

    @cached_property
    def clean_covariance(self) -> CovarianceAtLevel:
        """(A^H A / noise_std^2 + C^-1)^-1, that of the clean image given a noisy one and data.

        C is the prior's covariance of the clean image given the noisy one, per frequency.
        """
        levels = self.levels
        spectrum = cast("PriorSpectrum", levels.spectrum)
        shape, noise_std = levels.problem.image_shape, levels.problem.noise_std
        precision = 1 / spectrum.posterior_variance(self.sigma, shape)
        if self.sigma <= levels.tight_below:
            wide = levels.wide_clean[self.sigma]
            return levels.covariance.at(precision, noise_std, FINAL_TOLERANCE, wide=wide)
        # So few iterations do not pay for bands.
        return levels.covariance.at(precision, noise_std, most=START_ITERATIONS, wide=False)

    def describe(self) -> dict[str, Any]:
        """Return what diagnostics say of the level."""
        return {
            "sigma": self.sigma,
            "noise_std": self.levels.noise_levels(self.variance),
            "step_size": self.step_size,
        }


class Levels:
    """Makes levels.

    Parameters
    ----------
    problem : Problem
        Data and likelihood.
    spectrum : PriorSpectrum
        Fisher information per level.
    covariance : PosteriorCovariance
        Of the problem.
    sigma_min : float
        Level that stands for the prior itself.
    configuration : AlpsConfiguration
        Constants of the sampler.
    path_noise : torch.Tensor
        e of each chain, (n, *domain_shape).
    data_noise : float
        c: the data of a level are y + c sqrt(v) A e.
    tight_below : float
        Level from which solutions are exact to the final tolerance.
    sigmas : sequence of float
        Of all levels.
    """

    def __init__(
        self,
        problem: Problem,
        spectrum: PriorSpectrum | LocalSpectrum,
        covariance: PosteriorCovariance,
        sigma_min: float,
        configuration: AlpsConfiguration,
        path_noise: torch.Tensor,
        data_noise: float,
        tight_below: float,
        sigmas: Sequence[float],
    ):
        self.problem, self.spectrum, self.covariance = problem, spectrum, covariance
        # Read at once, so that no level makes the host wait for a device.
        shape, guided = problem.image_shape, callable(getattr(spectrum, "posterior_variance", None))
        self.wide = {sigma: is_wide(spectrum.fisher(sigma, shape)) for sigma in set(sigmas)}
        self.wide_clean = {
            sigma: is_wide(cast("PriorSpectrum", spectrum).posterior_variance(sigma, shape))
            for sigma in set(sigmas)
            if guided and sigma_min < sigma <= tight_below
        }
        self.tight_below = tight_below
        self._sigma_min, self._configuration = sigma_min, configuration
        self._data_noise = data_noise
        self._path_projection = problem.normal(path_noise) if data_noise else None
        self._curvatures = None if spectrum.curvature is None else spectrum.curvature.tolist()
        self._log_sigmas = [math.log(sigma) for sigma in spectrum.sigmas.tolist()]
        self._noise_levels = problem.noise_std.flatten().tolist()

    def at(self, sigma: float) -> Level:
        """Return the level of a smoothing.

        Parameters
        ----------
        sigma : float
            Not below sigma_min.
        """
        variance = max(sigma**2 - self._sigma_min**2, 0.0)
        target = self.problem.back_projection
        if self._path_projection is not None:
            target = target + self._data_noise * math.sqrt(variance) * self._path_projection
        return Level(self, sigma, variance, target, self._stable_step(sigma))

    def prior_covariance(self) -> CovarianceAtLevel:
        """The posterior's covariance under the Gaussian prior of the images' spectrum."""
        power = cast("PriorSpectrum", self.spectrum).image(self.problem.image_shape)
        return self.covariance.at(
            1 / power, self.problem.noise_std, most=START_ITERATIONS, wide=False
        )

    def noise_std(self, variance: float) -> torch.Tensor:
        """Noise of the data at a level that adds `variance` to the prior's own."""
        width = self._configuration.data_variance * variance
        noise_std = self.problem.noise_std
        return (noise_std**2 + width).sqrt() if width else noise_std

    def noise_levels(self, variance: float) -> list[float]:
        """The same as numbers, one for each slice."""
        width = self._configuration.data_variance * variance
        return [math.sqrt(level**2 + width) for level in self._noise_levels]

    def _stable_step(self, sigma: float) -> float:
        """Step that is stable for the curvature of the prior."""
        configuration, curvature = self._configuration, 1.0
        if self._curvatures is not None:
            away = [abs(level - math.log(sigma)) for level in self._log_sigmas]
            curvature = self._curvatures[away.index(min(away))]
        limit = configuration.stable_curvature / max(curvature, 1.0)
        return min(configuration.largest_step, limit)
