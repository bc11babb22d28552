"""Samples that the mask says were measured, and that a slice or a coil of it lacks.

What is exactly zero in all coils of all slices was never measured, and is taken so when a scan is
opened. Zeros of some coils, or of one slice, are losses of a transfer or a conversion: taken for
samples they make an image that looks certain and is wrong.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError

if TYPE_CHECKING:
    from mri_alps.rawdata import RawKSpace

ROUNDED = 1e-4
"""Share of zeros among the real parts of samples whose imaginary part is none, from which numbers
are rounded, and samples zero by chance."""


def refuse_lost_samples(
    raw: RawKSpace, index: int, kspace: np.ndarray, measured: np.ndarray
) -> None:
    """Refuse a slice some of whose measured samples are exactly zero, in some coils or all.

    Parameters
    ----------
    raw : RawKSpace
        The scan; another slice is read where samples are zero in all coils.
    index : int
        Slice.
    kspace : numpy.ndarray
        Complex (coils, readout, phase_encode), in any unit.
    measured : numpy.ndarray
        bool (readout, phase_encode).

    Raises
    ------
    InputFileError
        If samples are zero in coils that have others, or in all coils where another slice has them.
    """
    alive = kspace.any(axis=(1, 2))
    zero = (kspace[alive] == 0) & measured
    if not zero.any() or _is_rounded(kspace[alive][:, measured]):
        return
    everywhere = zero.all(axis=0)
    partly = zero & ~everywhere
    lost, where, beside = partly.any(axis=0), "", "where other coils are not"
    if lost.any():
        coils = np.flatnonzero(alive)[partly.any(axis=(1, 2))]
        where = ("coil " if len(coils) == 1 else "coils ") + ", ".join(map(str, coils))
    else:
        lost, where = everywhere & _seen_elsewhere(raw, index), "all coils"
        beside = "where another slice is not"
    if lost.any():
        raise InputFileError(
            f"{raw.path}: {int(lost.sum())} of {int(measured.sum())} measured samples of slice "
            f"{index} are exactly zero in {where}, {beside}, so they were lost: export the scan "
            "again, or leave them out by a mask"
        )


def _is_rounded(samples: np.ndarray) -> bool:
    """Whether there are zeros by chance, as among integers."""
    real = samples.real[samples.imag != 0]
    return bool((real == 0).mean() > ROUNDED) if real.size else True


def _seen_elsewhere(raw: RawKSpace, index: int) -> np.ndarray:
    """Where the nearest other slice that is not empty has samples."""
    others = sorted(set(range(raw.n_slices)) - {index}, key=lambda other: abs(other - index))
    for other in others:
        with contextlib.suppress(InputFileError):
            there = np.asarray((raw.read_slice(other) != 0).any(axis=0))
            if there.any():
                return there
    return np.zeros(raw.shape, bool)
