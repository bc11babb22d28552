"""What the error of sensitivity maps from few lines does to the image, measured.

Where the calibration lines are few, maps are estimated twice, under different assumptions. Both
estimates explain the data, and the images that follow from them differ. If their errors are
independent and about equal, the squared difference is twice the squared error of each. On eight
scans of 4 or 5 lines the difference was 0.9 to 2.6 times the error that the maps in use brought
about, 1.35 times in the median, where the square root of two is expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy import ndimage

from mri_alps.calibration.line_weights import sampling_weights
from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.operators import SenseOperator

if TYPE_CHECKING:
    from mri_alps.calibration.chain.scaled import ScaledSlice

DEVIATION_BLUR = 1 / 48
"""Width (standard deviation, in fields of view) over which the squared difference is averaged: it
is one draw of an error, whose zeros do not mean that there is none."""
SHARE = 0.5
"""Of the squared difference of two estimates, that is the error of one of them."""


def measure_maps_deviation(scaled: ScaledSlice) -> torch.Tensor | None:
    """Return the deviation of the image that the error of the maps brings about.

    Parameters
    ----------
    scaled : ScaledSlice
        With two estimates of its maps.

    Returns
    -------
    torch.Tensor or None
        float32 (H, W): the root of the expected squared magnitude of the error, smooth, for an
        image of unit scale; None where there is one estimate.
    """
    if scaled.alternative is None:
        return None
    maps = scaled.sensitivity_maps
    support = maps.abs().sum(0) > 0
    image, other = (_image(scaled, one) for one in (maps, scaled.alternative))
    difference = (maps.conj() * scaled.alternative * other).sum(0) - support * image
    power = SHARE * difference.abs().square().cpu().numpy()
    smooth = ndimage.gaussian_filter(power, DEVIATION_BLUR * max(power.shape), mode="nearest")
    return torch.as_tensor(smooth, device=maps.device).sqrt() * support


def _image(scaled: ScaledSlice, maps: torch.Tensor) -> torch.Tensor:
    weights = sampling_weights(scaled.kspace, scaled.mask, scaled.noise_std)
    operator = SenseOperator(maps, scaled.mask, weights)
    return gaussian_mean(operator, scaled.kspace * weights, scaled.noise_std)
