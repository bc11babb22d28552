"""mrpro's k-space in, our reconstructions out as its images; importing this needs mrpro."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ismrmrd
import numpy as np
import torch

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.core.optional import require
from mri_alps.rawdata import RawKSpace, read_raw

if TYPE_CHECKING:
    from mri_alps.pipeline import Reconstruction

mrpro_data: Any = require("mrpro.data", "mrpro's data", "mrpro")
_ON_GRID = mrpro_data.enums.TrajType.ONGRID | mrpro_data.enums.TrajType.SINGLEVALUE


class MrproImages(NamedTuple):
    """A reconstruction as mrpro's images.

    Attributes
    ----------
    mean, std : mrpro.data.IData
        Magnitude of the posterior mean and standard deviation of the magnitude, float32
        (slices, 1, 1, y, x), in the units of the scan's root-sum-of-squares image.
    samples : mrpro.data.IData or None
        Complex posterior samples in the same units, (samples, slices, 1, 1, y, x), where the
        reconstruction holds them.
    """

    mean: Any
    std: Any
    samples: Any | None


def raw_from_kdata(kdata: Any, path: Path | str) -> RawKSpace:
    """Write mrpro's `KData` to an ISMRMRD file and open it, for `mri_alps.reconstruct`.

    Parameters
    ----------
    kdata : mrpro.data.KData
        Cartesian or of 2-D trajectories, radial for example: any that `mri_alps.read_raw` can
        read as a file. Noise scans are no part of it: of one
        that `kdata.prewhiten` has used, `noise_std` is 0.5 ** 0.5 for one of the same bandwidth.
    path : Path or str
        The file to write; it is read while slices are, and stays.

    Raises
    ------
    ConfigurationError
        If it is no `KData`, or the file exists.
    InputFileError
        If it cannot be reconstructed.
    """
    path = Path(path)
    if not isinstance(kdata, mrpro_data.KData):
        raise ConfigurationError(
            f"found a {type(kdata).__name__}, expected mrpro.data.KData: read one with "
            "KData.from_file"
        )
    if path.exists():
        raise ConfigurationError(f"{path} exists: name another file, or move it away")
    kdata.to_file(path)
    if all(kind & _ON_GRID for kind in kdata.traj.type_along_kzyx):
        _drop_trajectories(path)
    return read_raw(path)


def _drop_trajectories(path: Path) -> None:
    """Cartesian lines are placed by their counters; mrpro writes where they are, too."""
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=False) as dataset:
        for index in range(dataset.number_of_acquisitions()):
            line = dataset.read_acquisition(index)
            samples = line.data.copy()
            line.resize(line.number_of_samples, line.active_channels, 0)
            line.data[:] = samples
            dataset.write_acquisition(line, index)


def images_as_idata(reconstruction: Reconstruction, header: Any) -> MrproImages:
    """Return mean, standard deviation and samples as mrpro's `IData`.

    Parameters
    ----------
    reconstruction : Reconstruction
        Of all slices of a 2-D scan, with samples where they are wanted.
    header : mrpro.data.KHeader
        Of the `KData` that was reconstructed: where its slices lie, and how it was measured.

    Returns
    -------
    MrproImages
        In mrpro's orientation: y is the phase encode and x the readout; of Siemens' scans mrpro
        conjugates the k-space, so that its images are complex conjugate and turned by 180 degrees.

    Raises
    ------
    ShapeError
        If images and header are not of one size.
    """
    found = reconstruction.reconstruction.shape
    matrix = header.recon_matrix
    n_slices = header.acq_info.position.z.shape[0]
    if (*found,) != (n_slices, matrix.x, matrix.y) or matrix.z != 1:
        raise ShapeError(
            f"found images {found} (slice, readout, phase_encode), and a header of {n_slices} "
            f"slices of (x, y, z) = ({matrix.x}, {matrix.y}, {matrix.z}), expected those of one "
            "2-D scan with all its slices"
        )
    samples = None
    if reconstruction.samples is not None:
        samples = _idata(np.moveaxis(reconstruction.samples_in_image_units(), 0, 1), header)
    return MrproImages(
        _idata(reconstruction.reconstruction, header),
        _idata(reconstruction.reconstruction_std, header),
        samples,
    )


def _idata(images: np.ndarray, header: Any) -> Any:
    if header.vendor.lower() == "siemens":
        for axis in (-2, -1):
            n = images.shape[axis]
            images = np.take(images, (2 * (n // 2) - np.arange(n)) % n, axis)
        images = images.conj()
    tensor = torch.from_numpy(np.ascontiguousarray(np.swapaxes(images, -2, -1)))
    return mrpro_data.IData.from_tensor_and_kheader(tensor[..., None, None, :, :], header)
