"""Coil compression anew at every readout position.

Zhang et al., Magn Reson Med 69:571-582 (2013), geometric coil compression: where the readout is
fully sampled its inverse transform separates the rows of the image, and each sees so little of the
coils' geometry that few virtual coils are enough. Rows need not be aligned to each other here,
since maps and data of a row are compressed alike: A^H A never mixes rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import fftc, ifftc

if TYPE_CHECKING:
    import numpy as np


def row_compression_matrices(sensitivity_maps: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Return, for each readout position, the coil combinations that its maps need.

    With P the projector on the virtual coils, what is left out of A^H A is E^H F^H M F E with
    E = (1 - P) S, whose norm is at most the largest |E|^2 of a pixel: the tolerance bounds
    |A^H A x - A'^H A' x| / |x| for maps of unit norm.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Complex, shape (coils, readout, phase_encode), of whitened coils.
    tolerance : float
        Largest fraction of a pixel's sensitivity energy |S|^2 that may be left out,
        0 < tolerance < 1.

    Returns
    -------
    torch.Tensor
        complex128, shape (readout, virtual coils, coils), orthonormal rows for each readout
        position, so white noise stays white. The number of virtual coils is the smallest that
        keeps to the tolerance everywhere.

    Raises
    ------
    ConfigurationError
        If the tolerance is out of its range.
    """
    if not 0 < tolerance < 1:
        raise ConfigurationError(
            f"the tolerance of coil compression lies between 0 and 1, found {tolerance}: 1e-2 "
            "leaves out a hundredth of a pixel's sensitivity at most"
        )
    maps = sensitivity_maps.to(torch.complex128).transpose(0, 1)  # (readout, coils, phase encode)
    _, vectors = torch.linalg.eigh(maps @ maps.mH)
    matrices = vectors.flip(-1).mH
    energy = (matrices @ maps).abs().square()
    total = energy.sum(1, keepdim=True)
    left_out = (total - energy.cumsum(1)) / total.clamp_min(torch.finfo(total.dtype).tiny)
    worst = left_out.amax((0, 2))
    enough = (worst <= tolerance).nonzero()
    n_virtual = int(enough[0]) + 1 if len(enough) else len(worst)
    return matrices[:, :n_virtual].resolve_conj().contiguous()


def compress_rows(kspace: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Compress k-space row by row of the image.

    Parameters
    ----------
    kspace : torch.Tensor
        complex64, shape (coils, readout, phase_encode), whole lines along the readout.
    matrices : torch.Tensor
        From `row_compression_matrices`.

    Returns
    -------
    torch.Tensor
        complex64, shape (virtual coils, readout, phase_encode).
    """
    hybrid = ifftc(kspace, -2).transpose(0, 1)
    compressed = matrices.to(torch.complex64) @ hybrid
    return fftc(compressed.transpose(0, 1), -2)


def require_full_readout(mask: np.ndarray) -> None:
    """Refuse a mask that leaves out a part of the readout of a measured line.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool (readout, phase_encode).

    Raises
    ------
    ConfigurationError
        Naming what was found.
    """
    partly = mask.any(0) & ~mask.all(0)
    if partly.any():
        raise ConfigurationError(
            f"coil compression per readout position needs whole lines along the readout, and "
            f"{int(partly.sum())} of {mask.shape[1]} lines are measured in part: leave "
            "--coil-compression-tolerance (coil_compression_tolerance) out for this scan"
        )
