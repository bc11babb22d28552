"""What a prior has to offer to be sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@runtime_checkable
class ScoreModel(Protocol):
    """A prior known through its denoiser and score at every noise level.

    Any object with these four attributes is one; nothing has to be inherited. The denoiser is
    the posterior mean D(x, sigma) = E[x0 | x0 + sigma n = x], with n of unit variance per real
    component, and score(x, sigma) = (D(x, sigma) - x) / sigma^2 (Tweedie).

    Attributes
    ----------
    sigma_min, sigma_max : float
        Range of noise levels, standard deviation per real component. The prior smoothed at
        `sigma_min` stands for the prior itself.

    Notes
    -----
    A prior may carry `prior_spectrum` (see `mri_alps.priors.PriorSpectrum`), which saves the
    sampler its estimation, and `mirror_axes`, a tuple of axes counted from the last, such as
    (-2, -1), along which mirrored images are as likely as the images themselves: each sample then
    sees it in another mirroring (see `mri_alps.sampling.mirroring`).
    """

    sigma_min: float
    sigma_max: float

    def denoise(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Return the posterior mean, same shape and dtype as x.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape), complex or real.
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        ...

    def score(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Return the score of the smoothed prior, same shape and dtype as x.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape), complex or real.
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        ...
