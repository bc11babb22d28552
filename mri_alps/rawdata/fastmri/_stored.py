"""`kspace` as one complex array of three or four axes, however the file stores it.

Real and imaginary parts may be a last axis of two. A fifth axis holds repetitions: where their
differences are noise alone they are averaged, and these differences give the noise; where they
are not, they are other images, and one is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.rawdata.choices import note_choice
from mri_alps.rawdata.kspace_center import as_complex, concentrations

if TYPE_CHECKING:
    from mri_alps.core.hdf5 import Dataset

_PLAIN_AXES = 4
LIKE_KSPACE = 0.5
"""Energy in the best eighth of an axis beyond that of noise, halfway between k-space and images."""
WHITE = 0.03
"""The same, up to which differences are noise: of 48 x 40 samples of 4 coils it is below 0.01."""
_ENTRIES = 4
"""Entries of other axes that are looked at."""


@dataclass(frozen=True)
class Storage:
    """How a file stores what is read as (slice, coil, readout, phase encode).

    Parameters
    ----------
    has_parts : bool
        The last axis is real and imaginary part.
    repetitions : int or None
        The axis of repetitions.
    chosen : int or None
        The repetition that is read; their mean if None.
    """

    has_parts: bool = False
    repetitions: int | None = None
    chosen: int | None = None


class StoredKSpace:
    """A dataset seen without the axes that its storage adds.

    Parameters
    ----------
    dataset : Dataset
        As the file has it.
    storage : Storage
        Which axes it adds.
    """

    def __init__(self, dataset: Dataset, storage: Storage):
        self._dataset, self._storage = dataset, storage
        self.id = dataset.id
        self.dtype = np.dtype(np.complex64) if storage.has_parts else dataset.dtype
        self.n_averages = 1
        sizes = list(dataset.shape[:-1] if storage.has_parts else dataset.shape)
        if storage.repetitions is not None:
            count = sizes.pop(storage.repetitions)
            self.n_averages = count if storage.chosen is None else 1
        self.shape = tuple(sizes)
        self.ndim = len(sizes)

    def __getitem__(self, index: int | tuple[Any, ...]) -> np.ndarray:
        """Return a part, complex; its repetitions averaged."""
        block, place = self.repeated(index)
        return block if place is None else block.mean(axis=place)

    def repeated(self, index: int | tuple[Any, ...]) -> tuple[np.ndarray, int | None]:
        """Return a part, complex, and where in it the axis of averages is, None without."""
        whole = list(index if isinstance(index, tuple) else (index,))
        whole += [slice(None)] * (self.ndim - len(whole))
        axis, place = self._storage.repetitions, None
        if axis is not None:
            chosen = self._storage.chosen
            whole.insert(axis, slice(None) if chosen is None else chosen)
            if chosen is None:
                place = sum(isinstance(entry, slice) for entry in whole[:axis])
        block = self._dataset[tuple(whole)]
        if self._storage.has_parts:
            block = block[..., 0] + 1j * block[..., 1]
        return as_complex(block), place


def storage_of(
    dataset: Dataset, path: Path, wanted: int | None, provenance: dict[str, Any]
) -> Storage:
    """Find how k-space is stored.

    Parameters
    ----------
    dataset : Dataset
        `kspace`.
    path : Path
        The file, for messages.
    wanted : int or None
        The repetition that was asked for.
    provenance : dict
        Gets what was found and chosen, in words.

    Raises
    ------
    ConfigurationError
        If a repetition was asked for that there is not.
    """
    has_parts = dataset.dtype.kind == "f" and dataset.ndim > 3 and dataset.shape[-1] == 2
    plain = Storage(has_parts)
    if has_parts:
        provenance["processing"].append(
            f"the last axis of `kspace`, of shape {dataset.shape}, holds real and imaginary parts"
        )
    seen = StoredKSpace(dataset, plain)
    is_complex = has_parts or dataset.dtype.kind in "cV"
    if seen.ndim != _PLAIN_AXES + 1 or not is_complex or 0 in seen.shape:
        return plain
    image = _kspace_axes(seen)
    if not image:  # there is no telling which axis is which
        return plain
    others = [axis for axis in range(seen.ndim) if axis not in image]
    white = [axis for axis in others if _is_repeated(seen, axis, image)]
    if len(white) == 1 and wanted is None:
        count = seen.shape[white[0]]
        provenance["processing"].append(
            f"axis {white[0]} of `kspace`, of shape {dataset.shape}, holds {count} repetitions "
            "that differ by noise alone: they are averaged, and the noise is measured from their "
            "differences"
        )
        return Storage(has_parts, white[0])
    axis = white[0] if len(white) == 1 else others[0]
    if not white:
        provenance["processing"].append(
            f"axis {axis} of `kspace`, of shape {dataset.shape}, is taken to hold repetitions; "
            "they differ by more than noise and are not averaged"
        )
    found = range(seen.shape[axis])
    chosen = note_choice(provenance, path, "repetition", found, wanted)
    return Storage(has_parts, axis, chosen)


def _kspace_axes(seen: StoredKSpace) -> tuple[int, ...]:
    """Return the two axes over which the energy is that of k-space, none if there are others."""
    middle: list[Any] = [_few(n) for n in seen.shape]
    found = []
    for axis in range(seen.ndim):
        index = list(middle)
        index[axis] = slice(None)
        share = concentrations(seen[tuple(index)])[axis]
        if share is not None and share > LIKE_KSPACE:
            found.append(axis)
    return tuple(found) if len(found) == 2 else ()


def _few(size: int) -> slice:
    kept = center_range(size, min(size, _ENTRIES))
    return slice(kept.start, kept.stop)


def _is_repeated(seen: StoredKSpace, axis: int, image: tuple[int, ...]) -> bool:
    """Whether neighbours along an axis are the same but for noise."""
    size = seen.shape[axis]
    if size < 2:
        return False
    index: list[Any] = [slice(None) if a in image else _few(n) for a, n in enumerate(seen.shape)]
    pair = []
    for place in (size // 2 - 1, size // 2):
        index[axis] = slice(place, place + 1)
        pair.append(seen[tuple(index)])
    shares = concentrations(pair[1] - pair[0])
    found = [shares[a] for a in image]
    return all(share is not None and share < WHITE for share in found)


def noise_of_repetitions(kspace: StoredKSpace, order: tuple[int, ...]) -> np.ndarray | None:
    """Return the covariance of the noise of averaged repetitions, from their differences.

    Parameters
    ----------
    kspace : StoredKSpace
        With an axis of averages, else there is none.
    order : tuple of int
        The axes of slices, coils, readout and phase encode of what it is read as.

    Returns
    -------
    numpy.ndarray or None
        complex128 (coils, coils), per real component and of the mean; None without repetitions.
    """
    if kspace.n_averages < 2:
        return None
    slices, coils, *_ = order
    middle = kspace.shape[slices] // 2
    block, place = kspace.repeated((slice(None),) * slices + (middle,))
    assert place is not None  # there are averages
    coil_axis = coils - (coils > slices)
    coil_axis += coil_axis >= place
    block = np.moveaxis(block, (place, coil_axis), (0, 1)).astype(np.complex128)
    count, n_coils = block.shape[:2]
    samples = (block - block.mean(axis=0)).reshape(count, n_coils, -1)
    measured = (block.reshape(count, n_coils, -1) != 0).any(axis=(0, 1))
    samples = samples[:, :, measured]
    if samples.shape[2] < 2 * n_coils or not np.isfinite(samples).all():
        return None
    total = np.einsum("rcs,rds->cd", samples, samples.conj())
    covariance: np.ndarray = total / (2 * (count - 1) * samples.shape[2] * count)
    return covariance if (np.diag(covariance).real > 0).all() else None
