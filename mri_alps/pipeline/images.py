"""Small image helpers: cropping as the header says, root sum of squares, units."""

from __future__ import annotations

import numpy as np
import torch

from mri_alps.core.fourier import ifftc
from mri_alps.core.magnitudes import unit_of


def center_crop_or_pad(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring the last two axes to `shape` around the centre, cropping or padding with zeros.

    The centre pixel N // 2 stays the centre pixel, for odd and even sizes.

    Parameters
    ----------
    images : numpy.ndarray
        (..., H, W).
    shape : tuple of int
        Wanted (H, W).
    """
    for axis, size in zip((-2, -1), shape, strict=True):
        have = images.shape[axis]
        offset = have // 2 - size // 2
        if size <= have:
            images = np.take(images, range(offset, offset + size), axis=axis)
        else:
            widths = [(0, 0)] * images.ndim
            widths[axis] = (-offset, size - have + offset)
            images = np.pad(images, widths)
    return images


def root_sum_of_squares(kspace: np.ndarray) -> np.ndarray:
    """Return the root sum of squares over coils of the centred inverse Fourier transform.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex, (coils, readout, phase_encode).

    Returns
    -------
    numpy.ndarray
        float32, (readout, phase_encode).
    """
    images = ifftc(torch.from_numpy(np.ascontiguousarray(kspace)))
    unit = unit_of(images)
    return (torch.linalg.vector_norm(images / unit, dim=0) * unit).numpy().astype(np.float32)
