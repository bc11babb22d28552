"""Which axis of `kspace` is which: the header's matrix, sizes and energy decide, not the custom."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.kspace_center import (
    CONCENTRATED,
    SPREAD,
    concentrations,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = {
    4: ("slice", "coil", "readout", "phase encode"),
    3: ("slice", "readout", "phase encode"),
}


@dataclass(frozen=True)
class Expected:
    """What a file says of the sizes of its axes; None where it says nothing.

    Parameters
    ----------
    matrix : tuple of int or None
        (readout, phase encode), the header's encoded matrix.
    n_phase : int or None
        Length of the mask.
    n_slices : int or None
        Reference images.
    n_coils : int or None
        Receiver channels of the header, which may be combined since: of two orders that fit, the
        one with this many is taken.
    """

    matrix: tuple[int, int] | None = None
    n_phase: int | None = None
    n_slices: int | None = None
    n_coils: int | None = None


class Readable(Protocol):
    """An array, or a dataset of a file."""

    def __getitem__(self, index: int) -> np.ndarray:
        """Read what lies at an index of the first axis."""


def find_order(
    kspace: Readable, shape: Sequence[int], expected: Expected, path: Path
) -> tuple[tuple[int, ...], str]:
    """Find which axes hold slices, coils, readout and phase encode.

    Parameters
    ----------
    kspace : dataset
        Complex, of `shape`; what lies in the middle of its first axis is read, unless sizes settle
        everything.
    shape : sequence of int
        Three axes, for a single coil, or four.
    expected : Expected
        What else the file says.
    path : pathlib.Path
        The file, for messages.

    Returns
    -------
    order : tuple of int
        The axis of slices, of coils where there are four, of the readout, of the phase encode.
    sentence : str
        What to say of an order that is not the layout's own, else "".

    Raises
    ------
    InputFileError
        If no order fits, and the layout's own has axes that are none of k-space.
    """
    custom = tuple(range(len(shape)))
    if expected.matrix is not None and _fits(custom, shape, expected):
        return custom, ""
    shares = [None, *concentrations(np.asarray(kspace[shape[0] // 2]))]
    if _fits(custom, shape, expected) and not _is_wrong(custom, shares):
        return custom, ""
    fitting = _fitting(shape, expected, shares) or _fitting_readout(shape, expected, shares)
    if fitting:
        order = min(fitting, key=lambda order: (_misses_coils(order, shape, expected), order))
        return order, "" if order == custom else _sentence(order, shape, expected)
    if _is_wrong(custom, shares):
        raise InputFileError(_refusal(shape, shares, expected, path))
    return custom, ""


def _fitting(
    shape: Sequence[int], expected: Expected, shares: list[float | None]
) -> list[tuple[int, ...]]:
    by_energy = expected.matrix is None and expected.n_phase is None
    return [
        order
        for order in permutations(range(len(shape)))
        if _fits(order, shape, expected)
        and not _has_spread(order, shares)
        and (_is_certain(order, shares) or not by_energy)
    ]


def _fitting_readout(
    shape: Sequence[int], expected: Expected, shares: list[float | None]
) -> list[tuple[int, ...]]:
    """Return orders where the readout at least is that of a header whose width is wrong."""
    if (
        expected.matrix is None
        or shape[-2] == expected.matrix[0]
        or shape[-1] == expected.matrix[1]
    ):
        return []
    orders = _fitting(shape, dataclasses.replace(expected, matrix=None), shares)
    return [
        order
        for order in orders
        if shape[order[-2]] == expected.matrix[0] and _is_certain(order, shares)
    ]


def _fits(order: tuple[int, ...], shape: Sequence[int], expected: Expected) -> bool:
    slices, readout, phase = (shape[order[place]] for place in (0, -2, -1))
    return (
        expected.matrix in (None, (readout, phase))
        and expected.n_phase in (None, phase)
        and expected.n_slices in (None, slices)
    )


def _misses_coils(order: tuple[int, ...], shape: Sequence[int], expected: Expected) -> bool:
    return len(shape) == 4 and expected.n_coils not in (None, shape[order[1]])


def _has_spread(order: tuple[int, ...], shares: list[float | None]) -> bool:
    found = [shares[axis] for axis in order[-2:]]
    return any(share is not None and share < SPREAD for share in found)


def _is_certain(order: tuple[int, ...], shares: list[float | None]) -> bool:
    return all((shares[axis] or 0) > CONCENTRATED for axis in order[-2:])


def _is_wrong(order: tuple[int, ...], shares: list[float | None]) -> bool:
    """Whether an axis that should be of k-space is none, and one that should not be, is."""
    image, others = ([shares[axis] or 0 for axis in part] for part in (order[-2:], order[:-2]))
    return min(image) < SPREAD and max(others) > CONCENTRATED


def _sentence(order: tuple[int, ...], shape: Sequence[int], expected: Expected) -> str:
    names = NAMES[len(shape)]
    held = ", ".join(names[order.index(axis)] for axis in range(len(shape)))
    if expected.matrix is not None:
        sizes = f"{expected.matrix[0]} x {expected.matrix[1]}"
        is_whole = shape[order[-1]] == expected.matrix[1]
        why = f"fits the {'matrix' if is_whole else 'readout'} of the header, {sizes}"
    elif expected.n_phase is not None:
        why = f"fits the mask of {expected.n_phase} phase encodes"
    else:
        why = "has the energy of k-space along both axes of the image"
    return (
        f"`kspace` of shape {tuple(shape)} is read as ({held}), as that order {why}, and brought "
        f"to ({', '.join(names)})"
    )


def _kind(size: int, share: float | None) -> str:
    if share is None:
        return str(size)
    if share > CONCENTRATED:
        return f"{size} (energy like k-space)"
    return f"{size} (energy {'spread evenly' if share < SPREAD else 'in between'})"


def _refusal(
    shape: Sequence[int], shares: list[float | None], expected: Expected, path: Path
) -> str:
    kinds = [_kind(size, share) for size, share in zip(shape, shares, strict=True)]
    wanted = []
    if expected.n_slices is not None:
        wanted.append(f"slices {expected.n_slices}")
    if expected.n_coils is not None and len(shape) == 4:
        wanted.append(f"coils {expected.n_coils}")
    if expected.matrix is not None:
        wanted.append(f"readout {expected.matrix[0]}")
    phase = expected.n_phase or (expected.matrix[1] if expected.matrix else None)
    if phase is not None:
        wanted.append(f"phase encode {phase}")
    sizes = f" with {', '.join(wanted)}" if wanted else ""
    return (
        f"{path}: the axes of `kspace` are {' x '.join(kinds)}, expected "
        f"({', '.join(NAMES[len(shape)])}){sizes}, and no order of them fits: transpose `kspace` "
        "to that order and correct the header"
    )
