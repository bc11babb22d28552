"""Fully sampled raw scans as complex training images, combined once and cached."""

from __future__ import annotations

import hashlib
import re
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

ANATOMIES = ("brain", "knee", "prostate", "breast", "spine", "pelvis", "heart", "abdomen", "head")
"""Words that `anatomy_of` looks for in names."""
_KNEE_PROTOCOLS = ("CORPD_FBK", "CORPDFS_FBK")  # fastMRI's, whose knee files are called by number
_VERSION = "3"  # part of a cache entry's name: change it when combined images change


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
        `patient_id`, or by file name, with the anatomy of `anatomy_of`. From the cache they are
        mapped, not read: they stay on disk until a crop is cut out of them.

    Raises
    ------
    InputFileError
        If the scan is damaged or undersampled.
    """
    entry = None if cache is None else _entry(path, cache)
    if entry is not None and entry.is_file():
        tensors, facts = load_tensors(entry)
    else:
        raw = read_raw(path)
        check_fully_sampled(raw)
        tensors, facts = _combine(raw), _facts(raw)
        if entry is not None:
            save_tensors(entry, tensors, facts)
    group, anatomy = facts["patient"], facts["anatomy"]
    images, noise = tensors["images"].numpy(), tensors["noise_std"].tolist()
    return [
        ImageRecord(x, group, noise_std=std, anatomy=anatomy)
        for x, std in zip(images, noise, strict=True)
    ]


def patient_of(raw: RawKSpace) -> str:
    """Return who was scanned, as far as the file says; its name where it does not.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    """
    return str(raw.attributes.get("patient_id") or Path(raw.path).stem)


def anatomy_of(raw: RawKSpace) -> str:
    """Return what a scan shows, as far as names say; "" where they do not.

    Parameters
    ----------
    raw : RawKSpace
        The scan. The first name that has one of `ANATOMIES` as a word decides: that of its file,
        of its folder, of the folder above; else the name that fastMRI gives knee protocols.
    """
    path = Path(raw.path).resolve()
    for name in (path.stem, path.parent.name, path.parent.parent.name):
        found = set(re.findall("[a-z]+", name.lower())) & set(ANATOMIES)
        if len(found) == 1:
            return found.pop()
    return "knee" if str(raw.acquisition or "") in _KNEE_PROTOCOLS else ""


def are_kept(path: Path, cache: Path) -> bool:
    """Return whether images of a scan are in the cache.

    Parameters
    ----------
    path : Path
        The scan.
    cache : Path
        Folder.
    """
    return _entry(path, cache).is_file()


def keep_images(raw: RawKSpace, cache: Path, images: np.ndarray) -> None:
    """Let images stand for a scan wherever this cache is used: posterior samples, for example.

    Parameters
    ----------
    raw : RawKSpace
        The scan, which may be undersampled.
    cache : Path
        Folder.
    images : np.ndarray
        Complex64 (n, H, W), any number, of any scale, taken as free of noise.
    """
    tensors = {
        "images": torch.from_numpy(images),
        "noise_std": torch.zeros(len(images), dtype=torch.float64),
    }
    save_tensors(_entry(Path(raw.path), cache), tensors, _facts(raw))


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


def check_fully_sampled(raw: RawKSpace) -> None:
    """Raise `InputFileError` if a scan was undersampled, beside zero padding at its edges.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    """
    first, stop = raw.acquired_range
    measured = raw.mask[..., first:stop]
    if not measured.all():
        raise InputFileError(
            f"{raw.path} is undersampled ({measured.mean():.0%} of its k-space was measured): "
            "training needs fully sampled scans, leave this file out, or train on all of them "
            "with --from-undersampled"
        )


def _facts(raw: RawKSpace) -> dict[str, str]:
    """What is kept of a scan beside its images, so that a run does not open it again."""
    return {
        "source": as_utf8(Path(raw.path).name),
        "patient": as_utf8(patient_of(raw)),
        "anatomy": anatomy_of(raw),
    }


def _entry(path: Path, cache: Path) -> Path:
    return Path(cache) / f"{_fingerprint(path)}.safetensors"


def _fingerprint(path: Path) -> str:
    status = path.stat()
    text = f"{_VERSION}|{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
