"""Pictures of scans along trajectories: what stands for the zero-filled image, and for the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.core.magnitudes import unit_of
from mri_alps.core.solvers import conjugate_gradient
from mri_alps.operators import NonCartesianSenseOperator
from mri_alps.rawdata import visited_points

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition

_PREVIEW_ITERATIONS = 10


def shot_preview(acquisition: Acquisition, n_iterations: int = _PREVIEW_ITERATIONS) -> np.ndarray:
    """Return the root sum of squares of coil images that explain the shots by least squares.

    It stands where a zero-filled image stands for Cartesian scans: few iterations, so that
    streaks are seen.

    Parameters
    ----------
    acquisition : Acquisition
        The prepared slice.
    n_iterations : int
        Of conjugate gradients.

    Returns
    -------
    numpy.ndarray
        float32 (readout, phase_encode), in the units of the scan.
    """
    shape, path = acquisition.shape, acquisition.trajectory
    if acquisition.is_empty or path is None:
        return np.zeros(shape, np.float32)
    ones = torch.ones((1, *shape), dtype=torch.complex64, device=acquisition.kspace.device)
    operator = NonCartesianSenseOperator(ones, path)
    data = operator.adjoint(acquisition.kspace.unsqueeze(1))
    images = conjugate_gradient(operator.normal, data, n_iterations)
    unit = unit_of(images)
    combined = torch.linalg.vector_norm(images / unit, dim=0) * unit
    # Of whitened coils: the weight of one pixel is that of the final image.
    weight = acquisition.rss_weight * acquisition.scale
    found: np.ndarray = (combined * weight).cpu().numpy().astype(np.float32)
    return found


def used_points(acquisition: Acquisition) -> np.ndarray:
    """Return the points of the grid of k-space next to which a slice has samples, bool (H, W).

    Parameters
    ----------
    acquisition : Acquisition
        The prepared slice.
    """
    if acquisition.trajectory is None:
        return np.zeros(acquisition.shape, bool)
    return visited_points(acquisition.trajectory.cpu().numpy(), acquisition.shape)
