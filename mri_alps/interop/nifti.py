"""Reconstructions as NIfTI, by nibabel."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.optional import require
from mri_alps.interop.image_geometry import ImageGeometry
from mri_alps.rawdata import atomic_path

if TYPE_CHECKING:
    from mri_alps.pipeline import Reconstruction

_RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SUFFIXES = (".nii.gz", ".nii")


def write_nifti(reconstruction: Reconstruction, path: Path | str) -> list[Path]:
    """Write mean and standard deviation as two NIfTI volumes.

    Parameters
    ----------
    reconstruction : Reconstruction
        From `load_reconstruction`.
    path : Path or str
        x.nii or x.nii.gz for the mean; the standard deviation is x_std beside it.

    Returns
    -------
    list of Path
        The files: float32 (readout, phase_encode, slice), in the units of the reconstruction,
        with the affine to the patient's coordinates in mm (right, anterior, superior).

    Raises
    ------
    MissingDependencyError
        If nibabel is missing.
    ConfigurationError
        If the slices are no regular stack.
    """
    nibabel = require("nibabel", "writing NIfTI", "nifti")
    path = Path(path)
    suffix = next((s for s in SUFFIXES if path.name.endswith(s)), "")
    stem, suffix = path.name.removesuffix(suffix), suffix or ".nii.gz"
    affine = nifti_affine(ImageGeometry.of(reconstruction), reconstruction.reconstruction.shape[1:])
    written = []
    for name, images, description in (
        (stem, reconstruction.reconstruction, "posterior mean"),
        (f"{stem}_std", reconstruction.reconstruction_std, "posterior standard deviation"),
    ):
        volume = nibabel.Nifti1Image(np.moveaxis(images, 0, -1).astype(np.float32), affine)
        volume.header["descrip"] = f"mri_alps {description}".encode()
        written.append(save_volume(volume, path.with_name(name + suffix), affine))
    return written


def save_volume(volume: Any, path: Path, affine: np.ndarray) -> Path:
    """Write a NIfTI volume in mm of the scanner; it appears complete or not at all.

    Parameters
    ----------
    volume : nibabel.Nifti1Image
        The volume.
    path : Path
        x.nii or x.nii.gz.
    affine : np.ndarray
        From `nifti_affine`.

    Returns
    -------
    Path
        The file.
    """
    volume.header.set_xyzt_units("mm")
    volume.set_qform(affine, code="scanner")
    volume.set_sform(affine, code="scanner")
    content = volume.to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)  # the same content gives the same file
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def nifti_affine(geometry: ImageGeometry, shape: tuple[int, ...]) -> np.ndarray:
    """Return the 4x4 affine from (readout, phase_encode, slice) to RAS, in mm.

    Parameters
    ----------
    geometry : ImageGeometry
        Of the stack.
    shape : tuple of int
        (H, W) of the images.
    """
    affine = np.eye(4)
    affine[:3, 0] = geometry.spacing[0] * geometry.row_direction[0]
    affine[:3, 1] = geometry.spacing[1] * geometry.column_direction[0]
    affine[:3, 2] = geometry.slice_step()
    affine[:3, 3] = geometry.corner(0, (shape[0], shape[1]))
    return _RAS_OF_LPS @ affine
