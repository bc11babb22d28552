"""Write a file in fastMRI's layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mri_alps.core.atomic import create_hdf5
from mri_alps.core.errors import DtypeError, ShapeError
from mri_alps.rawdata.header import Limit, make_header


def write_fastmri(
    path: Path | str,
    kspace: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    recon_matrix: tuple[int, int] | None = None,
    padding: tuple[int, int] = (0, 0),
    field_of_view: tuple[float, float, float] = (220.0, 220.0, 5.0),
    reconstruction: np.ndarray | None = None,
    ground_truth: np.ndarray | None = None,
    header: bytes | None = None,
    attributes: Mapping[str, Any] | None = None,
    compression: str | None = None,
    notes: str | None = None,
) -> None:
    """Write a scan in fastMRI's layout; the file appears complete or not at all.

    Parameters
    ----------
    path : Path or str
        The file to write, replaced if it exists.
    kspace : np.ndarray
        complex (slices, coils, readout, phase_encode), or (slices, readout, phase_encode) for
        single-coil data; stored as complex64.
    mask : np.ndarray, optional
        (phase_encode,) or (readout, phase_encode), True where measured; or (slices, readout,
        phase_encode), which this package reads and fastMRI's own tools do not. It makes the
        file one of the test flavour; `kspace` is set to zero outside.
    recon_matrix : tuple of int, optional
        (readout, phase_encode) of the final image; the k-space's own size if left out.
    padding : tuple of int
        Phase encodes at the left and the right edge that are zero padding.
    field_of_view : tuple of float
        (x, y, z) in mm of the recon matrix; the encoded one follows from the pixel size.
    reconstruction : np.ndarray, optional
        float (slices, readout, phase_encode): `reconstruction_rss`, or `reconstruction_esc` for
        single-coil data.
    ground_truth : np.ndarray, optional
        complex (slices, readout, phase_encode), the coil-combined image, uncropped.
    header : bytes, optional
        An XML header in place of the one that the other arguments give.
    attributes : mapping, optional
        More attributes; `acquisition`, `patient_id`, `max` and `norm` have defaults.
    compression : str, optional
        h5py's compression filter, for example "gzip".
    notes : str, optional
        A text that goes with the scan, stored as the dataset `conversion`.

    Raises
    ------
    DtypeError
        If `kspace` is real.
    ShapeError
        If the arrays do not fit each other.
    """
    kspace, mask = _checked(kspace, mask)
    n_readout, n_phase = kspace.shape[-2:]
    if header is None:
        header = _header(kspace, recon_matrix or (n_readout, n_phase), padding, field_of_view)
    attrs: dict[str, Any] = {"acquisition": "UNKNOWN", "patient_id": Path(path).stem}
    datasets: dict[str, np.ndarray] = {"kspace": kspace}
    if mask is not None:
        datasets["mask"] = mask
        attrs["acceleration"] = float(mask.size / mask.sum())
    if reconstruction is not None:
        name = "reconstruction_rss" if kspace.ndim == 4 else "reconstruction_esc"
        datasets[name] = np.asarray(reconstruction, np.float32)
        attrs["max"] = float(np.max(reconstruction))
        attrs["norm"] = float(np.linalg.norm(reconstruction))
    if ground_truth is not None:
        datasets["ground_truth"] = np.asarray(ground_truth, np.complex64)
    for name, array in datasets.items():
        if name != "mask" and len(array) != len(kspace):
            raise ShapeError(f"`{name}` has {len(array)} slices, `kspace` has {len(kspace)}")
    attrs.update(attributes or {})
    with create_hdf5(path) as file:
        file.create_dataset("ismrmrd_header", data=header, dtype=h5py.special_dtype(vlen=bytes))
        for name, array in datasets.items():
            chunks = (1, *array.shape[1:]) if compression and name != "mask" else None
            filters = compression if name != "mask" else None
            file.create_dataset(name, data=array, chunks=chunks, compression=filters)
        if notes is not None:
            file.create_dataset("conversion", data=notes, dtype=h5py.string_dtype())
        file.attrs.update(attrs)


def _checked(kspace: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    if not np.iscomplexobj(kspace):
        raise DtypeError(f"k-space must be complex to be written, found {kspace.dtype}")
    if kspace.ndim not in (3, 4):
        raise ShapeError(
            "k-space must be (slices, coils, readout, phase_encode) or (slices, readout, "
            f"phase_encode), found {kspace.shape}"
        )
    kspace = kspace.astype(np.complex64)
    if mask is None:
        return kspace, None
    mask = np.asarray(mask, bool)
    per_slice = (kspace.shape[0], *kspace.shape[-2:])
    if mask.shape not in (kspace.shape[-1:], kspace.shape[-2:], per_slice):
        raise ShapeError(f"a mask of shape {mask.shape} does not fit k-space {kspace.shape}")
    kspace *= mask[:, np.newaxis] if mask.ndim == 3 and kspace.ndim == 4 else mask
    return kspace, mask


def _header(
    kspace: np.ndarray,
    recon_matrix: tuple[int, int],
    padding: tuple[int, int],
    field_of_view: tuple[float, float, float],
) -> bytes:
    n_readout, n_phase = kspace.shape[-2:]
    left, right = padding
    if left < 0 or right < 0 or left + right >= n_phase:
        raise ShapeError(f"padding {padding} leaves nothing of {n_phase} phase encodes")
    n_coils = kspace.shape[1] if kspace.ndim == 4 else 1
    x, y, z = field_of_view
    view = (x * n_readout / recon_matrix[0], y * n_phase / recon_matrix[1], z)
    limits = {
        "kspace_encoding_step_1": Limit(0, n_phase - left - right - 1, n_phase // 2 - left),
        "slice": Limit(0, len(kspace) - 1, 0),
    }
    return make_header(
        (n_readout, n_phase, 1),
        (*recon_matrix, 1),
        view,
        field_of_view,
        limits=limits,
        n_coils=n_coils,
    )
