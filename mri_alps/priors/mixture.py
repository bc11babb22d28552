"""Gaussian-mixture prior: multimodal, and still exact at every noise level."""

from __future__ import annotations

import torch

from mri_alps.core.errors import ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.priors.gaussian import _square, apply_filter


class GaussianMixturePrior:
    """Mixture of stationary Gaussians, each diagonal in the Fourier domain.

    Parameters
    ----------
    weights : torch.Tensor
        (K,), positive; normalised here.
    means : torch.Tensor
        (K, *shape), complex or real.
    powers : torch.Tensor
        (K, *shape), spectrum of each component per real component, centred grid.
    sigma_min, sigma_max : float
        Range of noise levels that samplers shall use.

    Raises
    ------
    ShapeError
        If the three do not fit together.
    """

    def __init__(
        self,
        weights: torch.Tensor,
        means: torch.Tensor,
        powers: torch.Tensor,
        sigma_min: float = 0.01,
        sigma_max: float = 10.0,
    ):
        if means.shape != powers.shape or weights.shape != means.shape[:1]:
            raise ShapeError(
                "a mixture needs weights (K,), means (K, *shape) and powers (K, *shape), found "
                f"{tuple(weights.shape)}, {tuple(means.shape)} and {tuple(powers.shape)}"
            )
        self.weights = weights.double() / weights.double().sum()
        self.means = means
        self.powers = powers.double()
        self.sigma_min = float(sigma_min)
        self.sigma_max = float(sigma_max)
        self._dims = tuple(range(1 - means.ndim, 0))

    def denoise(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Posterior mean at noise level `sigma`; see `ScoreModel`.

        Parameters
        ----------
        x : torch.Tensor
            (n, ..., *shape).
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        return x + _square(sigma, x) * self.score(x, sigma)

    def score(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Score of the smoothed prior: the components' scores weighted by responsibility.

        Parameters
        ----------
        x : torch.Tensor
            (n, ..., *shape).
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        scores, log_density = self._components(x, sigma)
        responsibility = torch.softmax(log_density, dim=0)
        for _ in self._dims:
            responsibility = responsibility.unsqueeze(-1)
        return (scores * responsibility.to(x.real.dtype)).sum(0)

    def squared_distance(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Squared Mahalanobis distance to the nearest component, shape of x without the image.

        Parameters
        ----------
        x : torch.Tensor
            (n, ..., *shape).
        sigma : float
            Noise level.
        """
        return self._distances(x, sigma)[1].amin(0)

    def sample(
        self, n: int, generator: torch.Generator, sigma: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw n images of the prior smoothed to `sigma`, and their components.

        Parameters
        ----------
        n : int
            Number of images.
        generator : torch.Generator
            Source of randomness.
        sigma : float
            Noise level per real component.

        Returns
        -------
        images : torch.Tensor
            (n, *shape).
        components : torch.Tensor
            (n,) integer.
        """
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = standard_normal((n, *self.means.shape[1:]), generator, self.means.dtype)
        spread = (self.powers[chosen] + sigma**2).sqrt().to(noise.real.dtype)
        return self.means[chosen] + apply_filter(noise, spread, self._dims), chosen

    def _components(
        self, x: torch.Tensor, sigma: float | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score (K, n, ..., *shape) and log weighted density (K, n, ...) of each component."""
        scores, distance = self._distances(x, sigma)
        variance = self._variances(x, sigma)
        real_parts = 2 if x.is_complex() else 1
        log_determinant = real_parts * variance.log().sum(self._dims)
        log_weight = self.weights.log().to(x.device)
        log_weight = log_weight.reshape(-1, *[1] * (distance.ndim - 1))
        return scores, log_weight - 0.5 * distance - 0.5 * log_determinant

    def _distances(
        self, x: torch.Tensor, sigma: float | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        means = self.means.to(x)
        means = means.reshape(len(means), *[1] * (x.ndim - means.ndim + 1), *means.shape[1:])
        centred = x[None] - means
        inverse = (1 / self._variances(x, sigma)).to(x.real.dtype)
        scores = -apply_filter(centred, inverse, self._dims)
        return scores, -(centred.conj() * scores).real.double().sum(self._dims)

    def _variances(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """P_k + sigma^2, (K, n or 1, ..., *shape)."""
        powers = self.powers.to(x.device)
        powers = powers.reshape(len(powers), *[1] * (x.ndim - powers.ndim + 1), *powers.shape[1:])
        return powers + _square(sigma, x).double()
