"""Small image helpers: cropping as the header says, root sum of squares, units."""

from __future__ import annotations

import numpy as np
import torch

from mri_alps.core.fourier import ifftc
from mri_alps.core.magnitudes import unit_of


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
