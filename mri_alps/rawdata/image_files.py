"""Reconstructed images from files: our own HDF5, fastMRI's layout, BART cfl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import Dataset, File, check_readable, is_hdf5, open_hdf5
from mri_alps.rawdata.bart.cfl import DIMENSIONS, bart_base, read_cfl
from mri_alps.rawdata.sensitivity_files import row_of

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace

MEAN, MAGNITUDE, DEVIATION = "posterior_mean", "reconstruction", "reconstruction_std"
_MAPS, _SLICE = DIMENSIONS.index("MAPS"), DIMENSIONS.index("SLICE")


@dataclass(frozen=True)
class StoredImage:
    """A reconstruction of one slice, as a file has it.

    Attributes
    ----------
    image : numpy.ndarray
        complex64 or float32, (readout, phase_encode) of the scan, or the shape of its crop.
    deviation : numpy.ndarray or None
        float32, of the crop: standard deviation of the magnitude in units of the scan's root sum
        of squares, where the file states one.
    in_rss_units : bool
        Whether the image is in units of the scan's root sum of squares; otherwise in those of
        the posterior mean.
    """

    image: np.ndarray
    deviation: np.ndarray | None = None
    in_rss_units: bool = True


def read_image(path: Path | str, raw: RawKSpace, index: int) -> StoredImage:
    """Read the reconstruction of one slice of a scan.

    Parameters
    ----------
    path : Path or str
        HDF5 with `posterior_mean`, complex (slices, readout, phase_encode), as this package
        writes it, or with `reconstruction`, real or complex (slices, *crop), as fastMRI's
        programs do, and optionally `slices`, which slices of the scan these are; or a BART array
        with the dimensions of the scan's k-space and one coil, as `bart pics` writes it (of
        several sets of maps the first image is taken).
    raw : RawKSpace
        The scan.
    index : int
        Slice of the scan.

    Raises
    ------
    InputFileError
        If the file cannot be read, or its image does not fit the scan or is not finite.
    """
    path = Path(path)
    found = None
    if path.is_file():
        check_readable(path)
        if is_hdf5(path):
            found = _from_hdf5(path, raw, index)
    if found is None and not path.is_dir() and bart_base(path) is not None:
        found = StoredImage(_from_cfl(path, raw, index))
    if found is None:
        check_readable(path)
        raise InputFileError(
            f"{path} is neither one of a BART .hdr/.cfl pair nor HDF5 with `{MEAN}` or "
            f"`{MAGNITUDE}`: name a reconstruction of {raw.path}"
        )
    for array in (found.image, found.deviation):
        if array is not None and not np.isfinite(array).all():
            raise InputFileError(
                f"{path}: the image of slice {index} holds NaN or Inf, as of a slice that failed: "
                "reconstruct it again, or leave that slice out"
            )
    return found


def _from_hdf5(path: Path, raw: RawKSpace, index: int) -> StoredImage:
    with open_hdf5(path) as file:
        ours = isinstance(file.get(MEAN), Dataset)
        image = _row(file, MEAN if ours else MAGNITUDE, path, raw, index)
        if not ours:
            return StoredImage(image)
        stated = isinstance(file.get(DEVIATION), Dataset)
        deviation = _row(file, DEVIATION, path, raw, index) if stated else None
        return StoredImage(image, deviation, in_rss_units=False)


def _row(file: File, name: str, path: Path, raw: RawKSpace, index: int) -> np.ndarray:
    images = file.get(name)
    if not isinstance(images, Dataset):
        raise InputFileError(
            f"{path} has neither a dataset `{MEAN}` nor `{MAGNITUDE}` (found: "
            f"{', '.join(file) or 'nothing'}): name a reconstruction of {raw.path}"
        )
    kinds, shapes = ("c", [raw.shape]) if name == MEAN else ("fc", [raw.crop, raw.shape])
    if name == DEVIATION:
        kinds, shapes = "f", [raw.crop]
    if images.dtype.kind not in kinds or images.shape[1:] not in [tuple(s) for s in shapes]:
        wanted = " or ".join(dict.fromkeys(f"{s[0]} x {s[1]}" for s in shapes))
        raise InputFileError(
            f"{path}: `{name}` is {images.dtype} of shape {images.shape}, and {raw.path} has "
            f"slices of {wanted}: name a reconstruction of this scan"
        )
    row = row_of(file, index, len(images), raw.n_slices)
    if row is None:
        raise InputFileError(
            f"{path} has no image of slice {index} of {raw.path}, which has {raw.n_slices} slices "
            f"where `{name}` has {len(images)}: name a reconstruction of all slices that are to be "
            "reconstructed"
        )
    kind = np.complex64 if images.dtype.kind == "c" else np.float32
    return np.asarray(images[row], kind)


def _from_cfl(path: Path, raw: RawKSpace, index: int) -> np.ndarray:
    array = read_cfl(path)
    dims = array.shape
    spatial, n_slices = dims[:3], dims[_SLICE]
    kept = (0, 1, 2, _SLICE)
    if all(dims[axis] == 1 for axis in range(len(dims)) if axis not in (*kept, _MAPS)):
        images = array[tuple(slice(None) if axis in kept else 0 for axis in range(array.ndim))]
        flat = tuple(size for size in spatial if size > 1)
        if raw.axes[1] == "partition" and raw.n_slices == spatial[0] * n_slices:
            volume, position = divmod(index, spatial[0])
            if spatial[1:] in (raw.shape, tuple(raw.crop)):
                return np.array(images[position, :, :, volume], np.complex64)
        elif flat in (raw.shape, tuple(raw.crop)) and n_slices == raw.n_slices:
            return np.array(images[..., index].squeeze(axis=spatial.index(1)), np.complex64)
    raise InputFileError(
        f"{path} has the dimensions {' '.join(str(size) for size in dims)}, and {raw.path} has "
        f"{raw.n_slices} slices of {raw.shape[0]} x {raw.shape[1]}: name an image that was "
        "reconstructed from the same k-space (mri-alps convert writes it as BART array)"
    )
