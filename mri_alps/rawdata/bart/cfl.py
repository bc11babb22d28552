"""BART's array files: a text header with dimensions beside column-major complex64 data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import InputFileError, ShapeError
from mri_alps.core.hdf5 import check_readable

DIMENSIONS = tuple(
    "READ PHS1 PHS2 COIL MAPS TE COEFF COEFF2 ITER CSHIFT TIME TIME2 LEVEL SLICE AVG BATCH".split()  # noqa: SIM905
)


def bart_base(path: Path | str) -> Path | None:
    """Return the name without suffix if `path` is x, x.cfl or x.hdr of a BART pair, else None.

    Parameters
    ----------
    path : pathlib.Path or str
        Any name.
    """
    path = Path(path)
    base = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
    pair = [base.with_name(base.name + suffix) for suffix in (".hdr", ".cfl")]
    return base if any(p.is_file() for p in pair) else None


def read_cfl(path: Path | str) -> np.ndarray:
    """Map a BART array into memory, read-only.

    Parameters
    ----------
    path : Path or str
        x, x.cfl or x.hdr.

    Returns
    -------
    np.ndarray
        complex64 memory map in BART's own dimensions, at least 16 of them, column-major.

    Raises
    ------
    InputFileError
        If a file of the pair is missing, or the size of the data is not what the header says.
    """
    base = bart_base(path)
    if base is None:
        raise InputFileError(f"{path}: neither {path}.hdr nor {path}.cfl exists: check the path")
    header, data = (base.with_name(base.name + suffix) for suffix in (".hdr", ".cfl"))
    for part in (header, data):
        check_readable(part)
    dims = _read_dimensions(header)
    n_bytes = 8
    for size in dims:
        n_bytes *= size
    found = data.stat().st_size
    if found != n_bytes:
        raise InputFileError(
            f"{data} has {found} bytes where {header.name} announces {n_bytes} (dimensions "
            f"{' '.join(str(size) for size in dims)}): copy or export the pair again"
        )
    return np.memmap(data, np.complex64, "r", shape=tuple(dims), order="F")


def _read_dimensions(header: Path) -> list[int]:
    with header.open("rb") as stream:
        text = stream.read(65536).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines()]
    try:
        start = lines.index("# Dimensions") + 1
        dims = [int(word) for word in lines[start].split()]
    except (ValueError, IndexError):
        dims = []
    if not dims or len(dims) > 32 or min(dims) < 1:
        raise InputFileError(
            f"{header}: no line of positive integers follows `# Dimensions`: it is not the "
            "header of a BART array, or it is damaged"
        )
    return dims + [1] * (len(DIMENSIONS) - len(dims))


def write_cfl(path: Path | str, array: np.ndarray) -> None:
    """Write a BART array; the pair appears complete or not at all.

    Parameters
    ----------
    path : Path or str
        x, x.cfl or x.hdr; both files are replaced if they exist.
    array : np.ndarray
        In BART's dimensions (READ, PHS1, PHS2, COIL, MAPS, ...), trailing ones may be left
        out; stored as complex64, column-major.
    """
    path = Path(path)
    base = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
    array = np.asarray(array)
    dims = array.shape + (1,) * (len(DIMENSIONS) - array.ndim)
    header, data = (base.with_name(base.name + suffix) for suffix in (".hdr", ".cfl"))
    with atomic_path(data) as new_data, atomic_path(header) as new_header:
        new_header.write_text("# Dimensions\n" + " ".join(str(size) for size in dims) + "\n")
        with new_data.open("wb") as stream:
            # one last-axis slab at a time, so that no second copy of a volume is made
            for slab in np.moveaxis(array, -1, 0) if array.ndim > 1 else [array]:
                stream.write(np.asarray(slab, np.complex64).tobytes(order="F"))


def kspace_to_cfl(kspace: np.ndarray) -> np.ndarray:
    """Reorder (slice, coil, readout, phase_encode) to BART's dimensions, with SLICE the 14th.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex, (slice, coil, readout, phase_encode).

    Raises
    ------
    ShapeError
        If `kspace` is not 4-D.
    """
    if kspace.ndim != 4:
        raise ShapeError(f"expected (slice, coil, readout, phase_encode), found {kspace.shape}")
    array = np.transpose(kspace, (2, 3, 1, 0))
    return array.reshape(*array.shape[:2], 1, array.shape[2], *(1,) * 9, array.shape[3])
