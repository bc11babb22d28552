"""A reconstruction that sampling starts from: what it is and how far it can be trusted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import ConfigurationError, MriAlpsWarning, ShapeError
from mri_alps.core.values import check, number

if TYPE_CHECKING:
    from mri_alps.inverse_problem import Problem


@dataclass(frozen=True)
class InitialEstimate:
    """A warm start x0 (Xun, Gupta and Price, Algorithms 2 and 3).

    Parameters
    ----------
    image : torch.Tensor
        The reconstruction x0, domain_shape or (n_samples, *domain_shape).
    sigma : float, optional
        x0 = x + sigma n already, n of unit variance per real component ("xgp2", "alps").
    radius : float, optional
        |x0 - x|, the norm over the whole image, is at most this with probability 1 - `delta`
        ("xgp3", "alps"): noise of standard deviation radius / delta is added.
    delta : float
        See `radius`.

    Raises
    ------
    ConfigurationError
        If neither or both of `sigma` and `radius` are given, or a number makes no sense.
    """

    image: torch.Tensor
    sigma: float | None = None
    radius: float | None = None
    delta: float = 0.1

    def __post_init__(self) -> None:
        rules = {
            "sigma": number(0).or_none(),
            "radius": number(0).or_none(),
            "delta": number(0, 1),
        }
        check("InitialEstimate", rules, vars(self))
        if (self.sigma is None) == (self.radius is None):
            raise ConfigurationError(
                "an initial estimate needs either radius (a bound on |image - x|, the norm over "
                "the whole image) or sigma (the noise that it already carries)"
            )

    def fitted(self, problem: Problem, n_samples: int) -> InitialEstimate:
        """Return it with an image for each sample.

        Parameters
        ----------
        problem : Problem
            For shape, dtype and device of an image.
        n_samples : int
            How many.

        Raises
        ------
        ShapeError
            If the image has another shape.
        """
        image: Any = self.image
        shape = problem.domain_shape
        try:
            image = torch.as_tensor(image).to(problem.device, problem.dtype)
        except (TypeError, ValueError, RuntimeError):
            raise ShapeError(
                f"the image of an initial estimate must be a tensor of shape {shape}, found a "
                f"{type(image).__name__}"
            ) from None
        if tuple(image.shape) == shape:
            image = image.expand(n_samples, *shape)
        if tuple(image.shape) != (n_samples, *shape):
            raise ShapeError(
                f"the image of an initial estimate has shape {tuple(image.shape)}, expected "
                f"{shape} or {(n_samples, *shape)}"
            )
        return InitialEstimate(image, self.sigma, self.radius, self.delta)

    def noise(self) -> tuple[float, float]:
        """Return the noise level of x0 after noise was added, and how much is to be added.

        Warns
        -----
        MriAlpsWarning
            If so much noise is added that x0 says next to nothing.
        """
        if self.sigma is not None:
            return float(self.sigma), 0.0
        assert self.radius is not None
        sigma0 = self.radius / self.delta
        scale = float(self.image.abs().square().mean().sqrt())
        if sigma0 > scale:
            warnings.warn(
                f"sigma = radius / delta = {sigma0:.3g} exceeds the image's own scale {scale:.3g} "
                "(root mean square): the initial estimate says next to nothing; radius is a norm "
                "over the whole image",
                MriAlpsWarning,
                stacklevel=3,
            )
        return sigma0, sigma0
