"""Dimensions of a BART array in another order than BART's: told, not guessed around."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.bart.cfl import DIMENSIONS
from mri_alps.rawdata.kspace_center import CONCENTRATED, SPREAD, concentrations

_LARGEST = 2**24
_SPATIAL = 3


def refuse_other_order(base: Path, array: np.ndarray) -> None:
    """Refuse k-space whose readout and phase encode lie along dimensions meant for others.

    An axis of k-space has most of its energy in an eighth of its length, one of coils or slices
    has not. Only where two axes certainly have it, one of them where BART has coils, maps or
    times, and one of BART's own axes certainly has not, the order is another one.

    Parameters
    ----------
    base : Path
        The pair, for the message.
    array : numpy.ndarray
        Complex, in BART's dimensions.

    Raises
    ------
    InputFileError
        If so; it names what lies along each dimension.
    """
    used = [axis for axis, size in enumerate(array.shape) if size > 1]
    if array.ndim <= _SPATIAL or array.size > _LARGEST or len(used) < 2:
        return
    shares = dict(enumerate(concentrations(np.asarray(array))))
    peaked = [axis for axis in used if (shares[axis] or 0) >= CONCENTRATED]
    flat = [axis for axis in used if axis < _SPATIAL and axis not in peaked]
    certain = all((shares[axis] or 0) < SPREAD for axis in flat)
    if len(peaked) != 2 or not certain:
        return
    coils_elsewhere = bool(flat) and array.shape[_SPATIAL] == 1
    if max(peaked) < _SPATIAL and not coils_elsewhere:
        return
    names = {axis: _name(axis) for axis in used}
    found = ", ".join(f"{names[axis]} {array.shape[axis]}" for axis in used)
    others = [axis for axis in used if axis not in peaked]
    first, second = (array.shape[axis] for axis in peaked)
    left = ", ".join(f"{names[axis]} of {array.shape[axis]}" for axis in others) or "none"
    raise InputFileError(
        f"{base}: its dimensions are {found}, and its energy peaks along {names[peaked[0]]} and "
        f"{names[peaked[1]]} as over readout and phase encode of k-space: BART expects these two "
        f"as READ {first} and PHS1 {second}, coils in COIL and slices in SLICE (here left over: "
        f"{left}), so put the dimensions into that order, for example by bart transpose"
    )


def _name(axis: int) -> str:
    return DIMENSIONS[axis] if axis < len(DIMENSIONS) else f"dimension {axis}"
