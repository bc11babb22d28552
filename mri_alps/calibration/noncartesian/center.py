"""The centre of k-space on a grid, by least squares from the samples of shots near it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mri_alps.core.fourier import fftc
from mri_alps.core.solvers import conjugate_gradient
from mri_alps.operators import NonCartesianSenseOperator

LARGEST, SMALLEST = 32, 6
"""Samples of the block along each axis, and radius in cycles per field of view that maps take."""
_ITERATIONS = 30
_DAMPING = 0.05  # of a fully sampled grid's A^H A: the corners, which are hardly sampled
_MARGIN = 1e-3


class Center(NamedTuple):
    """A block of k-space around its centre.

    Attributes
    ----------
    kspace : numpy.ndarray
        complex64 (coils, n, n), DC at n // 2, in the units of the samples.
    noise_std : float
        Root mean square of its noise, where that of samples is 1: less than 1 where they are dense.
    """

    kspace: np.ndarray
    noise_std: float


def least_squares_center(samples: np.ndarray, trajectory: np.ndarray, radius: float) -> Center:
    """Find the centre of k-space that explains the samples near it best.

    No density compensation: dense samples count as often as they were measured. What little
    damping takes away, it takes of all coils alike, whose maps stay as they are.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex (coils, ...), whitened.
    trajectory : numpy.ndarray
        float (..., 2), cycles per field of view.
    radius : float
        That is covered densely, at least 1.

    Returns
    -------
    Center
        At most 32x32 samples.
    """
    n = int(min(LARGEST, 2 * np.floor(radius)))
    places = trajectory.reshape(-1, 2)
    # Not on the edge: whether a rounded place counts is not to be left to the last digit.
    inside = (np.abs(places) < n / 2 - _MARGIN).all(axis=1)
    # In double precision: at the block's corners rounding would grow to the size of the noise.
    data = torch.as_tensor(samples.reshape(len(samples), 1, -1)[:, :, inside]).to(torch.complex128)
    ones = torch.ones((1, n, n), dtype=torch.complex128)
    operator = NonCartesianSenseOperator(ones, torch.as_tensor(places[inside]))
    image = conjugate_gradient(
        lambda x: operator.normal(x) + _DAMPING * x, operator.adjoint(data), _ITERATIONS
    )
    diagonal = operator.normal_fourier_diagonal().double().clamp_min(1e-3)
    noise_std = float((1 / diagonal).mean().sqrt())
    return Center(fftc(image).to(torch.complex64).numpy(), min(1.0, noise_std))
