"""Final images on the finer grid that a scanner interpolates to: zeros around their k-space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.rawdata import RawKSpace

_AXES = ("readout", "phase_encode", "partition")
_SAME = 1.02


def interpolated_size(raw: RawKSpace) -> tuple[int, int]:
    """Return the final image's size with pixels as small as the header's recon matrix has them.

    Parameters
    ----------
    raw : RawKSpace
        The scan. Along an axis whose pixels are not finer, and where their size is not known, the
        size is that of the final image as it is.
    """
    geometry = raw.geometry
    sizes = []
    for place, axis in enumerate(_AXES.index(name) for name in raw.axes):
        recon, kept = geometry.recon_matrix[axis], raw.crop[place]
        finer = raw.pixel_spacing[place] * recon / geometry.recon_field_of_view[axis]
        wanted = round(kept * finer)
        close = abs(wanted - recon) <= max(1, (_SAME - 1) * recon)
        is_finer = raw.size_is_known and finer > _SAME
        sizes.append((recon if close else wanted) if is_finer else kept)
    return sizes[0], sizes[1]


def image_size(raw: RawKSpace, configuration: ReconstructionConfiguration) -> tuple[int, int]:
    """Return the size of the final image.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    configuration : ReconstructionConfiguration
        Whether it is interpolated.
    """
    crop: tuple[int, int] = tuple(int(size) for size in raw.crop)  # type: ignore[assignment]
    return interpolated_size(raw) if configuration.interpolate and len(crop) == 2 else crop


def image_spacing(raw: RawKSpace, size: tuple[int, int]) -> tuple[float, float]:
    """Return the size in mm of the pixels of a final image.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    size : tuple of int
        From `image_size`.
    """
    if tuple(size) == tuple(raw.crop):
        return raw.pixel_spacing
    first, second = (
        spacing * kept / wanted
        for spacing, kept, wanted in zip(raw.pixel_spacing, raw.crop, size, strict=True)
    )
    return first, second


def interpolate(images: np.ndarray, crop: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Crop images and interpolate them by zero-filling in k-space; values stay what they are.

    The centre, index N // 2 of both grids, stays where it is. Where the ratio of sizes times the
    uncropped size is whole, this is the transform of k-space with zeros around it; elsewhere it is
    the same trigonometric polynomial at other points.

    Parameters
    ----------
    images : numpy.ndarray
        Real or complex (..., readout, phase_encode), uncropped: beyond the crop lies what would
        ring at its edge.
    crop : tuple of int
        What is kept, in pixels of `images`.
    size : tuple of int
        Of the result.

    Returns
    -------
    numpy.ndarray
        complex (..., *size).
    """
    first, second = (
        _matrix(n, kept, wanted)
        for n, kept, wanted in zip(images.shape[-2:], crop, size, strict=True)
    )
    return np.asarray(first @ images @ second.T)


def _matrix(n: int, kept: int, wanted: int) -> np.ndarray:
    frequency = np.arange(n) - n // 2
    there = (np.arange(wanted) - wanted // 2) * (kept / wanted)
    here = np.arange(n) - n // 2
    to_kspace = np.exp(-2j * np.pi * np.outer(frequency, here) / n)
    return np.asarray(np.exp(2j * np.pi * np.outer(there, frequency) / n) @ to_kspace / n)


def interpolation_attributes(
    raw: RawKSpace, configuration: ReconstructionConfiguration
) -> dict[str, Any]:
    """Return what a reconstruction's file says of the interpolation, nothing if there is none.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    configuration : ReconstructionConfiguration
        The settings.
    """
    size = image_size(raw, configuration)
    if size == tuple(raw.crop):
        return {}
    return {
        "interpolation": (
            f"zero-filling in k-space, from {raw.crop[0]} x {raw.crop[1]} to {size[0]} x {size[1]} "
            "pixels: neighbours are not independent. posterior_mean and samples are interpolated, "
            "cropped and in the units of reconstruction; deviation and interval are those of the "
            "interpolated samples"
        )
    }
