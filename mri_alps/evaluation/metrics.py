"""Image metrics, computed by fastMRI's own functions, and the error that is to be expected."""

from __future__ import annotations

import numpy as np

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import ShapeError
from mri_alps.core.magnitudes import unit_of
from mri_alps.evaluation.coverage import predictive_std

COMMON_PART = 0.5
"""Of the side of the target: an image that has less of it belongs to another scan."""


def image_metrics(target: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Return NMSE, PSNR and SSIM of a volume as ``fastmri.evaluate`` defines them.

    Parameters
    ----------
    target, prediction : numpy.ndarray
        Real, (slices, H, W), in the same units. PSNR and SSIM refer to the target's maximum.

    Returns
    -------
    dict
        Keys NMSE (a ratio), PSNR (dB), SSIM (at most 1).

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    if target.shape != prediction.shape or target.ndim != 3:
        raise ShapeError(
            f"metrics compare volumes of one shape (slices, H, W), found target {target.shape} "
            f"and reconstruction {prediction.shape}"
        )
    from fastmri import evaluate  # takes seconds to import

    unit = unit_of(target)  # all three are ratios
    target, prediction = target / unit, prediction / unit
    with np.errstate(divide="ignore"):  # a perfect reconstruction has an infinite PSNR
        return {
            "NMSE": float(evaluate.nmse(target, prediction)),
            "PSNR": float(evaluate.psnr(target, prediction)),
            "SSIM": float(np.squeeze(evaluate.ssim(target, prediction))),
        }


def expected_nmse(mean: np.ndarray, lower: np.ndarray, upper: np.ndarray, degrees: int) -> float:
    """Return the NMSE that the posterior expects of its mean, without a reference.

    Parameters
    ----------
    mean, lower, upper : numpy.ndarray
        Mean and bounds of the 90 % predictive interval, real, of one shape and unit.
    degrees : int
        Degrees of freedom of the interval.
    """
    energy = float(np.square(mean, dtype=np.float64).sum())
    variance = float(np.square(predictive_std(lower, upper, degrees), dtype=np.float64).sum())
    return variance / max(energy, 1e-30)


def crop_like_fastmri(target: np.ndarray, *images: np.ndarray) -> tuple[np.ndarray, ...]:
    """Crop a target and images to the square of the target's last axis, as fastMRI does.

    Where an image is narrower than that, as that of a k-space narrower than the recon matrix is,
    all are cropped to what they have in common, as fastMRI's `center_crop_to_smallest` does, but
    around pixel N // 2 for odd sizes too.

    Parameters
    ----------
    target : numpy.ndarray
        (slices, H, W).
    *images : numpy.ndarray
        At least `COMMON_PART` of the square along both axes.

    Raises
    ------
    ShapeError
        If an image is smaller than that.
    """
    from fastmri.data import transforms

    side = target.shape[-1]
    sizes = [image.shape[-2:] for image in (target, *images)]
    common = tuple(min(side, *(size[axis] for size in sizes)) for axis in (0, 1))
    if min(common) < COMMON_PART * side:
        smallest = min(sizes, key=min)
        raise ShapeError(
            f"an image of {smallest[0]}x{smallest[1]} is smaller than half of the "
            f"{side}x{side} square of the target's last axis on which fastMRI scores: give the "
            "target that belongs to it"
        )
    crop = transforms.center_crop if common == (side, side) else center_crop
    return tuple(crop(image, common) for image in (target, *images))
