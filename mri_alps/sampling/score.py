"""The score as samplers call it: counted, bounded, without gradients; and p(x | x0)'s."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.plugins import guarded

if TYPE_CHECKING:
    from mri_alps.priors.protocol import ScoreModel
    from mri_alps.priors.spectrum import PriorSpectrum


class Score(Protocol):
    """A score as samplers ask for it: of the prior, or of p(x | x0)."""

    sigma_min: float
    sigma_max: float

    def score(self, x: torch.Tensor, sigma: float, /) -> torch.Tensor:
        """Score at noise level `sigma`, same shape and dtype as x, (n, *domain_shape)."""
        ...

    def denoise(self, x: torch.Tensor, sigma: float, /) -> torch.Tensor:
        """Posterior mean at noise level `sigma`, same shape and dtype as x."""
        ...


class CountedScore:
    """Counts evaluations of a score model and refuses more than the budget.

    Parameters
    ----------
    model : ScoreModel
        The prior.
    budget : int or None
        Most evaluations allowed; None for no limit.
    """

    def __init__(self, model: ScoreModel, budget: int | None = None):
        self.model = model
        self.budget = budget
        self.count = 0
        self.sigma_min = float(model.sigma_min)
        self.sigma_max = float(model.sigma_max)

    def score(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """One evaluation: score of the prior smoothed at `sigma`, without gradients.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        sigma : float
            Noise level per real component.
        """
        self._spend()
        with torch.no_grad(), guarded("the prior", self.model):
            value = self.model.score(x, sigma)
        return self._checked(value, x)

    def denoise(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """One evaluation of the denoiser; gradients flow if `x` requires them.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape).
        sigma : float
            Noise level per real component.
        """
        self._spend()
        with guarded("the prior", self.model):
            value = self.model.denoise(x, sigma)
        return self._checked(value, x)

    def _spend(self) -> None:
        if self.budget is not None and self.count >= self.budget:
            raise ConfigurationError(f"the sampler asked for more than {self.budget} evaluations")
        self.count += 1

    @staticmethod
    def _checked(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(value, torch.Tensor):
            raise DtypeError(
                f"the score model returned a {type(value).__name__}: expected a torch.Tensor"
            )
        if value.shape != x.shape or value.is_complex() != x.is_complex():
            raise ShapeError(
                f"the score model returned {value.dtype} {tuple(value.shape)} for an input "
                f"{x.dtype} {tuple(x.shape)}: expected the same shape and kind"
            )
        return value.to(x.dtype)  # no transform takes half precision everywhere


def require_score_model(model: object) -> None:
    """Raise if `model` lacks an attribute of the `ScoreModel` protocol.

    Parameters
    ----------
    model : object
        What the caller gave as prior.

    Raises
    ------
    ConfigurationError
        Naming what is missing, or an impossible range of noise levels.
    """
    names = ("denoise", "score", "sigma_min", "sigma_max")
    with guarded("the prior", model):  # an attribute may be computed
        missing = [name for name in names if not hasattr(model, name)]
    if missing:
        raise ConfigurationError(
            f"the score model lacks {', '.join(missing)}: expected an object with denoise, score, "
            f"sigma_min and sigma_max, found {type(model).__name__}"
        )
    with guarded("the prior", model):
        low, high = model.sigma_min, model.sigma_max  # type: ignore[attr-defined]
        in_order = 0 < float(low) < float(high) < math.inf
    if not in_order:
        raise ConfigurationError(
            f"the score model has sigma_min={low} and sigma_max={high}: "
            "expected 0 < sigma_min < sigma_max"
        )


class LocalScore:
    """Score of p(x | x0) where x0 = x + sigma0 n: the prior near a rough estimate.

    At smoothing variance v above sigma_min, with r = sigma0^2 / (sigma0^2 + v), m = (v x0 +
    sigma0^2 z) / (sigma0^2 + v) and tau^2 = sigma_min^2 + r v, the score at z is
    (x0 - z) / (sigma0^2 + v) + r s_tau(m). At v = 0 it is s(z) + (x0 - z) / sigma0^2, the drift
    of XGP Algorithm 2.

    Parameters
    ----------
    model : ScoreModel
        The prior p(x).
    x0 : torch.Tensor
        Noisy estimates, (n, *domain_shape): one for each chain.
    sigma0 : float
        Their noise level per real component.
    """

    def __init__(self, model: Score, x0: torch.Tensor, sigma0: float):
        self.model, self.x0, self.sigma0 = model, x0, sigma0
        self.sigma_min = float(model.sigma_min)
        self.sigma_max = float(model.sigma_max)

    def score(self, z: torch.Tensor, sigma: float) -> torch.Tensor:
        """Score of p(. | x0) smoothed at `sigma`.

        Parameters
        ----------
        z : torch.Tensor
            (n, *domain_shape), one for each x0.
        sigma : float
            Noise level per real component.
        """
        variance = max(sigma**2 - self.sigma_min**2, 0.0)
        total = self.sigma0**2 + variance
        ratio = self.sigma0**2 / total
        tau = math.sqrt(self.sigma_min**2 + ratio * variance)
        m = z + (variance / total) * (self.x0 - z)
        return (self.x0 - z) / total + ratio * self.model.score(m, tau)

    def denoise(self, z: torch.Tensor, sigma: float) -> torch.Tensor:
        """Tweedie's mean, z + sigma^2 score(z, sigma).

        Parameters
        ----------
        z : torch.Tensor
            (n, *domain_shape).
        sigma : float
            Noise level per real component.
        """
        return z + sigma**2 * self.score(z, sigma)


class LocalSpectrum:
    """Fisher information of p(x | x0), from that of the prior.

    Parameters
    ----------
    spectrum : PriorSpectrum
        The prior's.
    sigma0 : float
        Noise level of x0.
    """

    def __init__(self, spectrum: PriorSpectrum, sigma0: float):
        self._spectrum, self._sigma0 = spectrum, sigma0
        self.sigmas = spectrum.sigmas
        self.curvature = spectrum.curvature
        self.excess = spectrum.excess
        self.is_of_a_density = spectrum.is_of_a_density

    def fisher(self, sigma: float, shape: tuple[int, ...]) -> torch.Tensor:
        """Fisher information at `sigma`, float64, `shape`.

        Parameters
        ----------
        sigma : float
            Noise level per real component.
        shape : tuple of int
            Image shape.
        """
        base = float(self.sigmas[0])
        variance = max(sigma**2 - base**2, 0.0)
        total = self._sigma0**2 + variance
        ratio = self._sigma0**2 / total
        tau = math.sqrt(base**2 + ratio * variance)
        return 1 / total + ratio**2 * self._spectrum.fisher(tau, shape)
