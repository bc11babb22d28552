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
from torch.nn import functional

from mri_alps.core.errors import ConfigurationError

MAPS_ERROR = 0.05
"""Relative error of F S x that is allowed for. Measured on a real scan of 8 coils whose maps come
from 13 calibration lines: any value between 0.03 and 0.1 does nearly as well at 8x, and costs at
most 0.4 dB at 4x."""
LARGEST_ERROR = 0.1
"""Most that is allowed for. The centre of k-space holds nearly all of the signal: an allowance in
proportion to it, if it were large, would take the centre for unmeasured and the image from the
prior. Maps that are wrong by more are not used in silence."""


def sampling_weights(
    kspace: torch.Tensor,
    mask: torch.Tensor,
    noise_std: float,
    maps_error: float = MAPS_ERROR,
    noise_factor: float = 1.0,
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
    noise_factor : float
        Standard deviation that the noise is taken to have, over `noise_std`.

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
    if mask.ndim == 1:
        power = kspace.abs().double().square().mean((0, 1)) / 2
    else:
        power = sample_power(kspace, mask)
    variance = (noise_factor * noise_std) ** 2
    error = maps_error**2 * (power - variance).clamp_min(0)
    weights = noise_std / (variance + error).sqrt()
    return torch.where(mask, weights, torch.ones_like(weights)).to(torch.float32)


def sample_power(kspace: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Power of each measured sample per real component and coil, float64 (H, W).

    It is the mean over three neighbours along the readout, 1 : 2 : 1, as far as they are measured:
    maps are smooth, so their error spreads the signal a little; and a single sample's power is as
    uncertain as it is large where there are few coils.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex (coils, H, W).
    mask : torch.Tensor
        Bool (H, W).
    """
    power = kspace.abs().double().square().mean(0) / 2
    kernel = torch.tensor([0.25, 0.5, 0.25], dtype=power.dtype, device=power.device)
    columns = torch.stack([power * mask, mask.to(power.dtype)]).transpose(-2, -1)
    smoothed = functional.conv1d(columns.reshape(-1, 1, len(power)), kernel[None, None], padding=1)
    total, share = smoothed.reshape(columns.shape)
    return (total / share.clamp_min(1e-12)).transpose(-2, -1)
