"""A network as a score model: EDM preconditioning, padding to any size, complex in and out.

The preconditioning is that of Karras et al., "Elucidating the Design Space of Diffusion-Based
Generative Models", NeurIPS 2022, table 1 (EDM), with every variance per real component.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mri_alps.core.devices import runs_on_host
from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.priors.complex_layers import channels_to_complex, complex_to_channels
from mri_alps.priors.fused import FusedUNet, fast_dtype, load_kernels, may_be_fused
from mri_alps.priors.unet import UNet, UNetConfig

if TYPE_CHECKING:
    from mri_alps.priors.spectrum import PriorSpectrum


class NetworkPrior(nn.Module):
    """Denoiser D(x, sigma) = c_skip x + c_out F(c_in x, log sigma) with a U-Net F.

    Satisfies the `ScoreModel` protocol. Images are complex, scaled to about 1 at the 99th
    percentile of their magnitude; sigma is the noise's standard deviation per real component.
    With an equivariant U-Net D(exp(i t) x, sigma) = exp(i t) D(x, sigma) to rounding.

    Parameters
    ----------
    config : UNetConfig
        Layout of the U-Net.
    sigma_data : float
        Root mean square of the training images per real component.
    sigma_min, sigma_max : float
        Range of noise levels that the network is trained for.

    Attributes
    ----------
    prior_spectrum : PriorSpectrum or None
        Radial error and image spectra for samplers, where the weights come with them.
    provenance : dict
        What the weights were trained on, as the checkpoint tells.
    mirror_axes : tuple of int
        Axes along which training mirrors images, both: see `ScoreModel`.
    name, checkpoint_sha256 : str
        Of the file that the weights were read from; empty for a network that has none.
    autocast_dtype : torch.dtype or None
        Run the U-Net under autocast with this type (bfloat16 on a GPU that has it); None, the
        default, is float32 throughout, but for `convolution_dtype`.
    convolution_dtype : torch.dtype or None
        What convolutions multiply in on the CPU, where frozen weights (``requires_grad_(False)``)
        run without gradients: bfloat16, float32, or None, the default, for bfloat16 where the
        processor has instructions for it. Sums are float32 in any case. The standard deviation of
        what bfloat16 changes in an image is a few hundredths of the posterior's.
    """

    def __init__(self, config: UNetConfig, sigma_data: float, sigma_min: float, sigma_max: float):
        super().__init__()
        if not 0 < sigma_min < sigma_max or not sigma_data > 0:
            raise ConfigurationError(
                "a network prior needs 0 < sigma_min < sigma_max and sigma_data > 0, found "
                f"sigma_min={sigma_min}, sigma_max={sigma_max}, sigma_data={sigma_data}"
            )
        self.unet = UNet(config)
        self.config = config
        self.sigma_data = float(sigma_data)
        self.sigma_min = float(sigma_min)
        self.sigma_max = float(sigma_max)
        self.prior_spectrum: PriorSpectrum | None = None
        self.mirror_axes: tuple[int, ...] = (-2, -1)
        self.provenance: dict = {}
        self.name = ""
        self.checkpoint_sha256 = ""
        self.autocast_dtype: torch.dtype | None = None
        self.convolution_dtype: torch.dtype | None = None
        self._fused: tuple[object, FusedUNet] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or another process gets: packed weights are made anew there."""
        return {**self.__dict__, "_fused": None}

    @property
    def running_dtype(self) -> torch.dtype:
        """What convolutions multiply in on the device that the weights are on."""
        weights = next(self.unet.parameters())
        is_frozen_on_host = runs_on_host(weights.data) and not weights.requires_grad
        if self.autocast_dtype is not None or not (is_frozen_on_host and self.config.equivariant):
            return self.autocast_dtype or torch.float32
        return torch.float32 if load_kernels() is None else self.convolution_dtype or fast_dtype()

    def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Denoise a batch, with gradients.

        Parameters
        ----------
        x : complex tensor (n, H, W)
            Images with noise.
        sigma : tensor (n,)
            Its standard deviation per real component, an image each.
        """
        data = self.sigma_data
        total = torch.hypot(sigma, torch.full_like(sigma, data))
        skip, out, scale = (data / total) ** 2, sigma * data / total, 1 / total
        residual = self._apply_unet(x * scale[:, None, None], sigma.log(), (sigma * scale) ** 2)
        return skip[:, None, None] * x + out[:, None, None] * residual

    def denoise(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Posterior mean E[x0 | x0 + sigma n = x].

        Parameters
        ----------
        x : torch.Tensor
            Complex (n, H, W) or (n, slices, H, W), any H and W.
        sigma : float or torch.Tensor
            Noise level per real component, a scalar or (n,).

        Returns
        -------
        torch.Tensor
            Complex64, shape of `x`; gradients with respect to `x` flow if it requires them.

        Raises
        ------
        DtypeError
            If `x` is real.
        ShapeError
            If `x` has not three axes or `sigma` fits neither form.
        """
        if not x.is_complex():
            raise DtypeError(
                f"the prior denoises complex images, found {x.dtype}: convert with "
                "x.to(torch.complex64)"
            )
        if x.ndim == 4:  # a batch of slices: images are independent of each other
            per_image = sigma
            if isinstance(sigma, torch.Tensor) and sigma.ndim == 1:
                per_image = sigma.repeat_interleave(x.shape[1])
            return self.denoise(x.flatten(0, 1), per_image).reshape(x.shape)
        if x.ndim != 3:
            raise ShapeError(f"the prior expects images (n, H, W), found shape {tuple(x.shape)}")
        levels = _on_device(sigma, x.device)
        if levels.ndim > 1 or (levels.ndim == 1 and len(levels) not in (1, len(x))):
            raise ShapeError(
                f"sigma must be a scalar or have one entry per image ({len(x)}), found shape "
                f"{tuple(levels.shape)}"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad):
            return self(x.to(torch.complex64), levels.expand(len(x)))

    def score(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Score of the smoothed prior, (D(x, sigma) - x) / sigma^2.

        Parameters
        ----------
        x : torch.Tensor
            Complex (n, H, W), or (n, slices, H, W).
        sigma : float or torch.Tensor
            Noise level per real component, a scalar or (n,).
        """
        levels = _on_device(sigma, x.device)
        levels = levels.reshape(-1, *[1] * (x.ndim - 1)) if levels.ndim else levels
        return (self.denoise(x, sigma) - x) / levels**2

    def _apply_unet(
        self, x: torch.Tensor, level: torch.Tensor, noise_power: torch.Tensor
    ) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = reflect_pad(x, self.config.stride)
        fused = self._fused_unet(x)
        if fused is not None:
            pairs = zip(x.contiguous(), level, noise_power, strict=True)
            return torch.stack([fused(*each)[:height, :width] for each in pairs])
        channels = complex_to_channels(x[:, None])
        if self.autocast_dtype is None:
            y = self.unet(channels, level, noise_power)
        else:
            with torch.autocast(x.device.type, dtype=self.autocast_dtype):
                y = self.unet(channels, level, noise_power)
        return channels_to_complex(y.float())[:, 0, :height, :width]

    def _fused_unet(self, x: torch.Tensor) -> FusedUNet | None:
        """Return the compiled network, or None where it has to be the plain one."""
        if not self.config.equivariant or self.autocast_dtype is not None or not may_be_fused(x):
            return None
        weights = list(self.unet.parameters())
        if any(w.requires_grad or not runs_on_host(w.data) for w in weights):
            return None
        kernels = load_kernels()
        if kernels is None:
            return None
        dtype = self.convolution_dtype or fast_dtype()
        edition = (dtype, [(w.data_ptr(), w._version) for w in weights])
        if self._fused is None or self._fused[0] != edition:
            self._fused = edition, FusedUNet(self.unet, kernels, dtype)
        return self._fused[1]


@contextmanager
def in_float32(model: object) -> Iterator[None]:
    """Evaluate a network in float32 meanwhile, whatever it multiplies in otherwise.

    For differences of its scores: at low noise levels the rounding of bfloat16 is ten times what
    the network itself changes by, and would pass for its curvature.

    Parameters
    ----------
    model : object
        A `NetworkPrior`; any other prior is left as it is.
    """
    if not isinstance(model, NetworkPrior):
        yield
        return
    before = model.convolution_dtype, model.autocast_dtype
    model.convolution_dtype, model.autocast_dtype = torch.float32, None
    try:
        yield
    finally:
        model.convolution_dtype, model.autocast_dtype = before


def _on_device(sigma: float | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Noise levels in float32; a number becomes a fill, since a copy makes the host wait."""
    if isinstance(sigma, torch.Tensor):
        return sigma.to(device, torch.float32)
    return torch.full((), float(sigma), dtype=torch.float32, device=device)


def reflect_pad(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Continue images by reflection at the far edges until both sizes are multiples.

    Parameters
    ----------
    x : torch.Tensor
        (..., H, W), any size, also smaller than the padding.
    multiple : int
        What the last two sizes must be multiples of.
    """
    for axis in (-2, -1):
        size = x.shape[axis]
        padded = math.ceil(size / multiple) * multiple
        if padded != size:
            # A triangular wave over the indices: 0 1 2 3 2 1 0 1 ...
            period = max(2 * size - 2, 1)
            index = torch.arange(padded, device=x.device) % period
            x = x.index_select(axis, torch.minimum(index, (period - index) % period))
    return x
