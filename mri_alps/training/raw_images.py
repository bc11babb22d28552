"""Fully sampled raw scans as complex training images, combined once and cached."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mri_alps.calibration import VolumeCalibration, calibrate_volume, prepare_slice
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import InputFileError
from mri_alps.core.fourier import ifftc
from mri_alps.core.values import as_utf8
from mri_alps.priors import load_tensors, save_tensors
from mri_alps.rawdata import RawKSpace, read_raw
from mri_alps.training.images import ImageRecord

if TYPE_CHECKING:
    import numpy as np

_VERSION = "2"  # part of a cache entry's name: change it when combined images change


def read_raw_images(path: Path, cache: Path | None = None) -> list[ImageRecord]:
    """Combine the coils of a fully sampled scan into complex images.

    Parameters
    ----------
    path : Path
        fastMRI, ISMRMRD or BART file.
    cache : Path, optional
        Folder in which combined images are kept; read from there the next time.

    Returns
    -------
    list of ImageRecord
        Cropped to the scan's recon matrix, with their noise level; grouped by the file's
        `patient_id`, or by file name.

    Raises
    ------
    InputFileError
        If the scan is damaged or undersampled.
    """
    raw = read_raw(path)
    entry = None if cache is None else Path(cache) / f"{_fingerprint(path)}.safetensors"
    if entry is not None and entry.is_file():
        tensors, _ = load_tensors(entry)
    else:
        _check_fully_sampled(raw)
        tensors = _combine(raw)
        if entry is not None:
            save_tensors(entry, tensors, {"source": as_utf8(path.name)})
    group = str(raw.attributes.get("patient_id") or path.stem)
    images, noise = tensors["images"].numpy(), tensors["noise_std"].tolist()
    return [ImageRecord(x, group, noise_std=std) for x, std in zip(images, noise, strict=True)]


def combine_coils(
    raw: RawKSpace, index: int, calibration: VolumeCalibration | None = None
) -> tuple[np.ndarray, float]:
    """Combine one slice with ESPIRiT maps.

    Parameters
    ----------
    raw : RawKSpace
        Fully sampled.
    index : int
        Slice.
    calibration : VolumeCalibration, optional
        Noise of the scan, if known already.

    Returns
    -------
    image : np.ndarray
        Complex64, cropped to `raw.crop`, scaled to about 1.
    noise_std : float
        Per real component, in the image's units.
    """
    slice_ = prepare_slice(raw, index, calibration=calibration, maps_error=0.0)
    image = (slice_.sensitivity_maps.conj() * ifftc(slice_.kspace)).sum(0)
    return center_crop(image, raw.crop).cpu().numpy(), float(slice_.noise_std)


def _combine(raw: RawKSpace) -> dict[str, torch.Tensor]:
    calibration = calibrate_volume(raw)
    images, noise = [], []
    for index in range(raw.n_slices):
        if not raw.read_slice(index).any():
            continue  # an empty slice teaches nothing
        image, noise_std = combine_coils(raw, index, calibration)
        images.append(torch.from_numpy(image))
        noise.append(noise_std)
    if not images:
        raise InputFileError(f"{raw.path} holds only empty slices: leave it out")
    return {"images": torch.stack(images), "noise_std": torch.tensor(noise, dtype=torch.float64)}


def _check_fully_sampled(raw: RawKSpace) -> None:
    first, stop = raw.acquired_range
    measured = raw.mask[..., first:stop]
    if not measured.all():
        raise InputFileError(
            f"{raw.path} is undersampled ({measured.mean():.0%} of its k-space was measured): "
            "training needs fully sampled scans, leave this file out"
        )


def _fingerprint(path: Path) -> str:
    status = path.stat()
    text = f"{_VERSION}|{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
