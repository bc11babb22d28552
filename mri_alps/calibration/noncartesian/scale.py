"""The image scale where little of the centre of k-space is covered, by means of the maps.

They stand in for what was not sampled: all samples together have an image under a Gaussian prior,
and its low resolution hardly depends on that prior.
"""

from __future__ import annotations

import torch

from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.calibration.scale import calibration_scale
from mri_alps.core.fourier import fftc
from mri_alps.core.magnitudes import unit_of
from mri_alps.core.solvers import conjugate_gradient
from mri_alps.operators import NonCartesianSenseOperator

_FIRST_ITERATIONS, _ROUNDS = 10, 3
_CLOSE = 0.03  # relative change of the scale that ends the rounds


def scale_through_maps(
    kspace: torch.Tensor,
    sensitivity_maps: torch.Tensor,
    trajectory: torch.Tensor,
    field_of_view_ratio: tuple[float, float] = (1.0, 1.0),
) -> float:
    """Find the scale of the image that explains all samples.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex64 (coils, ...), whitened: noise of 1 per real component.
    sensitivity_maps : torch.Tensor
        Complex64 (coils, H, W), unit norm over coils.
    trajectory : torch.Tensor
        float64 (..., 2), cycles per field of view.
    field_of_view_ratio : tuple of float
        As `calibration_scale` takes it.

    Returns
    -------
    float
        In the units of `kspace`. Simulated spirals, 8 coils, every fourth and every eighth of their
        interleaves: within 1 % and within 5 % of the scale of the truth.

    Raises
    ------
    InputFileError
        If there is no signal.
    """
    operator = NonCartesianSenseOperator(sensitivity_maps, trajectory)
    unit = unit_of(kspace)
    data = kspace / unit
    image = conjugate_gradient(operator.normal, operator.adjoint(data), _FIRST_ITERATIONS)
    scale = _of(image, field_of_view_ratio)
    for _ in range(_ROUNDS):
        image = gaussian_mean(operator, data / scale, 1 / (scale * unit))
        change = _of(image, field_of_view_ratio)
        scale *= change
        if abs(change - 1) < _CLOSE:
            break
    return scale * unit


def _of(image: torch.Tensor, ratio: tuple[float, float]) -> float:
    return calibration_scale(
        fftc(image)[None].cpu().numpy(), torch.ones_like(image)[None].cpu(), ratio
    )
