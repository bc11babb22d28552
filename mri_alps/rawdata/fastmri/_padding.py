"""Phase encodes at the edges that the header says were never measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError

if TYPE_CHECKING:
    from mri_alps.rawdata.header import Encoding
    from mri_alps.rawdata.raw import RawKSpace


def padding_free_range(encoding: Encoding, n_phase: int) -> tuple[int, int]:
    """Return [left, right) of the phase encodes that were measured, from the encoding limits.

    left = encoded.y // 2 - center, right = left + maximum + 1, as fastMRI computes them; the
    k-space's own width stands for encoded.y. Everything if the header has no limits.

    Parameters
    ----------
    encoding : Encoding
        From the file's ISMRMRD header.
    n_phase : int
        Phase encodes of the k-space.
    """
    limit = encoding.limits.get("kspace_encoding_step_1")
    if limit is None:
        return 0, n_phase
    left = n_phase // 2 - limit.center
    return max(left, 0), min(left + limit.maximum + 1, n_phase)


def note_measured_padding(raw: RawKSpace) -> list[str]:
    """Say where a slice has samples that its header calls padding, which is zero elsewhere.

    Parameters
    ----------
    raw : RawKSpace
        The scan, of which the middle slice is read if it has padding.
    """
    first, stop = raw.acquired_range
    if (first, stop) == (0, raw.shape[1]):
        return []
    try:
        kspace = raw.source.read_kspace(raw.n_slices // 2)
    except InputFileError:  # said when the slice is asked for
        return []
    lines = (kspace != 0).any(axis=(0, 1))
    outside = np.r_[lines[:first], lines[stop:]]
    if not outside.any():
        return []
    return [
        f"{int(outside.sum())} of {outside.size} phase encodes outside [{first}, {stop}) are not "
        "zero, and the header's encoding limits say that they were never measured: they are left "
        "out, correct the encoding limits if they were"
    ]
