"""Non-Cartesian scans in arrays and array files: numpy, .npz, and BART's ksp and traj."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import InputFileError, ShapeError, damage_of
from mri_alps.core.hdf5 import check_readable
from mri_alps.rawdata._files import MAX_SLICE_BYTES, check_matrix
from mri_alps.rawdata.bart.cfl import DIMENSIONS, bart_base, read_cfl
from mri_alps.rawdata.geometry import Geometry
from mri_alps.rawdata.noncartesian.data import (
    ArrayShots,
    RawTrajectoryData,
    assemble,
    check_shapes,
)
from mri_alps.rawdata.noncartesian.paths import spokes
from mri_alps.rawdata.noncartesian.units import (
    in_cycles_per_field_of_view,
    planar,
    reach_of,
    refuse_several_units,
)

if TYPE_CHECKING:
    from mri_alps.rawdata.noncartesian.options import TrajectoryOptions

_SLICE = 13
_HEADER_BYTES = 4096
_NAMES = ("kspace", "trajectory", "matrix", "field_of_view", "noise_covariance")


def trajectory_from_arrays(
    kspace: np.ndarray,
    trajectory: np.ndarray,
    matrix: tuple[int, int] | None = None,
    *,
    units: str = "auto",
    crop: tuple[int, int] | None = None,
    noise_covariance: np.ndarray | None = None,
    field_of_view: tuple[float, float, float] | None = None,
    ground_truth: np.ndarray | None = None,
    name: str = "array",
    format_name: str = "array",
) -> RawTrajectoryData:
    """Make a `RawTrajectoryData` of arrays in memory.

    Parameters
    ----------
    kspace : np.ndarray
        complex `([slice,] [coil,] shot, sample)`.
    trajectory : np.ndarray
        float ([slice,] shot, sample, 2), in the order of the image axes, 0 at DC. A third
        component that is a density is left out.
    matrix : tuple of int, optional
        (readout, phase_encode) of the image's grid; if left out that of the trajectory's extent,
        which then has to be in cycles per field of view.
    units : str
        Of the trajectory: auto, fov, pixel, rad/pixel.
    crop : tuple of int, optional
        Of the final image; all of the grid if left out.
    noise_covariance : np.ndarray, optional
        complex (coils, coils), per real component.
    field_of_view : tuple of float, optional
        (x, y, z) in mm; pixels of 1 mm that are not known if left out.
    ground_truth : np.ndarray, optional
        complex (slice, H, W), the image behind simulated data.
    name, format_name : str
        Stand for the path and the format.

    Raises
    ------
    ShapeError
        If the arrays do not fit each other.
    InputFileError
        If the unit is not recognised, or the trajectory does not fit the matrix.
    """
    kspace = np.asarray(kspace)
    for _ in range(4 - kspace.ndim):
        kspace = kspace[np.newaxis]
    trajectory = np.asarray(trajectory)
    check_shapes(name, kspace, trajectory)
    check_matrix(Path(name), "k-space", *kspace.shape)
    _check_covariance(name, noise_covariance, kspace.shape[1])
    listed = list(trajectory) if trajectory.ndim == 4 else [trajectory]
    places = np.stack([_in_plane(path.astype(np.float64), name) for path in listed])
    refuse_several_units([reach_of(one) for one in places], name)
    finite = np.nan_to_num(places, nan=0.0, posinf=0.0, neginf=0.0)  # said when it is read
    if matrix is None:
        matrix = _matrix_of(finite, units, name)
    check_matrix(Path(name), "matrix", *matrix, cure="correct it, or give --matrix")
    view = None if field_of_view is None else field_of_view[:2]
    factor, how = in_cycles_per_field_of_view(places, units, matrix, view, name)
    size = (*matrix, 1)
    pixels = (float(matrix[0]), float(matrix[1]), 1.0)
    encoded = pixels if field_of_view is None else field_of_view
    crop = matrix if crop is None else (min(crop[0], matrix[0]), min(crop[1], matrix[1]))
    recon = (encoded[0] * crop[0] / matrix[0], encoded[1] * crop[1] / matrix[1], encoded[2])
    return assemble(
        Path(name),
        format_name,
        ArrayShots(kspace.astype(np.complex64), places * factor),
        n_slices=len(kspace),
        n_coils=kspace.shape[1],
        shape=matrix,
        geometry=Geometry.nominal(size, (*crop, 1), encoded, recon, len(kspace)),
        crop=crop,
        units=how,
        n_shots=kspace.shape[2],
        n_samples=kspace.shape[3],
        noise_covariance=noise_covariance,
        size_is_known=field_of_view is not None,
        ground_truth=ground_truth,
    )


def _in_plane(path: np.ndarray, name: str) -> np.ndarray:
    plane, kz = planar(path, name)
    if kz is not None:
        raise InputFileError(
            f"{name}: kz differs between shots, from {kz.min():.4g} to {kz.max():.4g}, so this is "
            "a stack or a 3-D scan, and stacks are taken from ISMRMRD files alone: transform along "
            "kz, and hand in slices"
        )
    return plane


def _matrix_of(trajectory: np.ndarray, units: str, name: str) -> tuple[int, int]:
    """Return the matrix whose edge a trajectory in cycles per field of view reaches."""
    extents = np.abs(trajectory).max(axis=(0, 1, 2))
    if units not in ("auto", "fov") or extents.max() < 8:
        raise InputFileError(
            f"{name}: the trajectory reaches {extents.max():.4g} and no matrix is given, which "
            "tells the pixels only of a trajectory in cycles per field of view (-N/2 to N/2): "
            "give the matrix (--matrix)"
        )
    if abs(extents[0] - extents[1]) < 0.1 * extents.max():
        extents[:] = extents.max()  # spokes do not point along both axes
    return (2 * math.ceil(extents[0] - 0.01), 2 * math.ceil(extents[1] - 0.01))


# --- .npz and .npy ----------------------------------------------------------------------------


def is_npz(path: Path) -> bool:
    """Return whether a file begins as a .npz or .npy file does.

    Parameters
    ----------
    path : pathlib.Path
        A file that can be read.
    """
    with path.open("rb") as file:
        start = file.read(6)
    return start.startswith(b"PK\x03\x04") or start == np.lib.format.MAGIC_PREFIX


def read_npz(path: Path, options: TrajectoryOptions) -> RawTrajectoryData:
    """Open k-space in numpy's format.

    Parameters
    ----------
    path : pathlib.Path
        A .npz with `kspace` `([slice,] [coil,] shot, sample)` and `trajectory` ([slice,] shot,
        sample, 2), and perhaps `matrix` (2,), `field_of_view` (3,) in mm and `noise_covariance`;
        or a .npy with k-space alone.
    options : TrajectoryOptions
        What the user says; a trajectory or angles of theirs win over the file's.

    Raises
    ------
    InputFileError
        If it cannot be read, lacks k-space or trajectory, or they do not fit.
    """
    arrays = dict(_arrays(path, _NAMES))
    if "kspace" not in arrays:
        raise InputFileError(
            f"{path}: found no array `kspace`: expected complex (coil, shot, sample), and "
            "`trajectory` (shot, sample, 2)"
        )
    matrix = options.matrix
    if matrix is None and "matrix" in arrays:
        matrix = _matrix_in(arrays["matrix"], path)
    kspace = arrays["kspace"]
    trajectory = chosen_trajectory(
        options, kspace.shape[-2:], matrix, arrays.get("trajectory"), path
    )
    return _from_arrays(
        path,
        "npz",
        kspace,
        trajectory,
        matrix,
        options,
        noise_covariance=arrays.get("noise_covariance"),
        field_of_view=_view_in(arrays["field_of_view"], path)
        if "field_of_view" in arrays
        else None,
    )


def _matrix_in(found: np.ndarray, path: Path) -> tuple[int, int]:
    sizes = found.ravel()
    good = sizes.dtype.kind in "iuf" and sizes.size in (2, 3)
    if not good or not (sizes > 0).all() or not (sizes % 1 == 0).all():
        raise InputFileError(
            f"{path}: found matrix {sizes[:4].tolist()}, expected two whole numbers (readout, "
            "phase_encode): correct it, or give --matrix"
        )
    return int(sizes[0]), int(sizes[1])


def _view_in(found: np.ndarray | None, path: Path) -> tuple[float, float, float] | None:
    if found is None:
        return None
    sizes = found.ravel()
    good = sizes.dtype.kind in "iuf" and sizes.size == 3
    if not good or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise InputFileError(
            f"{path}: found field_of_view {sizes[:4].tolist()}, expected three lengths in mm, the "
            "last one the thickness of a slice: correct it, or leave it out"
        )
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


def _check_covariance(name: str, covariance: np.ndarray | None, n_coils: int) -> None:
    if covariance is None:
        return
    found = np.asarray(covariance)
    if found.shape != (n_coils, n_coils) or found.dtype.kind not in "iufc":
        raise ShapeError(
            f"{name}: found a noise_covariance {found.dtype} {found.shape}, expected numbers "
            f"{(n_coils, n_coils)}, for {n_coils} coils: correct it, or leave it out"
        )


def chosen_trajectory(
    options: TrajectoryOptions,
    shots_and_samples: tuple[int, ...],
    matrix: tuple[int, int] | None,
    own: np.ndarray | None,
    path: Path,
) -> np.ndarray:
    """Return the trajectory that the user names, or the file has.

    Parameters
    ----------
    options : TrajectoryOptions
        What the user says.
    shots_and_samples : tuple of int
        Of the k-space.
    matrix : tuple of int or None
        Of the image.
    own : np.ndarray or None
        The file's.
    path : pathlib.Path
        The k-space, for messages.

    Raises
    ------
    InputFileError
        If there is none.
    """
    if options.trajectory is not None:
        return read_trajectory(Path(options.trajectory))
    if options.golden_angle is not None:
        if matrix is None or len(shots_and_samples) < 2:
            raise InputFileError(
                f"{path}: --golden-angle takes samples of spokes, and the pixels of the image, "
                "which this file does not say: give them by --matrix, such as 256,256, or leave "
                "--golden-angle out"
            )
        n_shots, n_samples = shots_and_samples
        return spokes(n_shots, n_samples, options.golden_angle, matrix[0])
    if own is None:
        raise InputFileError(
            f"{path} holds shots and no trajectory: name its file (--trajectory), or the angle "
            "between radial spokes and the matrix (--golden-angle 111.246 --matrix 256,256)"
        )
    return own


def read_trajectory(path: Path) -> np.ndarray:
    """Read a trajectory from a file of its own, float64 ([slice,] shot, sample, 2 or 3).

    Parameters
    ----------
    path : pathlib.Path
        .npy, .npz with `trajectory`, or BART cfl (3, samples, shots).

    Raises
    ------
    InputFileError
        If it cannot be read or holds no trajectory.
    """
    if not path.is_file() or path.suffix in (".cfl", ".hdr"):
        return _bart_trajectory(path)
    found = dict(_arrays(path, ("trajectory",)))
    array = found.get("trajectory", found.get("kspace"))  # a .npy has no name for its array
    if array is None or array.ndim not in (3, 4) or array.dtype.kind not in "iuf":
        shape = "none" if array is None else f"{array.dtype} {array.shape}"
        raise InputFileError(
            f"{path}: found {shape}, expected a real array `trajectory` (shot, sample, 2)"
        )
    return np.asarray(array, np.float64)


def _arrays(path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a .npz that have these names; that of a .npy as "kspace"."""
    check_readable(path)
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start == np.lib.format.MAGIC_PREFIX:
            with path.open("rb") as file:
                yield "kspace", _array(file)
            return
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in names:
                    with archive.open(info) as file:
                        yield name, _array(file)
    except (InputFileError, ShapeError):
        raise
    # numpy, zipfile and the decompressors behind it raise whatever damaged bytes lead them to.
    except Exception as error:
        raise InputFileError(
            f"{path}: found a file that cannot be read as numpy arrays ({damage_of(error)}): save "
            "it again by np.savez"
        ) from error


def _array(file: IO[bytes]) -> np.ndarray:
    """Read no more than a slice of a scan may have, whatever is claimed or unpacked."""
    content = file.read(MAX_SLICE_BYTES + _HEADER_BYTES + 1)
    if len(content) > MAX_SLICE_BYTES + _HEADER_BYTES:
        raise ValueError(f"an array of more than {MAX_SLICE_BYTES // 2**30} GiB")
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


# --- BART -------------------------------------------------------------------------------------


def read_bart_shots(path: Path, options: TrajectoryOptions) -> RawTrajectoryData:
    """Open BART's ksp (1, samples, shots, coils) with a trajectory.

    Parameters
    ----------
    path : pathlib.Path
        x, x.cfl or x.hdr of the k-space; SLICE counts slices.
    options : TrajectoryOptions
        Name the trajectory, or the angle between spokes and the matrix.

    Raises
    ------
    InputFileError
        If they cannot be read or do not fit.
    """
    base = bart_base(path)
    array = read_cfl(path)
    assert base is not None  # read_cfl has raised otherwise
    dims = array.shape
    further = [
        f"{DIMENSIONS[axis] if axis < len(DIMENSIONS) else axis} ({size})"
        for axis, size in enumerate(dims)
        if size > 1 and axis not in (1, 2, 3, _SLICE)
    ]
    if further:
        raise InputFileError(
            f"{base}: beside samples, shots, coils and slices there is {', '.join(further)}, "
            "expected (1, samples, shots, coils): extract one by bart slice"
        )
    part = array.reshape(*dims[1:4], dims[_SLICE])  # a view: the others have the length 1
    kspace = np.ascontiguousarray(np.transpose(part, (3, 2, 1, 0)))  # (slice, coil, shot, sample)
    trajectory = chosen_trajectory(options, kspace.shape[-2:], options.matrix, None, base)
    return _from_arrays(base, "bart", kspace, trajectory, options.matrix, options)


def _bart_trajectory(path: Path) -> np.ndarray:
    array = read_cfl(path)
    base = bart_base(path)
    dims = array.shape
    if dims[0] != 3 or math.prod(dims[3:_SLICE]) * math.prod(dims[_SLICE + 1 :]) != 1:
        raise InputFileError(
            f"{base}: found the dimensions {' '.join(str(size) for size in dims)}, expected a "
            "trajectory as bart traj writes it, (3, samples, shots)"
        )
    part = array.reshape(*dims[:3], dims[_SLICE]).real.astype(np.float64)
    places = np.transpose(part, (3, 2, 1, 0))  # (slice, shot, sample, 3)
    return places[0] if len(places) == 1 else places


def _from_arrays(
    path: Path,
    format_name: str,
    kspace: np.ndarray,
    trajectory: np.ndarray,
    matrix: tuple[int, int] | None,
    options: TrajectoryOptions,
    **more: Any,
) -> RawTrajectoryData:
    try:
        return trajectory_from_arrays(
            kspace,
            trajectory,
            matrix,
            units=options.units,
            name=str(path),
            format_name=format_name,
            **more,
        )
    except ShapeError as error:
        raise InputFileError(str(error)) from error
