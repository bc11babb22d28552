"""Other people's denoisers as score models, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.plugins import guarded
from mri_alps.priors.complex_layers import channels_to_complex, complex_to_channels
from mri_alps.priors.network import reflect_pad

if TYPE_CHECKING:
    from mri_alps.priors.spectrum import PriorSpectrum


class TwoChannelPrior:
    """A denoiser of two-channel real images as a `ScoreModel` of complex ones.

    Parameters
    ----------
    denoiser : callable
        (x real (n, 2, H, W), sigma (n,)) -> (n, 2, H, W): the posterior mean under noise of
        standard deviation sigma in each channel.
    sigma_min, sigma_max : float
        Noise levels that it was trained for.
    size_multiple : int
        Image sizes that it accepts are multiples of this; others are padded by reflection.
    """

    def __init__(
        self,
        denoiser: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        sigma_min: float,
        sigma_max: float,
        size_multiple: int = 1,
    ):
        if not 0 < sigma_min < sigma_max:
            raise ConfigurationError(
                f"a prior needs 0 < sigma_min < sigma_max, found {sigma_min} and {sigma_max}"
            )
        self.denoiser = denoiser
        self.sigma_min, self.sigma_max = float(sigma_min), float(sigma_max)
        self.size_multiple = size_multiple
        self.prior_spectrum: PriorSpectrum | None = None

    @torch.no_grad()
    def denoise(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Posterior mean of complex images.

        Parameters
        ----------
        x : torch.Tensor
            Complex (n, H, W), or (n, slices, H, W).
        sigma : float or torch.Tensor
            Noise level per real component, a scalar or (n,).

        Returns
        -------
        torch.Tensor
            Complex (n, H, W), or (n, slices, H, W).
        """
        if not x.is_complex():
            raise DtypeError(f"the prior denoises complex images, found {x.dtype}")
        if x.ndim == 4:  # a batch of slices: images are independent of each other
            per_image = sigma
            if isinstance(sigma, torch.Tensor) and sigma.ndim == 1:
                per_image = sigma.repeat_interleave(x.shape[1])
            return self.denoise(x.flatten(0, 1), per_image).reshape(x.shape)
        if x.ndim != 3:
            raise ShapeError(f"the prior expects images (n, H, W), found shape {tuple(x.shape)}")
        height, width = x.shape[-2:]
        levels = torch.as_tensor(sigma, dtype=x.real.dtype, device=x.device).expand(len(x))
        channels = complex_to_channels(reflect_pad(x, self.size_multiple)[:, None])
        with guarded("the denoiser", self.denoiser):
            result = self.denoiser(channels, levels)
        if result.shape != channels.shape:
            raise ShapeError(
                f"the wrapped denoiser returned shape {tuple(result.shape)} for an input of "
                f"{tuple(channels.shape)}: it must have two channels in and out"
            )
        return channels_to_complex(result)[:, 0, :height, :width]

    def score(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Score of the smoothed prior, (D(x, sigma) - x) / sigma^2.

        Parameters
        ----------
        x, sigma
            As in `denoise`.
        """
        levels = torch.as_tensor(sigma, dtype=x.real.dtype, device=x.device)
        levels = levels.reshape(-1, *[1] * (x.ndim - 1)) if levels.ndim else levels
        return (self.denoise(x, sigma) - x) / levels**2


def from_deepinv(
    denoiser: Callable, sigma_min: float, sigma_max: float, size_multiple: int = 1
) -> TwoChannelPrior:
    """Wrap a two-channel deepinv denoiser, `denoiser(x, sigma)`.

    Parameters
    ----------
    denoiser : callable
        For example `deepinv.models.DRUNet(in_channels=2, out_channels=2)`.
    sigma_min, sigma_max : float
        Noise levels that it was trained for.
    size_multiple : int
        See `TwoChannelPrior`.
    """
    return TwoChannelPrior(denoiser, sigma_min, sigma_max, size_multiple)


def from_diffusers(unet: Any, scheduler: Any, size_multiple: int = 32) -> TwoChannelPrior:
    """Wrap a two-channel diffusers UNet that was trained with a discrete-time scheduler.

    With abar_t the scheduler's cumulative product of alphas, x + sigma n is the state at time t
    divided by sqrt(abar_t), where sigma^2 = (1 - abar_t) / abar_t (Song et al., ICLR 2021).
    Between two times t is interpolated.

    Parameters
    ----------
    unet : callable
        For example `diffusers.UNet2DModel(in_channels=2, out_channels=2)`; called as
        `unet(sample, timestep).sample`.
    scheduler : object
        With `alphas_cumprod` and `config.prediction_type` ("epsilon", "v_prediction" or
        "sample"), for example `diffusers.DDPMScheduler()`.
    size_multiple : int
        See `TwoChannelPrior`.

    Raises
    ------
    ConfigurationError
        If the prediction type is another one.
    """
    alphas = torch.as_tensor(scheduler.alphas_cumprod, dtype=torch.float64)
    sigmas = ((1 - alphas) / alphas).sqrt()
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise ConfigurationError(
            f"unknown prediction_type {kind!r}: expected epsilon, v_prediction or sample"
        )

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        time = _interpolated_index(sigma.double().log(), sigmas.log().to(x.device)).to(x.dtype)
        level = sigma[:, None, None, None]
        signal = (1 + level**2).rsqrt()
        output = unet(x * signal, time)
        output = getattr(output, "sample", output)
        if kind == "epsilon":
            return x - level * output
        if kind == "sample":
            return output
        return signal * (signal * x - level * output)

    return TwoChannelPrior(denoise, float(sigmas[0]), float(sigmas[-1]), size_multiple)


def _interpolated_index(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return the fractional index of each value in an increasing table, clamped to its ends."""
    upper = torch.searchsorted(table, values).clamp(1, len(table) - 1)
    low, high = table[upper - 1], table[upper]
    return (upper - 1 + (values - low) / (high - low)).clamp(0, len(table) - 1)
