"""How far each measured sample is trusted: sensitivity maps are not exact.

The model kspace = F S x + n has an error of its own, since maps are estimated from few noisy lines
and do not vary exactly as ESPIRiT's kernels do. That error is proportional to the signal, so at the
centre of k-space, where the signal is hundreds of times the noise, it exceeds the noise. A sampler
that takes the noise alone for the error explains it by changing the image along directions that the
data leave open: the more exact the sampler, the more so. Here the error of a sample is taken to be
of variance noise_std^2 + maps_error^2 * (mean power of the line).
"""

from __future__ import annotations

import torch

from mri_alps.errors import ConfigurationError

MAPS_ERROR = 0.05
"""Relative error of F S x that is allowed for. Measured on a real scan of 8 coils whose maps come
from 13 calibration lines: any value between 0.03 and 0.1 does nearly as well at 8x, and costs at
most 0.4 dB at 4x."""


def sampling_weights(
    kspace: torch.Tensor, mask: torch.Tensor, noise_std: float, maps_error: float = MAPS_ERROR
) -> torch.Tensor:
    """Noise relative to noise and model error together, per measured line or sample.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex (coils, H, W), whitened.
    mask : torch.Tensor
        Bool (W,) for whole lines, else (H, W).
    noise_std : float
        Per real component, in the units of `kspace`.
    maps_error : float
        Relative error of F S x; 0 for none.

    Returns
    -------
    torch.Tensor
        Float32, shape of `mask`, between 0 and 1; 1 outside the mask. `SenseOperator` takes them
        as `weights`, together with kspace times weights as the data.

    Raises
    ------
    ConfigurationError
        If `maps_error` is negative or not a number.
    """
    if not maps_error >= 0:
        raise ConfigurationError(
            f"maps_error must not be negative, found {maps_error}: 0.05 allows for 5 %, 0 for none"
        )
    axes = (0, 1) if mask.ndim == 1 else (0,)
    power = kspace.abs().double().square().mean(axes) / 2
    error = maps_error**2 * (power - noise_std**2).clamp_min(0)
    weights = noise_std / (noise_std**2 + error).sqrt()
    return torch.where(mask, weights, torch.ones_like(weights)).to(torch.float32)
