"""How far each measured sample is trusted: sensitivity maps are not exact.

The model kspace = F S x + n has an error of its own, since maps are estimated from few noisy lines
and do not vary exactly as ESPIRiT's kernels do. That error is proportional to the signal, so at the
centre of k-space, where the signal is hundreds of times the noise, it exceeds the noise. A sampler
that takes the noise alone for the error explains it by changing the image along directions that the
data leave open: the more exact the sampler, the more so. Here the error of a sample is taken to be
of variance noise_std^2 + maps_error^2 * (mean power of the line).
"""

from __future__ import annotations

import numpy as np
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
UNCERTAIN_ERROR = 0.15
"""Allowed for maps of fewer than `MINIMUM_LINES` lines, whose error no misfit shows: it is much the
same in all coils, and an image can explain the centre of k-space by being wrong everywhere else.
With 0.05 spines of 6 lines were up to 7 dB worse, lines that were not measured up to 6 dB farther
off than if they had been taken for zero."""
SPREAD_WIDTH = 4.0
"""Width, in lines, of the spectrum of the maps' errors where calibration lines are few: as that of
coils."""
_REACH = 40  # lines to both sides, to which an error is spread


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


def spread_over_lines(weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Allow for what errors of the maps bring of strong lines into the lines around them.

    Where maps come from few lines their error varies over the image as coils do, so that the strong
    centre of k-space errs in lines beside it, by more than these have of their own signal. The
    allowance of a line becomes the mean of those of the lines around it, with the weights
    1 / (1 + (distance / `SPREAD_WIDTH`)^2)^2; between measured lines it is interpolated.

    Parameters
    ----------
    weights : torch.Tensor
        Float32 (W,), of `sampling_weights`.
    mask : torch.Tensor
        Bool (W,), with at least one line.

    Returns
    -------
    torch.Tensor
        Float32 (W,), 1 outside the mask.
    """
    measured, lines = mask.cpu().nonzero().flatten().numpy(), np.arange(len(mask))
    allowance = (weights.double().pow(-2) - 1).clamp_min(1e-9).log().cpu().numpy()
    between = torch.from_numpy(np.exp(np.interp(lines, measured, allowance[measured])))
    distance = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    kernel = (1 + (distance / SPREAD_WIDTH).square()).pow(-2)
    padded = functional.pad(between[None, None], (_REACH, _REACH), mode="replicate")
    spread = functional.conv1d(padded, (kernel / kernel.sum())[None, None])[0, 0]
    spread = spread.to(weights.device)
    return torch.where(mask, (1 + spread).rsqrt(), 1).to(torch.float32)


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
