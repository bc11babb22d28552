"""Limits on what a header may claim, checked before anything is allocated."""

from __future__ import annotations

from pathlib import Path

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import check_claim

MAX_MATRIX = 16384
"""No axis of a scan is longer; a larger claim is a damaged or hostile header."""

MAX_SLICE_BYTES = 8 * 2**30
"""The k-space of one slice, all coils, complex64."""

DAMAGED = "the header is damaged, export the scan again"
"""What is to be done about a claim of a file."""


def check_matrix(path: Path, what: str, *sizes: int, cure: str = DAMAGED) -> None:
    """Raise if a claimed matrix has an impossible size.

    Parameters
    ----------
    path : pathlib.Path
        The file, for the message.
    what : str
        What claims the sizes, for the message.
    *sizes : int
        Samples along each axis.
    cure : str
        What to do, for the message.

    Raises
    ------
    InputFileError
        If an entry of `sizes` is not within 1 to `MAX_MATRIX`.
    """
    if not all(1 <= size <= MAX_MATRIX for size in sizes):
        raise InputFileError(
            f"{path}: the {what} is {' x '.join(str(size) for size in sizes)}, each must be 1 to "
            f"{MAX_MATRIX}: {cure}"
        )


def check_slice_bytes(path: Path, n_coils: int, *shape: int) -> None:
    """Raise if one slice of complex64 k-space would not fit any memory.

    Parameters
    ----------
    path : pathlib.Path
        The file, for the message.
    n_coils : int
        Coils.
    *shape : int
        Samples along each axis of a slice.

    Raises
    ------
    InputFileError
        If it exceeds `MAX_SLICE_BYTES`.
    """
    n_bytes = 8 * n_coils
    for size in shape:
        n_bytes *= size
    if n_bytes > MAX_SLICE_BYTES:
        raise InputFileError(
            f"{path}: one slice of {n_coils} coils x {' x '.join(map(str, shape))} would need "
            f"{n_bytes / 2**30:.0f} GiB, at most {MAX_SLICE_BYTES // 2**30} are read: the header "
            "is damaged, export the scan again"
        )
    check_claim(path, f"one slice of {n_coils} coils x {' x '.join(map(str, shape))}", n_bytes)
