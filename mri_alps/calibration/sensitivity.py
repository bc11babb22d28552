"""Sensitivity maps of the coils, behind one function."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from mri_alps.calibration._espirit import (
    dominant_eigenvectors,
    lag_matrices,
    local_matrices,
    signal_projector,
)
from mri_alps.calibration.scale import low_resolution_images
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.fourier import fftc, ifftc

MAXIMUM_REGION = 32
"""More calibration lines than this cost time and add nothing: maps are smooth."""
THRESHOLD = 0.005
"""Singular values of patches below this fraction of the largest are noise in any case."""
CROP = 0.8
"""Eigenvalue above which a pixel lies in the support."""
MARGIN = 1.25
"""Field of view that maps are estimated on, along a fully sampled readout, over the image's: maps
of an object that fills the image need not be the same at both of its borders."""


class LocalOperators(NamedTuple):
    """ESPIRiT's local operators, from which maps and all that is said of them follow.

    Attributes
    ----------
    block : numpy.ndarray
        Complex (coils, readout, phase_encode), at most 32x32: what they were fitted to.
    lags : torch.Tensor
        Their Fourier coefficients, see `lag_matrices`, on the device where work is done.
    grid : tuple of int
        Pixels of the field of view that `block` belongs to (readout, phase_encode).
    shape : tuple of int
        Of the image in its middle.
    """

    block: np.ndarray
    lags: torch.Tensor
    grid: tuple[int, int]
    shape: tuple[int, int]


def estimate_sensitivity_maps(
    calibration_kspace: np.ndarray,
    shape: tuple[int, int],
    *,
    noise_std: float = 0.0,
    threshold: float = THRESHOLD,
    crop: float = CROP,
    cropping: Literal["support", "hard", "soft"] = "support",
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Estimate sensitivity maps from a fully sampled centre of k-space (ESPIRiT).

    Parameters
    ----------
    calibration_kspace : numpy.ndarray
        Complex, shape (coils, readout, phase_encode): a block with DC at its N // 2, at least
        4x4; only its central 32x32 is used. Of a block that holds all of the readout the field
        of view is enlarged first (`enlarge_readout`).
    shape : tuple of int
        (readout, phase_encode) of the maps; odd or even, square or not.
    noise_std : float
        Standard deviation of the calibration data's noise per real component (1 after
        whitening); singular values that noise alone explains are not fitted.
    threshold : float
        Singular values below this fraction of the largest count as noise in any case.
    crop : float
        Pixels whose eigenvalue exceeds this lie in the support (1 where the coils explain the
        data exactly).
    cropping : {"support", "hard", "soft"}
        What becomes of the other pixels. "support", what reconstructions use: see below. "hard"
        and "soft" are ESPIRiT's own: 0 where the eigenvalue is at most `crop`, or a smooth
        transition around it (`soft_weight`), which Soft-SENSE is made with.
    device : torch.device or str
        Where to compute.

    Returns
    -------
    torch.Tensor
        complex64, shape (coils, *shape), sum over coils of |S|^2 = 1 inside the support and 0
        outside (the norm is the weight with soft cropping). The support is a hard one,
        generously drawn: eigenvalue above `crop`, or clear low-resolution signal, holes filled
        and the border moved out by 1 % of the image. The phase is chosen so that the combined
        low-resolution image is real and positive: the slow phase of the object is in the maps,
        not in the image. A single coil has the map 1 everywhere.

    Raises
    ------
    ConfigurationError
        If `cropping` is unknown.
    DtypeError
        If the data are real.
    ShapeError
        If the block is not 3-D, smaller than 4x4 or larger than `shape`, or holds only zeros.
    """
    if cropping not in ("support", "hard", "soft"):
        raise ConfigurationError(f"cropping is support, hard or soft, found {cropping!r}")
    data = np.asarray(calibration_kspace)
    _check(data, shape)
    if data.shape[0] == 1:
        return torch.ones((1, *shape), dtype=torch.complex64, device=device)
    operators = local_operators(
        data, shape, noise_std=noise_std, threshold=threshold, device=device
    )
    return maps_of(operators, crop, cropping)


def local_operators(
    calibration_kspace: np.ndarray,
    shape: tuple[int, int],
    *,
    noise_std: float = 1.0,
    threshold: float = THRESHOLD,
    grid: tuple[int, int] | None = None,
    device: torch.device | str = "cpu",
) -> LocalOperators:
    """Fit ESPIRiT's local operators to a calibration region of several coils.

    Parameters
    ----------
    calibration_kspace, shape, noise_std, threshold, device
        As `estimate_sensitivity_maps` takes them; noise of whitened coils if left out.
    grid : tuple of int, optional
        Pixels of the field of view that the region belongs to, if that is larger than the image.

    Raises
    ------
    DtypeError, ShapeError
        As `estimate_sensitivity_maps` raises them.
    """
    data = np.asarray(calibration_kspace)
    _check(data, shape)
    if grid is None and data.shape[1] == shape[0]:
        data = enlarge_readout(torch.as_tensor(data)).numpy()
        grid = (data.shape[1], shape[1])
    block = central_block(data)
    return LocalOperators(block, _lags(block, threshold, noise_std, device), grid or shape, shape)


def enlarge_readout(kspace: torch.Tensor) -> torch.Tensor:
    """Return the k-space of the same image in a field of view that is larger by `MARGIN`.

    Kernels of a few samples are smooth and periodic over the field of view. Coils are not where
    the object goes on to its borders, or was cut there with the readout's oversampling: with air
    around it what they see is smooth again.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex (coils, readout, phase_encode), all of the readout.

    Returns
    -------
    torch.Tensor
        Complex (coils, n, phase_encode) with n of the same parity, DC at n // 2.
    """
    margin = math.ceil((MARGIN - 1) * kspace.shape[1] / 2)
    return fftc(torch.nn.functional.pad(ifftc(kspace, (1,)), (0, 0, margin, margin)), (1,))


def reduce_readout(block: np.ndarray, grid: int, height: int) -> np.ndarray:
    """Return the middle of k-space of an image from that of an enlarged one, as large a block.

    Parameters
    ----------
    block : numpy.ndarray
        Complex (coils, n, phase_encode), the middle of the readout of `grid` samples.
    grid, height : int
        Readout of the enlarged image and of the image.
    """
    kspace = np.zeros((len(block), grid, block.shape[2]), block.dtype)
    size = block.shape[1:]
    center_crop(kspace, size)[...] = block
    images = center_crop(ifftc(torch.as_tensor(kspace), (1,)), (height, size[1]))
    return center_crop(fftc(images, (1,)), (min(size[0], height), size[1])).numpy()


def maps_of(
    operators: LocalOperators,
    crop: float = CROP,
    cropping: Literal["support", "hard", "soft"] = "support",
) -> torch.Tensor:
    """Return the maps that local operators have, see `estimate_sensitivity_maps`.

    Parameters
    ----------
    operators : LocalOperators
        Of several coils.
    crop, cropping
        As `estimate_sensitivity_maps` takes them.
    """
    block, lags, grid, shape = operators
    images = low_resolution_images(block, grid).to(lags.device)
    maps, eigenvalues = dominant_eigenvectors(lags, grid, images)
    maps, eigenvalues, images = (center_crop(x, shape) for x in (maps, eigenvalues, images))
    maps = _fix_phase(maps, images)
    if cropping != "support":
        return maps * (eigenvalues > crop if cropping == "hard" else soft_weight(eigenvalues, crop))
    magnitude = images.abs().square().sum(0).sqrt()
    support = find_support(magnitude.cpu().numpy(), eigenvalues.cpu().numpy(), crop)
    return maps * torch.as_tensor(support, device=maps.device)


def central_block(calibration_kspace: np.ndarray) -> np.ndarray:
    """Return what of a calibration region maps are made of, at most 32x32.

    Parameters
    ----------
    calibration_kspace : numpy.ndarray
        Complex (coils, readout, phase_encode).
    """
    height, width = calibration_kspace.shape[1:]
    size = (min(height, MAXIMUM_REGION), min(width, MAXIMUM_REGION))
    return np.ascontiguousarray(center_crop(calibration_kspace, size))


def local_eigenvalues(
    calibration_kspace: np.ndarray,
    shape: tuple[int, int],
    *,
    noise_std: float = 1.0,
    threshold: float = THRESHOLD,
) -> np.ndarray:
    """Return all eigenvalues of ESPIRiT's local operators, for a look at them.

    Parameters
    ----------
    calibration_kspace : numpy.ndarray
        As `estimate_sensitivity_maps` takes it, of whitened coils.
    shape : tuple of int
        Of the image (readout, phase_encode): every pixel takes an eigendecomposition.
    noise_std, threshold : float
        As `estimate_sensitivity_maps` takes them.

    Returns
    -------
    numpy.ndarray
        float32 (coils, *shape), the largest first.
    """
    data = central_block(calibration_kspace)
    local = local_matrices(_lags(data, threshold, noise_std, "cpu"), shape)
    values = torch.linalg.eigvalsh(local).flip(-1).T
    return values.reshape(-1, *shape).numpy()


def _lags(
    data: np.ndarray, threshold: float, noise_std: float, device: torch.device | str
) -> torch.Tensor:
    kernel_shape = (_kernel_length(data.shape[1]), _kernel_length(data.shape[2]))
    on_device = torch.as_tensor(data, device=device)
    projector = signal_projector(on_device, kernel_shape, threshold, noise_std)
    return lag_matrices(projector, len(data), kernel_shape)


def soft_weight(eigenvalues: torch.Tensor, crop: float) -> torch.Tensor:
    """Return the weight of maps with a smooth transition at the edge of the support.

    The S-curve of BART's `ecalib -S`: 1 at eigenvalue 1, 1/2 at crop^2, 0 from (2 crop - 1)^2
    downwards.

    Parameters
    ----------
    eigenvalues : torch.Tensor
        ESPIRiT's.
    crop : float
        Middle of the transition, on the scale of the square root of the eigenvalues; below 1.
    """
    position = (eigenvalues.clamp_min(0).sqrt() - crop) / (1 - crop)
    position = position.clamp(-1, 1)
    return 0.5 * (1 + 2 * position / (1 + position.square()))


def find_support(magnitude: np.ndarray, eigenvalues: np.ndarray, crop: float) -> np.ndarray:
    """Mark where maps are kept: a cut object costs more than some background.

    Parameters
    ----------
    magnitude : numpy.ndarray
        Low-resolution image, shape (H, W).
    eigenvalues : numpy.ndarray
        ESPIRiT's, shape (H, W).
    crop : float
        Smallest eigenvalue inside.

    Returns
    -------
    numpy.ndarray
        bool (H, W).
    """
    support = (eigenvalues > crop) | find_bright(magnitude)
    radius = max(1, round(0.01 * max(support.shape)))
    support = ndimage.binary_dilation(support, iterations=radius)
    return ndimage.binary_fill_holes(support)


def find_bright(magnitude: np.ndarray) -> np.ndarray:
    """Mark clear signal in a low-resolution image.

    Parameters
    ----------
    magnitude : numpy.ndarray
        Its magnitude, any shape.
    """
    return np.asarray(magnitude > 0.2 * np.percentile(magnitude, 99))


def _kernel_length(n: int) -> int:
    """Patch length for n calibration samples: 6 from 18 on, 4 for few, so positions remain."""
    return min(6, max(min(4, n // 2), n // 3))


def _fix_phase(maps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Give maps the phase with which the low-resolution image becomes real and positive.

    An eigenvector's phase is arbitrary at every pixel. A coil, or any fixed combination of
    coils, as reference has a null somewhere in the head, around which the image's phase would
    wind; the image itself is nowhere zero where it matters.
    """
    combined = (maps.conj() * images).sum(0)
    return maps * torch.exp(1j * combined.angle())


def _check(data: np.ndarray, shape: tuple[int, int]) -> None:
    if not np.iscomplexobj(data):
        raise DtypeError(f"calibration k-space must be complex, found {data.dtype}")
    if data.ndim != 3 or min(data.shape[1:]) < 4:
        raise ShapeError(
            "calibration k-space must have the shape (coils, readout, phase_encode) with at "
            f"least 4x4 samples, found {data.shape}"
        )
    if data.shape[1] > shape[0] or data.shape[2] > shape[1]:
        raise ShapeError(
            f"a calibration block of shape {data.shape} is larger than the maps {shape} to be "
            "made of it: hand in the shape of the whole k-space"
        )
    if not np.isfinite(data).all() or not data.any():
        raise ShapeError("calibration k-space holds only zeros, NaN or Inf: no maps can be made")
