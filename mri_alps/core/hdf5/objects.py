"""h5py's files, groups, datasets and attributes, with a check in front of every access."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5._filters import check_inflated, packed_chunks
from mri_alps.core.hdf5._global_heaps import check_global_heaps
from mri_alps.core.hdf5._links import file_of, find
from mri_alps.core.hdf5._types import check_type
from mri_alps.core.hdf5.limits import (
    ALWAYS_ALLOWED_BYTES,
    MAX_ATTRIBUTE_BYTES,
    MAX_ENTRY_BYTES,
    MAX_MEMBERS,
    MAX_PIECE_BYTES,
    check_claim,
)

_UNKNOWN = 16
"""Entries of variable length that are read at once where nobody knows the longest."""

_POINTER = 16
"""Bytes of an entry of variable length, apart from its content."""


class Attributes(h5py.AttributeManager):
    """Attributes of a size that attributes have."""

    def __getitem__(self, name: str) -> Any:
        """Read an attribute."""
        attribute = h5a.open(self._id, self._e(name))
        n_bytes = math.prod(attribute.shape or ()) * attribute.get_type().get_size()
        limit = MAX_ATTRIBUTE_BYTES
        path = file_of(self._id)
        check_type(attribute.dtype, path, str(name)[:60])
        if attribute.dtype.hasobject:
            n_bytes = n_bytes // _POINTER * max(_POINTER, _longest(path) or 0)
            limit = MAX_PIECE_BYTES
        if n_bytes > limit:
            raise InputFileError(
                f"{path}: the attribute `{str(name)[:60]}` may have {n_bytes / 2**20:.0f} MiB, at "
                f"most {limit // 2**20} are read: store it as a dataset"
            )
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        _check_count(file_of(self._id), "attributes", len(self))
        return super().__iter__()


class _Checked:
    """What files and groups have in common; stands in front of h5py's own class."""

    id: Any

    @property
    def attrs(self) -> Attributes:
        """The attributes."""
        return Attributes(self)

    def __getitem__(self, name: str) -> Any:
        """Open a member.

        Raises
        ------
        KeyError
            If there is none of that name.
        InputFileError
            If it is not in this file, or cannot be what it claims to be.
        """
        found = self.get(name)
        if found is None:
            raise KeyError(f"{file_of(self.id)} has no {name!r}")
        return found

    def get(self, name: str, default: object = None) -> Any:
        """Open a member, or return `default` if there is none of that name."""
        found = find(self.id, name)
        if found is None:
            return default
        if isinstance(found, h5d.DatasetID):
            return Dataset(found, name)
        return Group(found) if isinstance(found, h5g.GroupID) else h5py.Datatype(found)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a member of that name."""
        return find(self.id, str(name)) is not None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the members."""
        _check_count(file_of(self.id), "entries in one group", len(self))  # type: ignore[arg-type]
        return super().__iter__()  # type: ignore[misc]


class Group(_Checked, h5py.Group):
    """A group."""


class File(_Checked, h5py.File):
    """A file that is open for reading."""


class Dataset(h5py.Dataset):
    """A dataset in this file, of which nothing is read that the file cannot hold.

    Parameters
    ----------
    identifier : h5py.h5d.DatasetID
        The opened dataset.
    name : str
        For messages.

    Raises
    ------
    InputFileError
        If its data lie in other files, or its chunks are larger than can be.
    """

    def __init__(self, identifier: h5d.DatasetID, name: str):
        properties = identifier.get_create_plist()
        self._path, self._title = file_of(identifier), name
        # One that is its own source crashes the library; any other reads other files.
        elsewhere = (
            "a virtual dataset"
            if properties.get_layout() == h5d.VIRTUAL
            else "stored in other files"
            if properties.get_external_count()
            else ""
        )
        if elsewhere:
            raise InputFileError(
                f"{self._path}: `{name}` is {elsewhere}, which is not read: copy the data into the "
                "file, for example with h5repack"
            )
        self._packed = packed_chunks(identifier, self._path, name)
        super().__init__(identifier, readonly=True)
        check_type(self.dtype, self._path, name)

    @property
    def attrs(self) -> Attributes:
        """The attributes."""
        return Attributes(self)

    def __getitem__(self, args: Any, new_dtype: Any = None) -> Any:
        """Read a part."""
        chosen = _chosen(self.shape or (), args)
        count = math.prod(map(len, chosen))
        self._check_stored(chosen, count)
        if not self.dtype.hasobject:
            return super().__getitem__(args, new_dtype)
        longest = _longest(self._path)
        piece = _UNKNOWN if longest is None else MAX_PIECE_BYTES // max(_POINTER, longest)
        names = None if new_dtype is None else new_dtype.names
        if count <= max(1, piece) and names is None:
            return super().__getitem__(args, new_dtype)
        rows = max(1, piece * len(chosen[0]) // max(1, count))
        return self._read_in_pieces(args, names, chosen, rows)

    def read_direct(self, *args: Any, **options: Any) -> None:
        """Read into an array."""
        if self.dtype.hasobject:
            raise TypeError("data of variable length are read by indexing")
        chosen = _chosen(self.shape or (), ())
        self._check_stored(chosen, math.prod(map(len, chosen)))
        super().read_direct(*args, **options)

    def _check_stored(self, chosen: list[range], count: int) -> None:
        n_bytes = count * max(self.dtype.itemsize, self.id.get_type().get_size())
        if n_bytes > ALWAYS_ALLOWED_BYTES:
            what = f"`{self._title}` of shape {self.shape}"
            check_claim(self._path, what, n_bytes)
        for first, expected in list(self._packed.items()):
            sides = zip(chosen, first, self.chunks, strict=True)
            if all(_touches(indices, start, size) for indices, start, size in sides):
                check_inflated(self.id, first, expected, self._path, self._title)
                del self._packed[first]  # once is enough

    def _read_in_pieces(
        self, args: object, names: tuple[str, ...] | None, chosen: list[range], rows: int
    ) -> Any:
        """Entries that all point at one large text would fill the memory if read at once.

        h5py reads all fields whichever are asked for, and never frees what it was not asked for.
        """
        args = args if isinstance(args, tuple) else (args,)
        first = args[0] if args else slice(None)
        if not isinstance(first, slice):
            raise TypeError(f"`{self._title}` is read by slices")
        limit = max(ALWAYS_ALLOWED_BYTES, self._path.stat().st_size)
        parts, total = [], 0
        for start in range(0, len(chosen[0]), rows):
            some = chosen[0][start : start + rows]
            index = (slice(some.start, some.stop, some.step), *args[1:])
            part = super().__getitem__(index)
            total += sum(_content_bytes(entry) for entry in part.reshape(-1))
            if total > limit:
                raise InputFileError(
                    f"{self._path}: `{self._title}` holds more than the file, its entries share "
                    "their content: the file is damaged, export the scan again"
                )
            parts.append(part if names is None else _fields(part, names))
        if not parts:
            return super().__getitem__(args)
        return np.concatenate(parts)


def _chosen(shape: tuple[int, ...], args: object) -> list[range]:
    """Return which indices are read along each axis; all where that is not simple to say."""
    args = args if isinstance(args, tuple) else (args,)
    if any(arg is Ellipsis for arg in args):
        args = ()
    chosen = [range(size) for size in shape]
    for axis, (arg, size) in enumerate(zip(args, shape, strict=False)):
        if isinstance(arg, slice):
            chosen[axis] = range(*arg.indices(size))
        elif isinstance(arg, int | np.integer):
            chosen[axis] = range(int(arg) % size, int(arg) % size + 1) if size else range(0)
    return chosen


def _touches(indices: range, start: int, size: int) -> bool:
    return bool(indices) and min(indices) < start + size and max(indices) >= start


def _fields(records: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    found = np.empty(records.shape, [(name, records.dtype[name]) for name in names])
    for name in names:
        found[name] = records[name]
    return found


def _content_bytes(entry: object) -> int:
    if isinstance(entry, np.ndarray):
        return int(entry.nbytes)
    if isinstance(entry, np.void):
        entry = entry.item()
    if isinstance(entry, tuple):
        return sum(_content_bytes(part) for part in entry)
    # Numbers lie in the table itself, which `_check_stored` has looked at.
    return len(entry) if isinstance(entry, bytes | str) else 0


def _longest(path: Path) -> int | None:
    """Return the bytes of the longest entry of variable length, if that is known."""
    longest = check_global_heaps(path)
    if longest is not None and longest > MAX_ENTRY_BYTES:
        raise InputFileError(
            f"{path} holds a text or a line of {longest / 2**20:.0f} MiB, at most "
            f"{MAX_ENTRY_BYTES // 2**20} are read: export the scan again"
        )
    return longest


def _check_count(path: Path, what: str, count: int) -> None:
    if count > MAX_MEMBERS:
        raise InputFileError(
            f"{path} has {count} {what}, at most {MAX_MEMBERS} are looked through: it is no file "
            "of a scan, or damaged"
        )
