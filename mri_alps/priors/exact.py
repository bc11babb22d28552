"""Exact posteriors under Gaussian and Gaussian-mixture priors, by dense linear algebra.

What samplers are measured against, on images of some hundred pixels. A real image of d pixels
has d real unknowns; a complex one 2 d, circularly symmetric about its mean: both cases are the
same formulas with covariances per real component.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.priors.gaussian import GaussianPrior, apply_filter
from mri_alps.priors.mixture import GaussianMixturePrior

if TYPE_CHECKING:
    from mri_alps.operators import LinearOperator


@dataclass(frozen=True)
class ExactPosterior:
    """A mixture of Gaussians over images of shape `shape`, flattened to d values.

    Attributes
    ----------
    weights : torch.Tensor
        (K,) float64, posterior weights of the components.
    means : torch.Tensor
        (K, d), complex128 or float64.
    choleskys : torch.Tensor
        (K, d, d), lower factors L of the covariances per real component, C = L L^H.
    shape : tuple of int
        Image shape.
    """

    weights: torch.Tensor
    means: torch.Tensor
    choleskys: torch.Tensor
    shape: tuple[int, ...]

    @property
    def mean(self) -> torch.Tensor:
        """Posterior mean, `shape`."""
        return self._mean().reshape(self.shape)

    @property
    def std(self) -> torch.Tensor:
        """Posterior standard deviation sqrt(E |x - mean|^2) of every pixel, `shape`, float64.

        For complex images this is over both real components together.
        """
        parts = 2 if self.means.is_complex() else 1
        within = parts * self.choleskys.abs().square().sum(-1)
        between = (self.means - self._mean()).abs().square()
        return (self.weights @ (within + between)).sqrt().reshape(self.shape)

    def covariance(self) -> torch.Tensor:
        """Return E (x - mean)(x - mean)^H per real component, (d, d)."""
        parts = 2 if self.means.is_complex() else 1
        within = self.choleskys @ self.choleskys.mH
        offset = self.means - self._mean()
        between = offset.unsqueeze(-1) * offset.conj().unsqueeze(-2) / parts
        return torch.tensordot(self.weights.to(self.means.dtype), within + between, dims=1)

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw independent samples, (n, *shape).

        Parameters
        ----------
        n : int
            Number of samples.
        generator : torch.Generator
            Source of randomness, on the CPU.
        """
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = standard_normal((n, self.means.shape[1]), generator, self.means.dtype)
        samples = self.means[chosen]
        for k in range(len(self.weights)):
            of_component = chosen == k
            samples[of_component] += noise[of_component] @ self.choleskys[k].mT
        return samples.reshape(n, *self.shape)

    def responsibilities(self, x: torch.Tensor) -> torch.Tensor:
        """Return the probability of each component given an image, (n, K).

        Parameters
        ----------
        x : torch.Tensor
            (n, *shape).
        """
        parts = 2 if self.means.is_complex() else 1
        flat = x.reshape(len(x), -1).to(self.means.dtype)
        centred = (flat[None] - self.means[:, None]).mT  # (K, d, n)
        whitened = torch.linalg.solve_triangular(self.choleskys, centred, upper=False)
        distance = whitened.abs().square().sum(1)
        log_determinant = parts * _log_diagonal(self.choleskys)
        log_density = self.weights.log()[:, None] - distance / 2 - log_determinant[:, None]
        return torch.softmax(log_density, dim=0).mT

    def _mean(self) -> torch.Tensor:
        return self.weights.to(self.means.dtype) @ self.means


def exact_posterior(
    prior: GaussianPrior | GaussianMixturePrior,
    operator: LinearOperator | torch.Tensor,
    data: torch.Tensor,
    noise_std: float,
    shape: Sequence[int] | None = None,
) -> ExactPosterior:
    """Posterior of x given y = A x + n, under the prior smoothed at its `sigma_min`.

    Parameters
    ----------
    prior : GaussianPrior or GaussianMixturePrior
        Prior with a known covariance.
    operator : LinearOperator or torch.Tensor
        A; or its matrix, (prod(data shape), d).
    data : torch.Tensor
        y, complex or real. Real data mean real images, complex data complex images.
    noise_std : float
        Standard deviation of n per real component.
    shape : sequence of int, optional
        Image shape; needed for a matrix and a prior that holds for any image size.

    Returns
    -------
    ExactPosterior
        In double precision, on the CPU.

    Raises
    ------
    ShapeError, DtypeError, ConfigurationError
        If the arguments do not fit together.
    """
    if not noise_std > 0:
        raise ConfigurationError(f"noise_std must be positive, found {noise_std}")
    dtype = torch.complex128 if data.is_complex() else torch.float64
    shape = _image_shape(prior, operator, shape)
    weights, means, powers = _components(prior, shape, dtype)
    d = math.prod(shape)
    matrix = _matrix(operator, shape, dtype)
    y = data.detach().cpu().to(dtype).reshape(-1)
    if tuple(matrix.shape) != (len(y), d):
        raise ShapeError(
            f"the operator's matrix is {tuple(matrix.shape)}, expected {(len(y), d)} for data "
            f"{tuple(data.shape)} and images {tuple(shape)}"
        )
    log_weights, posterior_means, factors = [], [], []
    for weight, mean, power in zip(weights, means, powers, strict=True):
        log_evidence, centre, factor = _condition(matrix, y, noise_std, mean, power)
        log_weights.append(weight.log() + log_evidence)
        posterior_means.append(centre)
        factors.append(factor)
    return ExactPosterior(
        weights=torch.softmax(torch.stack(log_weights), dim=0),
        means=torch.stack(posterior_means),
        choleskys=torch.stack(factors),
        shape=shape,
    )


def _condition(
    matrix: torch.Tensor,
    y: torch.Tensor,
    noise_std: float,
    mean: torch.Tensor,
    power: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log evidence up to a constant, posterior mean and Cholesky factor for one Gaussian.

    In the information form: S = A^H A / s^2 + P^-1, whose size is that of the image. The
    evidence follows from |A P A^H + s^2| = s^(2m) |P| |S| and Woodbury's identity.
    """
    parts = 2 if matrix.is_complex() else 1
    d = mean.numel()
    dims = tuple(range(-mean.ndim, 0))
    basis = torch.eye(d, dtype=matrix.dtype).reshape(d, *mean.shape)
    inverse_prior = apply_filter(basis, 1 / power, dims).reshape(d, d).mT
    precision = matrix.mH @ matrix / noise_std**2 + inverse_prior
    root = torch.linalg.cholesky((precision + precision.mH) / 2)
    residual = y - matrix @ mean.reshape(-1)
    projected = matrix.mH @ residual / noise_std**2
    shift = torch.cholesky_solve(projected[:, None], root)[:, 0]
    covariance = torch.cholesky_inverse(root)
    factor = torch.linalg.cholesky((covariance + covariance.mH) / 2)
    misfit = residual.abs().square().sum() / noise_std**2 - (projected.conj() * shift).real.sum()
    log_determinant = power.log().sum() + 2 * _log_diagonal(root)
    return -misfit / 2 - parts * log_determinant / 2, mean.reshape(-1) + shift, factor


def _log_diagonal(factor: torch.Tensor) -> torch.Tensor:
    return torch.diagonal(factor, dim1=-2, dim2=-1).real.log().sum(-1)


def _components(
    prior: GaussianPrior | GaussianMixturePrior, shape: tuple[int, ...], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights (K,), means (K, *shape) and powers (K, *shape) of the prior at sigma_min."""
    if isinstance(prior, GaussianMixturePrior):
        base = prior.sigma_min**2
        if prior.means.is_complex() and not dtype.is_complex:
            raise DtypeError("the prior's means are complex but the data are real")
        return prior.weights.cpu(), prior.means.cpu().to(dtype), prior.powers.cpu() + base
    if isinstance(prior, GaussianPrior):
        mean = torch.zeros(shape, dtype=dtype)
        if prior.mean is not None:
            mean = mean + prior.mean.cpu().to(dtype)
        power = prior.power(shape).cpu() + prior.sigma_min**2
        return torch.ones(1, dtype=torch.float64), mean[None], power[None]
    raise ConfigurationError(
        f"no exact posterior is known for a {type(prior).__name__}: expected a GaussianPrior or "
        "a GaussianMixturePrior"
    )


def _image_shape(
    prior: GaussianPrior | GaussianMixturePrior,
    operator: LinearOperator | torch.Tensor,
    shape: Sequence[int] | None,
) -> tuple[int, ...]:
    if shape is None:
        shape = getattr(operator, "domain_shape", None)
    if shape is None and isinstance(prior, GaussianMixturePrior):
        shape = prior.means.shape[1:]
    if shape is None:
        raise ConfigurationError("a matrix does not say the image's shape: pass shape")
    return tuple(int(n) for n in shape)


def _matrix(
    operator: LinearOperator | torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> torch.Tensor:
    if isinstance(operator, torch.Tensor):
        return operator.detach().cpu().to(dtype)
    d = math.prod(shape)
    # Operators that hold weights expect images of their own precision.
    probe = getattr(operator, "dtype", None) or dtype
    if dtype.is_complex and not probe.is_complex:
        probe = torch.complex64 if probe == torch.float32 else torch.complex128
    device = getattr(operator, "device", None)
    basis = torch.eye(d, dtype=probe, device=device).reshape(d, *shape)
    return operator.forward(basis).detach().cpu().to(dtype).reshape(d, -1).mT
