"""What sensitivity maps from outside leave of the signal in the calibration region."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from mri_alps.calibration.scale import low_resolution_images

if TYPE_CHECKING:
    import torch


class SignalBesideMaps(NamedTuple):
    """Parts of the signal's norm in the low-resolution coil images of the calibration region.

    Attributes
    ----------
    outside : float
        Outside of the maps' support, farther than the resolution reaches.
    across : float
        Inside it, in combinations of coils that the maps do not have.
    """

    outside: float
    across: float


def signal_beside_maps(
    calibration_kspace: np.ndarray, sensitivity_maps: torch.Tensor
) -> SignalBesideMaps | None:
    """Compare maps with the low-resolution images of the same coils.

    Parameters
    ----------
    calibration_kspace : numpy.ndarray
        Complex (coils, readout, phase_encode), whitened: noise of 1 per real component.
    sensitivity_maps : torch.Tensor
        Complex (coils, H, W), of unit norm over coils, zero outside of their support.

    Returns
    -------
    SignalBesideMaps or None
        None if the region is smaller than 4x4.
    """
    size, shape = calibration_kspace.shape[-2:], sensitivity_maps.shape[-2:]
    if min(size) < 4:
        return None
    images = low_resolution_images(calibration_kspace, (shape[0], shape[1]))
    maps = sensitivity_maps.to("cpu", images.dtype)
    along = (maps.conj() * images).sum(0).abs().square().numpy()
    power = images.abs().square().sum(0).numpy()
    support = maps.abs().sum(0).numpy() > 0
    reach = np.ones([2 * math.ceil(n / m) + 1 for n, m in zip(shape, size, strict=True)], bool)
    inside = ndimage.binary_dilation(support, structure=reach)
    noise = _noise_of(size, (shape[0], shape[1]))
    total = max(float(power.sum()) - noise * len(maps) * power.size, noise * power.size)
    outside = float((power - noise * len(maps))[~inside].sum())
    across = float((power - along - noise * (len(maps) - 1))[support].sum())
    return SignalBesideMaps(*(math.sqrt(max(part, 0.0) / total) for part in (outside, across)))


def _noise_of(size: tuple[int, ...], shape: tuple[int, int]) -> float:
    """Power of the noise of the windowed region in a pixel of one coil."""
    window = low_resolution_images(np.ones((1, *size), np.complex64), shape)
    return 2 * float(window.abs().square().mean())
