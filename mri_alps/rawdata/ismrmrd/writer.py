"""Write ISMRMRD files: whole scans from arrays, or any list of acquisitions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from mri_alps.core.atomic import create_hdf5
from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.rawdata.header import Limit, make_header
from mri_alps.rawdata.ismrmrd.flags import Flag

if TYPE_CHECKING:
    import ismrmrd


def write_acquisitions(
    path: Path | str,
    header: bytes,
    acquisitions: Iterable[ismrmrd.Acquisition],
    dataset: str = "dataset",
) -> None:
    """Write acquisitions as they are; the file appears complete or not at all.

    Parameters
    ----------
    path : Path or str
        The file to write, replaced if it exists.
    header : bytes
        XML header, see `make_header`.
    acquisitions : iterable of ismrmrd.Acquisition
        In the order of the file.
    dataset : str
        Name of the HDF5 group.
    """
    with create_hdf5(path) as file:
        group = file.create_group(dataset)
        write_xml(group, header)
        group.create_dataset(
            "data", data=acquisition_rows(acquisitions), maxshape=(None,), chunks=(64,)
        )


def write_xml(group: h5py.Group, header: bytes) -> None:
    """Write the XML header of a measurement.

    Parameters
    ----------
    group : h5py.Group
        The measurement.
    header : bytes
        The document.
    """
    group.create_dataset("xml", (1,), h5py.special_dtype(vlen=bytes))[0] = header


def acquisition_rows(acquisitions: Iterable[ismrmrd.Acquisition]) -> np.ndarray:
    """Return acquisitions as the rows of an ISMRMRD `data` dataset.

    Parameters
    ----------
    acquisitions : iterable of ismrmrd.Acquisition
        In the order of the file.
    """
    from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

    acquisitions = list(acquisitions)
    rows = np.empty(len(acquisitions), acquisition_dtype)
    for row, acquisition in zip(rows, acquisitions, strict=True):
        row["head"] = np.frombuffer(acquisition.getHead(), acquisition_header_dtype)[0]
        row["traj"] = np.ravel(acquisition.traj).astype(np.float32)
        row["data"] = np.ascontiguousarray(acquisition.data, np.complex64).view(np.float32).ravel()
    return rows


def make_acquisition(samples: np.ndarray, *flags: int, **header: object) -> ismrmrd.Acquisition:
    """Return one acquisition.

    Parameters
    ----------
    samples : np.ndarray
        complex (coil, sample).
    *flags : int
        ISMRMRD flag numbers, for example `ismrmrd.ACQ_IS_NOISE_MEASUREMENT`.
    **header
        Header fields and encoding counters by name, for example `kspace_encode_step_1`,
        `slice`, `position`, `sample_time_us`; `center_sample` is the middle if left out.
    """
    import ismrmrd  # which reading other formats need not wait for

    acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(samples, np.complex64))
    acquisition.available_channels = samples.shape[0]
    acquisition.center_sample = samples.shape[1] // 2
    directions = dict(zip(("read_dir", "phase_dir", "slice_dir"), np.eye(3), strict=True))
    for name, value in {**directions, **header}.items():
        holder = acquisition.idx if hasattr(acquisition.idx, name) else acquisition
        if np.ndim(value):  # type: ignore[arg-type]
            getattr(holder, name)[:] = [float(part) for part in value]  # type: ignore[attr-defined]
        else:
            setattr(holder, name, value)
    for flag in flags:
        acquisition.setFlag(flag)
    return acquisition


def write_ismrmrd(
    path: Path | str,
    kspace: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    recon_matrix: tuple[int, int] | None = None,
    field_of_view: tuple[float, float, float] = (220.0, 220.0, 5.0),
    noise: np.ndarray | None = None,
    dwell_time_us: float = 5.0,
    noise_dwell_time_us: float | None = None,
    relative_receiver_noise_bandwidth: float | None = None,
) -> None:
    """Write 2-D slices as a scanner would: a line an acquisition, noise first.

    Parameters
    ----------
    path : Path or str
        The file to write, replaced if it exists.
    kspace : np.ndarray
        complex (slice, coil, readout, phase_encode), DC at N // 2.
    mask : np.ndarray, optional
        bool (phase_encode,), the lines to write; all if left out.
    recon_matrix : tuple of int, optional
        (readout, phase_encode) of the final image; a shorter readout means oversampling.
    field_of_view : tuple of float
        (x, y, z) in mm of the recon matrix.
    noise : np.ndarray, optional
        complex (coil, sample), a noise acquisition.
    dwell_time_us, noise_dwell_time_us : float
        Of the image and of the noise acquisition (the image's if left out).
    relative_receiver_noise_bandwidth : float, optional
        For the header.

    Raises
    ------
    DtypeError
        If `kspace` is real.
    ShapeError
        If the arrays do not fit each other.
    """
    if not np.iscomplexobj(kspace):
        raise DtypeError(f"k-space must be complex to be written, found {kspace.dtype}")
    if kspace.ndim != 4:
        raise ShapeError(f"expected (slice, coil, readout, phase_encode), found {kspace.shape}")
    n_slices, n_coils, n_readout, n_phase = kspace.shape
    rows = np.arange(n_phase) if mask is None else np.flatnonzero(np.asarray(mask))
    if mask is not None and np.shape(mask) != (n_phase,):
        raise ShapeError(f"a mask of shape {np.shape(mask)} does not fit k-space {kspace.shape}")
    if noise is not None and (noise.ndim != 2 or noise.shape[0] != n_coils):
        raise ShapeError(f"noise of shape {noise.shape} does not fit {n_coils} coils")
    recon = recon_matrix or (n_readout, n_phase)
    x, y, z = field_of_view
    header = make_header(
        (n_readout, n_phase, 1),
        (*recon, 1),
        (x * n_readout / recon[0], y * n_phase / recon[1], z),
        field_of_view,
        limits={
            "kspace_encoding_step_1": Limit(0, n_phase - 1, n_phase // 2),
            "slice": Limit(0, n_slices - 1, 0),
        },
        n_coils=n_coils,
        relative_receiver_noise_bandwidth=relative_receiver_noise_bandwidth,
    )
    acquisitions = []
    if noise is not None:
        dwell = noise_dwell_time_us or dwell_time_us
        flag = Flag.IS_NOISE_MEASUREMENT
        acquisitions.append(make_acquisition(noise, flag, sample_time_us=dwell))
    for index in range(n_slices):
        position = (0.0, 0.0, (index - (n_slices - 1) / 2) * z)
        acquisitions += [
            make_acquisition(
                kspace[index, :, :, row],
                kspace_encode_step_1=int(row),
                slice=index,
                position=position,
                sample_time_us=dwell_time_us,
            )
            for row in rows
        ]
        if len(rows):
            acquisitions[-1].setFlag(Flag.LAST_IN_SLICE)
    if acquisitions:
        acquisitions[-1].setFlag(Flag.LAST_IN_MEASUREMENT)
    write_acquisitions(path, header, acquisitions)
