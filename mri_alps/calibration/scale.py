"""One number that makes images of different scans comparable: the image scale.

The scale of an image is the 99th percentile of the magnitude of its low-resolution
reconstruction, over the pixels that show something (above a tenth of the largest). The same
estimator serves training, where the whole image is known, and inference, where only the centre
of k-space is: both see a block of at most 16x16 samples per field of view under a Hann window,
so the scale does not follow the number of calibration lines. Leaving out empty pixels keeps it
from following readout oversampling or the amount of air around the head.
"""

from __future__ import annotations

import numpy as np
import torch

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import DtypeError, InputFileError, ShapeError
from mri_alps.core.fourier import fftc, ifftc

BLOCK = 16
"""k-space samples per field of view along each axis, at most."""


def image_scale(image: torch.Tensor | np.ndarray) -> float:
    """Scale of a complex image that is known in full (training).

    Parameters
    ----------
    image : torch.Tensor or numpy.ndarray
        Complex, shape (H, W), coil-combined, any units.

    Returns
    -------
    float
        In the units of `image`; multiplying the image by c > 0 multiplies it by c.

    Raises
    ------
    DtypeError
        If the image is real.
    ShapeError
        If it is not 2-D.
    InputFileError
        If it is zero everywhere.
    """
    tensor = torch.as_tensor(image)
    if not tensor.is_complex():
        raise DtypeError(f"image_scale needs a complex image, found {tensor.dtype}")
    if tensor.ndim != 2:
        raise ShapeError(f"image_scale needs an image (H, W), found {tuple(tensor.shape)}")
    shape = (tensor.shape[0], tensor.shape[1])
    kspace = fftc(tensor)[None].cpu().numpy()
    size = (min(BLOCK, shape[0]), min(BLOCK, shape[1]))
    images = low_resolution_images(center_crop(kspace, size), shape, size)
    return _percentile(images[0].abs())


def calibration_scale(
    calibration_kspace: np.ndarray,
    sensitivity_maps: torch.Tensor,
    field_of_view_ratio: tuple[float, float] = (1.0, 1.0),
) -> float:
    """Scale of the image behind a calibration region (inference).

    Parameters
    ----------
    calibration_kspace : numpy.ndarray
        Complex, shape (coils, readout, phase_encode), DC at N // 2.
    sensitivity_maps : torch.Tensor
        Complex, shape (coils, H, W), of the same coils.
    field_of_view_ratio : tuple of float
        Encoded over reconstructed field of view along each axis (2 for the usual readout
        oversampling): so many more samples make up the same resolution.

    Returns
    -------
    float
        In the units of the coil-combined image.

    Raises
    ------
    InputFileError
        If the region holds no signal.
    """
    shape = (sensitivity_maps.shape[-2], sensitivity_maps.shape[-1])
    wanted = [max(1, round(BLOCK * ratio)) for ratio in field_of_view_ratio]
    size = (
        min(wanted[0], calibration_kspace.shape[1]),
        min(wanted[1], calibration_kspace.shape[2]),
    )
    images = low_resolution_images(calibration_kspace, shape, size)
    maps = sensitivity_maps.to(device="cpu", dtype=images.dtype)
    return _percentile((maps.conj() * images).sum(0).abs())


def low_resolution_images(
    kspace: np.ndarray, shape: tuple[int, int], size: tuple[int, int] | None = None
) -> torch.Tensor:
    """Images of a centred k-space block under a Hann window, interpolated to `shape`.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex, shape (coils, readout, phase_encode), DC at N // 2.
    shape : tuple of int
        (H, W) of the images.
    size : tuple of int, optional
        Block to use; all of `kspace` if left out.

    Returns
    -------
    torch.Tensor
        complex64, shape (coils, H, W). A region of constant intensity keeps its intensity.
    """
    size = kspace.shape[-2:] if size is None else size
    windows = [_hann(n) for n in size]
    block = center_crop(kspace, size) * (windows[0][:, None] * windows[1][None, :])
    padded = np.zeros((len(kspace), *shape), np.complex64)
    center_crop(padded, size)[...] = block
    return ifftc(torch.from_numpy(padded))


def _hann(n: int) -> np.ndarray:
    """Hann window of n samples, 1 at n // 2, symmetric about it, nowhere quite 0."""
    return 0.5 * (1 + np.cos(2 * np.pi * (np.arange(n) - n // 2) / (n + 1)))


def _percentile(magnitude: torch.Tensor) -> float:
    values = magnitude.numpy()
    largest = values.max()
    if not np.isfinite(largest) or largest <= 0:
        raise InputFileError(
            "the low-resolution image is zero (or not finite) everywhere, so it has no scale: "
            "leave this slice out or check the data"
        )
    return float(np.percentile(values[values > 0.1 * largest], 99))
