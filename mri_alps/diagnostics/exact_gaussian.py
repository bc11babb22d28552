"""A Gaussian posterior at the size of a scan, solved without the sampler's help.

Conjugate gradients in double precision, written with torch's Fourier transforms alone: none of
the package's operators and solvers takes part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch

from mri_alps.core.errors import MriAlpsError
from mri_alps.core.random import standard_normal
from mri_alps.core.values import Rule, check, number, whole
from mri_alps.diagnostics.device_check import coil_maps
from mri_alps.priors import GaussianPrior, frequency_radius

LOW_FREQUENCY = 0.15
"""Cycles per pixel up to which a frequency is low."""
_TOLERANCE, _MAX_ITERATIONS = 1e-9, 5000
_RULES = {
    "shape": Rule(
        "two whole numbers from 8 to 4096",
        lambda shape: len(shape) == 2 and all(whole(8, 4096).fits(n) for n in shape),
    ),
    "pattern": Rule('"lines" or "points"', lambda pattern: pattern in ("lines", "points")),
    "acceleration": whole(1, 64),
    "noise_std": number(0),
    "n_coils": whole(1, 1024),
    "seed": whole(),
}


@dataclass(frozen=True)
class GaussianProblem:
    """A draw of `GaussianPrior.power_law`, seen by smooth coils and undersampled.

    Parameters
    ----------
    shape : tuple of int
        Image size.
    pattern : str
        "lines": every R-th and 8 % in the centre (4 % from R = 8 on). "points": one in R at
        random and all below 0.04 cycles per pixel.
    acceleration : int
        R.
    noise_std : float
        Per real component; images have a root mean square of about 0.5.
    n_coils : int
        Coils.
    seed : int
        Of the points, the truth and the noise.
    prior : GaussianPrior
        The prior.

    Raises
    ------
    ConfigurationError
        If a setting cannot be.
    """

    shape: tuple[int, int] = (96, 96)
    pattern: str = "lines"
    acceleration: int = 4
    noise_std: float = 0.03
    n_coils: int = 8
    seed: int = 0
    prior: GaussianPrior = field(default_factory=GaussianPrior.power_law)

    def __post_init__(self) -> None:
        check("GaussianProblem", _RULES, vars(self))

    @property
    def name(self) -> str:
        """In words."""
        height, width = self.shape
        return (
            f"Gaussian, {height}x{width}, {self.pattern}, {self.acceleration}x, "
            f"noise {self.noise_std:g}"
        )

    @cached_property
    def maps(self) -> torch.Tensor:
        """Sensitivities, complex64 (coils, H, W), of unit norm over coils."""
        return coil_maps(self.shape, self.n_coils)

    @cached_property
    def mask(self) -> torch.Tensor:
        """What is measured, bool, (W,) or (H, W), centred."""
        if self.pattern == "points":
            generator = torch.Generator().manual_seed(self.seed)
            chosen = torch.rand(self.shape, generator=generator) < 1 / self.acceleration
            return chosen | (frequency_radius(self.shape) < 0.04)
        width = self.shape[1]
        mask = torch.zeros(width, dtype=torch.bool)
        mask[1 :: self.acceleration] = True
        n_center = round((0.08 if self.acceleration < 8 else 0.04) * width)
        first = width // 2 - n_center // 2
        mask[first : first + n_center] = True
        return mask

    @property
    def power(self) -> torch.Tensor:
        """Power of the prior at sigma_min, which is what is sampled; (H, W), centred."""
        return self.prior.power(self.shape) + self.prior.sigma_min**2

    @property
    def unmeasured_low(self) -> torch.Tensor:
        """Low frequencies that are not measured, bool (H, W), centred."""
        return (frequency_radius(self.shape) < LOW_FREQUENCY) & ~self.mask


class ExactGaussian:
    """The posterior of a `GaussianProblem` in double precision; images and frequencies uncentred.

    Its precision per real component is F A^H A F^H / noise_std^2 + 1 / P.

    Parameters
    ----------
    problem : GaussianProblem
        The problem.
    device : torch.device
        Where to compute.
    """

    def __init__(self, problem: GaussianProblem, device: torch.device):
        self.problem = problem
        maps = torch.fft.ifftshift(problem.maps, dim=(-2, -1))
        self.maps = maps.to(device, torch.complex128)
        self.mask = torch.fft.ifftshift(problem.mask.double()).to(device)
        self.power = torch.fft.ifftshift(problem.power).to(device)
        # Diagonal of F A^H A F^H: the mask, convolved with the power of the maps' spectra.
        spread = torch.fft.fft2(self.maps, norm="forward").abs().square().sum(0)
        convolved = torch.fft.ifft2(
            torch.fft.fft2(self.mask.expand_as(spread)) * torch.fft.fft2(spread)
        ).real
        self._inverse = 1 / (convolved.clamp(min=0) / problem.noise_std**2 + 1 / self.power)

    def spectrum(self, image: torch.Tensor) -> torch.Tensor:
        """Return the frequencies of images (..., H, W).

        Parameters
        ----------
        image : torch.Tensor
            Complex.
        """
        return torch.fft.fft2(image.to(torch.complex128), norm="ortho")

    def image(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return images from their frequencies.

        Parameters
        ----------
        spectrum : torch.Tensor
            (..., H, W).
        """
        return torch.fft.ifft2(spectrum, norm="ortho")

    def precision(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the posterior precision to frequencies (..., H, W).

        Parameters
        ----------
        x : torch.Tensor
            complex128.
        """
        image = self.image(x)
        normal = torch.zeros_like(image)
        axes = (-2, -1)[-self.mask.ndim :]  # a mask of lines leaves the other axis alone
        for coil in self.maps:
            kspace = self.mask * torch.fft.fftn(coil * image, dim=axes, norm="ortho")
            normal += coil.conj() * torch.fft.ifftn(kspace, dim=axes, norm="ortho")
        return self.spectrum(normal) / self.problem.noise_std**2 + x / self.power

    def measure(self, truth: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return noisy data of an image, complex128 (coils, H, W), uncentred, 0 if unmeasured.

        Parameters
        ----------
        truth : torch.Tensor
            (H, W).
        generator : torch.Generator
            Of the noise, on the CPU, so that devices see the same data.
        """
        noise = standard_normal(self.maps.shape, generator, torch.complex128).to(truth.device)
        kspace = self.spectrum(self.maps * truth) + self.problem.noise_std * noise
        return self.mask * kspace

    def projected(self, data: torch.Tensor) -> torch.Tensor:
        """Return F A^H y / noise_std^2.

        Parameters
        ----------
        data : torch.Tensor
            As of `measure`.
        """
        combined = (self.maps.conj() * self.image(self.mask * data)).sum(0)
        return self.spectrum(combined) / self.problem.noise_std**2

    def solve(
        self, data: torch.Tensor, n_draws: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the posterior mean (H, W) and deviations of draws from it (n, H, W).

        Parameters
        ----------
        data : torch.Tensor
            As of `measure`.
        n_draws : int
            Number of draws.
        generator : torch.Generator
            On the CPU.
        """
        sides, zero = [self.projected(data)], torch.zeros_like(data[0])
        for _ in range(n_draws):
            of_data = self.projected(self.measure(zero, generator))
            noise = standard_normal(self.power.shape, generator, torch.complex128).to(zero.device)
            sides.append(of_data + noise / self.power.sqrt())
        solution = self._conjugate_gradients(torch.stack(sides))
        return solution[0], solution[1:]

    def whitened_deviation(self, samples: torch.Tensor) -> tuple[float, float]:
        """Return the deviation of samples over the exact one, every direction alike; its error.

        Parameters
        ----------
        samples : torch.Tensor
            Frequencies (n, H, W).

        Returns
        -------
        tuple of float
            The figure and its standard error, were the samples exact.
        """
        centred = samples - samples.mean(0)
        n_values = 2 * self.power.numel() * (len(samples) - 1)
        energy = float((centred.conj() * self.precision(centred)).real.sum())
        return math.sqrt(energy / n_values), math.sqrt(0.5 / n_values)

    def _conjugate_gradients(self, right: torch.Tensor) -> torch.Tensor:
        def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a.conj() * b).real.sum((-2, -1), keepdim=True)

        x, residual = torch.zeros_like(right), right.clone()
        direction = self._inverse * residual
        energy = product(residual, direction)
        goal = _TOLERANCE**2 * energy
        for _ in range(_MAX_ITERATIONS):
            applied = self.precision(direction)
            step = energy / product(direction, applied)
            x += step * direction
            residual -= step * applied
            preconditioned = self._inverse * residual
            before, energy = energy, product(residual, preconditioned)
            if bool((energy <= goal).all()):
                return x
            direction = preconditioned + energy / before * direction
        raise MriAlpsError(
            f"{self.problem.name}: found no solution to {_TOLERANCE:g} in {_MAX_ITERATIONS} "
            "iterations, expected one in some hundred: choose more noise or a lower acceleration"
        )
