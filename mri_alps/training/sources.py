"""Readers of training data: every supported file becomes `ImageRecord`s."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mri_alps.core.errors import InputFileError, MriAlpsError, damage_of
from mri_alps.training.images import ImageRecord, ImageSet, check_image
from mri_alps.training.raw_images import read_raw_images

_SUFFIXES = (".npz", ".npy", ".nii", ".nii.gz", ".h5", ".hdf5", ".cfl")
_RAW_SUFFIXES = (".h5", ".hdf5", ".cfl")
_IMAGE_KEYS = ("images", "image", "img", "arr_0")
_PATIENT_KEYS = ("patient", "subject", "group", "volume")
# Names without a patient: this many neighbouring slices could still be the same patient.
_GUARD = 5
_BLOCKS = 10


def load_images(paths: Sequence[Path], cache: Path | None = None) -> ImageSet:
    """Read training images from files and folders.

    Parameters
    ----------
    paths : sequence of Path
        Files, or folders that are searched recursively, of: `.npz` (an array `images`, `image`
        or `img` of (n, H, W) or (H, W), magnitudes or complex; optionally, with n rows, `patient`
        or `subject`, `meta` or `name`, `box` (top, bottom, left, right: what was measured; the
        rest is padding and left out), `weight` (how often it is drawn), `noise_std` (per real
        component, in the image's units) and `anatomy`), `.npy`, `.nii`, `.nii.gz`, `.h5` and
        `.hdf5` (fully sampled fastMRI and ISMRMRD scans), `.cfl` (BART).
    cache : Path, optional
        Folder in which combined raw scans are kept.

    Returns
    -------
    ImageSet
        In the order of the sorted file names; blank slices are left out.

    Raises
    ------
    InputFileError
        If nothing usable is found or a file is damaged.
    """
    records: list[ImageRecord] = []
    for path in find_files(paths):
        records.extend(r for r in _read(path, cache) if np.any(r.image))
    if not records:
        raise InputFileError(
            f"no images found in {', '.join(map(str, paths))}: expected .npz, .npy, NIfTI, "
            "HDF5 (fastMRI, ISMRMRD) or BART files"
        )
    return ImageSet(tuple(records))


def find_files(paths: Sequence[Path]) -> list[Path]:
    """List the supported files in and under `paths`, sorted, each once.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Files and folders.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise InputFileError(f"no file or folder at {path}: check the path")
        candidates: Iterable[Path] = sorted(path.rglob("*")) if path.is_dir() else [path]
        for candidate in candidates:
            if candidate.is_file() and _kind(candidate) is not None:
                found[candidate.resolve()] = None
    return list(found)


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return suffix
    return None


def _read(path: Path, cache: Path | None) -> list[ImageRecord]:
    kind = _kind(path)
    if kind in _RAW_SUFFIXES:
        return read_raw_images(path, cache)
    if kind in (".nii", ".nii.gz"):
        return _read_nifti(path)
    try:
        if kind == ".npz":
            return _read_npz(path)
        return _records(np.load(path, allow_pickle=False), [path.stem], path)
    except MriAlpsError:
        raise
    # numpy, zipfile and the decompressors behind it raise whatever damaged bytes lead them to.
    except Exception as error:
        raise InputFileError(
            f"{path} is not a readable numpy file ({damage_of(error)}): export it again"
        ) from error


def _read_npz(path: Path) -> list[ImageRecord]:
    with np.load(path, allow_pickle=False) as archive:
        records = _read_archive(archive, path)
        if "box" in archive.files:
            boxes = _rows(archive, "box", 4, len(records), path)
            images = [_cut(r.image, box, path) for r, box in zip(records, boxes, strict=True)]
            records = [replace(r, image=i) for r, i in zip(records, images, strict=True)]
        for key in {"weight", "noise_std"} & set(archive.files):
            values = _rows(archive, key, 1, len(records), path)[:, 0]
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise InputFileError(
                    f"{path} has entries of {key} that are not positive: correct or remove them"
                )
            entries: list[dict[str, Any]] = [{key: float(value)} for value in values]
            records = [replace(r, **entry) for r, entry in zip(records, entries, strict=True)]
        if "anatomy" in archive.files:
            names = np.atleast_1d(archive["anatomy"])
            if names.shape != (len(records),) or names.dtype.kind != "U":
                raise InputFileError(
                    f"{path} has the array anatomy of shape {names.shape} and type {names.dtype}, "
                    f"expected a text for each of its {len(records)} images"
                )
            named = zip(records, names.tolist(), strict=True)
            records = [replace(record, anatomy=name) for record, name in named]
        return records


def _rows(
    archive: np.lib.npyio.NpzFile, key: str, columns: int, count: int, path: Path
) -> np.ndarray:
    """An array that has a row of so many numbers for each image."""
    rows = archive[key]
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.shape != (count, columns) or rows.dtype.kind not in "uif":
        raise InputFileError(
            f"{path} has the array {key} of shape {archive[key].shape} and type {rows.dtype}, "
            f"expected {columns} number(s) for each of its {count} images"
        )
    return rows


def _cut(image: np.ndarray, box: np.ndarray, path: Path) -> np.ndarray:
    top, bottom, left, right = box.tolist()
    height, width = image.shape
    if not (0 <= top <= bottom - 8 <= height - 8 and 0 <= left <= right - 8 <= width - 8):
        raise InputFileError(
            f"{path} has the box {[top, bottom, left, right]}, expected at least 8 x 8 pixels "
            f"inside of {height} x {width}"
        )
    return image[int(top) : int(bottom), int(left) : int(right)]


def _read_archive(archive: np.lib.npyio.NpzFile, path: Path) -> list[ImageRecord]:
    key = next((key for key in _IMAGE_KEYS if key in archive.files), None)
    if key is None:
        raise InputFileError(
            f"{path} has the arrays {archive.files}, expected one of {list(_IMAGE_KEYS)}"
        )
    images = archive[key]
    patient = next((key for key in _PATIENT_KEYS if key in archive.files), None)
    if patient is not None:
        labels = [f"{path.stem}/{value}" for value in np.atleast_1d(archive[patient])]
        return _records(images, labels, path)
    if "meta" in archive.files:
        labels = [f"{path.stem}/{row[0]}" for row in archive["meta"]]
        return _records(images, labels, path)
    if "name" in archive.files:
        return _by_name(images, [str(name) for name in archive["name"]], path)
    return _records(images, [path.stem], path)


def _records(images: np.ndarray, labels: Sequence[str], path: Path) -> list[ImageRecord]:
    images = images[None] if images.ndim == 2 else images
    if images.ndim != 3:
        raise InputFileError(f"{path} has images of shape {images.shape}, expected (n, H, W)")
    labels = list(labels) * len(images) if len(labels) == 1 else labels
    if len(labels) != len(images):
        raise InputFileError(f"{path} has {len(images)} images but {len(labels)} patient labels")
    if images.dtype != np.uint8:
        images = images.astype(np.complex64 if images.dtype.kind == "c" else np.float32)
    for index, image in enumerate(images):
        check_image(image, f"{path} slice {index}")
    return [ImageRecord(image, label) for image, label in zip(images, labels, strict=True)]


def _by_name(images: np.ndarray, names: Sequence[str], path: Path) -> list[ImageRecord]:
    """Group slices without patient labels: ten runs of consecutive names in each folder."""
    folders: dict[str, list[int]] = {}
    for index in sorted(range(len(names)), key=lambda i: _natural(names[i])):
        folders.setdefault(names[index].rpartition("/")[0], []).append(index)
    labels = [""] * len(names)
    near: list[tuple[str, ...]] = [()] * len(names)
    for folder, members in folders.items():
        blocks = [
            f"{path.stem}/{folder}/block{i * _BLOCKS // len(members)}" for i in range(len(members))
        ]
        for position, index in enumerate(members):
            labels[index] = blocks[position]
            window = blocks[max(position - _GUARD, 0) : position + _GUARD + 1]
            near[index] = tuple(sorted(set(window) - {blocks[position]}))
    records = _records(images, labels, path)
    return [
        ImageRecord(record.image, record.group, neighbours)
        for record, neighbours in zip(records, near, strict=True)
    ]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _read_nifti(path: Path) -> list[ImageRecord]:
    try:
        import nibabel
    except ImportError as error:
        raise InputFileError(f"{path} needs nibabel: pip install 'mri-alps[train]'") from error
    try:
        volume = np.asanyarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise InputFileError(f"{path} is not a readable NIfTI file: {error}") from error
    while volume.ndim > 3 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    if volume.ndim not in (2, 3):
        raise InputFileError(f"{path} has shape {volume.shape}, expected a 2-D or 3-D image")
    volume = volume[..., None] if volume.ndim == 2 else volume
    return _records(np.moveaxis(volume, -1, 0), [path.name.split(".")[0]], path)
