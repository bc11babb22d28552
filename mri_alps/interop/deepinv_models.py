"""Our priors as deepinv denoisers, our sampler as a deepinv reconstructor; needs deepinv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.optional import require
from mri_alps.interop._channels import channels_to_complex, complex_to_channels
from mri_alps.interop.deepinv_operator import from_deepinv_physics
from mri_alps.sampling import PosteriorSamples, sample_posterior

if TYPE_CHECKING:
    from mri_alps.priors import ScoreModel

deepinv: Any = require("deepinv", "a deepinv model", "deepinv")


class DeepinvDenoiser(deepinv.models.base.Denoiser):
    """A prior as a deepinv denoiser: (B, 2, H, W) and sigma in, (B, 2, H, W) out.

    Parameters
    ----------
    prior : ScoreModel
        From `load_prior`, for example; images have about unit size, sigma is per real component,
        which is per channel.
    """

    def __init__(self, prior: ScoreModel):
        super().__init__()
        self.prior = prior

    def forward(self, x: torch.Tensor, sigma: float | torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Return the posterior mean of images under noise.

        Parameters
        ----------
        x : torch.Tensor
            Real (B, 2, H, W).
        sigma : float or torch.Tensor
            A number, or one for each image; kept within the prior's sigma_min and sigma_max.
        **kwargs
            Ignored, as deepinv's denoisers do.
        """
        images = channels_to_complex(x)
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1)
        levels = levels.clamp(self.prior.sigma_min, self.prior.sigma_max).expand(len(x))
        return complex_to_channels(self.prior.denoise(images, levels))


class DeepinvReconstructor(deepinv.models.base.Reconstructor):
    """Posterior sampling as a deepinv reconstructor: `model(y, physics)` is the posterior mean.

    Parameters
    ----------
    prior : ScoreModel
        Images have about unit size: scale y so that they do.
    n_samples, n_evaluations, method
        As in `sample_posterior`.
    noise_std : float, optional
        Noise of y per real component; the sigma of the physics' Gaussian noise model if left
        out.
    seed : int
        Of the samples: the same y gives the same samples.
    """

    def __init__(
        self,
        prior: ScoreModel,
        n_samples: int = 8,
        n_evaluations: int = 100,
        method: str = "alps",
        noise_std: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.prior, self.method, self.noise_std, self.seed = prior, method, noise_std, seed
        self.n_samples, self.n_evaluations = n_samples, n_evaluations

    def forward(self, y: torch.Tensor, physics: Any, **kwargs: Any) -> torch.Tensor:
        """Return the posterior mean, (B, 2, H, W).

        Parameters
        ----------
        y : torch.Tensor
            Measurements (B, 2, ...).
        physics : deepinv.physics.LinearPhysics
            The operator, and the noise unless it was given.
        **kwargs
            Ignored, as deepinv's reconstructors do.
        """
        samples = self._draw(y, physics, antithetic=True).samples
        return _as_channels(samples).mean(0)

    def sample(self, y: torch.Tensor, physics: Any) -> torch.Tensor:
        """Return posterior samples, (n_samples, B, 2, H, W).

        Parameters
        ----------
        y, physics
            As in `forward`.

        Raises
        ------
        ConfigurationError
            If neither a noise level nor a physics with Gaussian noise was given.
        """
        return _as_channels(self.sample_posterior(y, physics).samples)

    def sample_posterior(self, y: torch.Tensor, physics: Any) -> PosteriorSamples:
        """Return samples and diagnostics as `mri_alps.sampling.sample_posterior` gives them.

        Parameters
        ----------
        y, physics
            As in `forward`.
        """
        return self._draw(y, physics, antithetic=False)

    def _draw(self, y: torch.Tensor, physics: Any, antithetic: bool) -> PosteriorSamples:
        n_images = len(y)
        image_shape = physics.A_adjoint(y).shape[2:]
        data = channels_to_complex(y)
        operator = from_deepinv_physics(
            physics, image_shape, n_slices=None if n_images == 1 else n_images, dtype=data.dtype
        )
        if len(operator.range_shape) < data.ndim:
            data = data[0]
        return sample_posterior(
            self.prior,
            operator,
            data,
            self._noise_level(physics, n_images, data),
            n_samples=self.n_samples,
            n_evaluations=self.n_evaluations,
            method=self.method,
            generator=torch.Generator().manual_seed(self.seed),
            antithetic=antithetic,
        )

    def _noise_level(self, physics: Any, n_images: int, data: torch.Tensor) -> torch.Tensor:
        sigma = self.noise_std
        if sigma is None:
            sigma = getattr(getattr(physics, "noise_model", None), "sigma", None)
        if sigma is None:
            raise ConfigurationError(
                "the noise level is not known: give noise_std, or a physics whose noise model has "
                "a sigma (deepinv.physics.GaussianNoise)"
            )
        levels = torch.as_tensor(sigma, dtype=data.real.dtype, device=data.device).reshape(-1)
        return levels.expand(n_images) if n_images > 1 else levels[0]


def _as_channels(samples: torch.Tensor) -> torch.Tensor:
    """Complex (n, [B,] H, W) as real (n, B, 2, H, W)."""
    if samples.ndim == 3:  # one image
        samples = samples[:, None]
    return torch.stack([complex_to_channels(sample) for sample in samples])
