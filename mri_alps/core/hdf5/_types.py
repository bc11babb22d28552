"""Records whose fields overlap in memory: the HDF5 library writes one over the other.

A field may need more bytes in memory than in the file: a float of four bytes with a wide exponent
becomes one of eight. It then ends inside its neighbour, and a neighbour of variable length ends up
as a pointer to nowhere.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from mri_alps.core.errors import InputFileError


def check_type(dtype: np.dtype, path: Path, name: str) -> None:
    """Raise if fields of a record, or of a record within it, overlap.

    Parameters
    ----------
    dtype : numpy.dtype
        What an object is read as.
    path : pathlib.Path
        The file, for messages.
    name : str
        The object, for messages.

    Raises
    ------
    InputFileError
        If they do.
    """
    inner = dtype.subdtype[0] if dtype.subdtype else h5py.check_vlen_dtype(dtype)
    if isinstance(inner, np.dtype):
        check_type(inner, path, name)
    end = 0
    for field, start in sorted(
        (entry[:2] for entry in (dtype.fields or {}).values()), key=lambda entry: entry[1]
    ):
        check_type(field, path, name)
        if start < end:
            raise InputFileError(
                f"{path} is truncated or damaged (fields of the records of `{name}` overlap): copy "
                "or export it again"
            )
        end = start + field.itemsize
