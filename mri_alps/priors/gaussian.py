"""Gaussian prior with a stationary covariance: every noise level in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mri_alps.core.fourier import multiply_spectrum
from mri_alps.core.random import standard_normal
from mri_alps.priors.spectrum import PriorSpectrum, frequency_radius


class GaussianPrior:
    """Stationary Gaussian prior, diagonal in the Fourier domain.

    Per real component the image has mean `mean` and the spectrum P(k); a complex image is
    circularly symmetric. D(x, sigma) = mean + F^-1 [P / (P + sigma^2)] F (x - mean).

    Parameters
    ----------
    power : callable or torch.Tensor
        P as a function of |k| in cycles per pixel (any image size), or on the centred grid of
        one image shape.
    mean : torch.Tensor or None
        Mean image; zero if left out.
    sigma_min, sigma_max : float
        Range of noise levels that samplers shall use.
    n_dimensions : int
        Number of image axes; transforms run over the last so many.
    """

    def __init__(
        self,
        power: Callable[[torch.Tensor], torch.Tensor] | torch.Tensor,
        mean: torch.Tensor | None = None,
        sigma_min: float = 0.01,
        sigma_max: float = 10.0,
        n_dimensions: int = 2,
    ):
        self._power = power
        self.mean = mean
        self.sigma_min = float(sigma_min)
        self.sigma_max = float(sigma_max)
        self.n_dimensions = power.ndim if isinstance(power, torch.Tensor) else n_dimensions
        self._dims = tuple(range(-self.n_dimensions, 0))
        self._kept: tuple[tuple[int, ...], torch.device, torch.Tensor] | None = None

    @classmethod
    def power_law(
        cls,
        exponent: float = 3.0,
        knee: float = 0.02,
        amplitude: float = 10.0,
        floor: float = 1e-5,
        sigma_min: float = 0.01,
        sigma_max: float = 10.0,
    ) -> GaussianPrior:
        """Prior with P(k) = floor + amplitude / (1 + (|k| / knee)^exponent).

        The defaults describe MR images scaled to 1 at the 99th percentile of their magnitude,
        whose power falls off with about the third power of the frequency.

        Parameters
        ----------
        exponent, knee, amplitude, floor : float
            Shape of the spectrum; `knee` in cycles per pixel, powers per real component.
        sigma_min, sigma_max : float
            Range of noise levels.
        """

        def power(radius: torch.Tensor) -> torch.Tensor:
            return floor + amplitude / (1 + (radius / knee) ** exponent)

        return cls(power, sigma_min=sigma_min, sigma_max=sigma_max)

    @property
    def prior_spectrum(self) -> PriorSpectrum:
        """The exact spectrum, at the two ends of the range of noise levels."""
        radius: torch.Tensor | None = None
        if isinstance(self._power, torch.Tensor):
            power = self._power.double().cpu()
        else:
            corner = 0.5 * self.n_dimensions**0.5
            radius = corner * torch.linspace(0, 1, 257, dtype=torch.float64) ** 2
            power = self._power(radius)
        base = self.sigma_min**2
        sigmas = torch.tensor([self.sigma_min, self.sigma_max], dtype=torch.float64)
        variance = (sigmas**2 - base).reshape(-1, *[1] * power.ndim)
        smooth = power + base
        return PriorSpectrum(
            sigmas=sigmas,
            image_power=smooth,
            score_power=1 / (smooth + variance),
            error_power=variance * smooth / (smooth + variance),
            frequencies=radius,
            excess=torch.zeros(2, dtype=torch.float64),
            curvature=torch.ones(2, dtype=torch.float64),
            stein=torch.ones(4, dtype=torch.float64),
        )

    def power(self, shape: Sequence[int]) -> torch.Tensor:
        """Return P on the centred grid of `shape`, float64.

        Parameters
        ----------
        shape : sequence of int
            Image shape.
        """
        if isinstance(self._power, torch.Tensor):
            return self._power.double()
        return self._power(frequency_radius(shape))

    def _power_on(self, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """P on a device, kept for the next evaluation: a copy would make the host wait."""
        if self._kept is None or self._kept[:2] != (shape, device):
            self._kept = shape, device, self.power(shape).to(device)
        return self._kept[2]

    def denoise(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Posterior mean at noise level `sigma`; see `ScoreModel`.

        Parameters
        ----------
        x : torch.Tensor
            (..., *image shape), complex or real.
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        return x + _square(sigma, x) * self.score(x, sigma)

    def score(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Score of the smoothed prior at noise level `sigma`; see `ScoreModel`.

        Parameters
        ----------
        x : torch.Tensor
            (..., *image shape), complex or real.
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        power = self._power_on(tuple(x.shape[-self.n_dimensions :]), x.device)
        centred = x if self.mean is None else x - self.mean.to(x)
        weight = (1 / (power + _square(sigma, x))).to(x.real.dtype)
        return -apply_filter(centred, weight, self._dims)

    def sample(
        self,
        n: int,
        shape: Sequence[int],
        generator: torch.Generator,
        dtype: torch.dtype = torch.complex64,
        sigma: float = 0.0,
    ) -> torch.Tensor:
        """Draw from the prior smoothed to `sigma`, (n, *shape).

        Parameters
        ----------
        n : int
            Number of images.
        shape : sequence of int
            Image shape.
        generator : torch.Generator
            Source of randomness.
        dtype : torch.dtype
            Complex or real.
        sigma : float
            Noise level per real component.
        """
        noise = standard_normal((n, *shape), generator, dtype)
        power = self.power(shape).to(noise.device) + sigma**2
        images = apply_filter(noise, power.sqrt().to(noise.real.dtype), self._dims)
        return images if self.mean is None else images + self.mean.to(images)


def apply_filter(x: torch.Tensor, weight: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Multiply by a real even `weight` in the Fourier domain; a real image stays real.

    Parameters
    ----------
    x : torch.Tensor
        Complex or real, (..., *shape).
    weight : torch.Tensor
        Real, broadcasts against x; on the centred frequency grid.
    dims : sequence of int
        Axes to transform.
    """
    return multiply_spectrum(x, torch.fft.ifftshift(weight, dim=tuple(dims)), dims)


def _square(sigma: float | torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """sigma^2, shaped to broadcast against (n, ...)."""
    if not isinstance(sigma, torch.Tensor):  # a fill: a copy would make the host wait
        return torch.full((), float(sigma) ** 2, dtype=x.real.dtype, device=x.device)
    value = sigma.to(x.device, x.real.dtype) ** 2
    return value.reshape(-1, *[1] * (x.ndim - 1)) if value.ndim else value
