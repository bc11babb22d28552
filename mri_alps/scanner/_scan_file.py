"""A scan as an ISMRMRD file: acquisitions, waveforms and images as they came."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype, get_hdf5type, image_header_dtype, waveform_dtype

from mri_alps.rawdata.ismrmrd import kinds, write_xml

if TYPE_CHECKING:
    from mri_alps.scanner.protocol import Message, ReceivedImage

_ROWS, _ROW_BYTES = 64, 16 * 2**20


class _Rows:
    """Appends to a dataset of one dimension, some rows at a time."""

    def __init__(self, group: h5py.Group, name: str, dtype: np.dtype):
        self._data = group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(_ROWS,))
        self._pending: list[tuple[object, ...]] = []
        self._bytes = 0

    def add(self, head: np.void, *arrays: np.ndarray) -> None:
        self._pending.append((head, *arrays))
        self._bytes += sum(array.nbytes for array in arrays)
        if len(self._pending) == _ROWS or self._bytes > _ROW_BYTES:
            self.flush()

    def flush(self) -> None:
        rows = np.empty(len(self._pending), self._data.dtype)
        for row, values in zip(rows, self._pending, strict=True):
            for name, value in zip(rows.dtype.names or (), values, strict=True):
                row[name] = value
        start = len(self._data)
        self._data.resize((start + len(rows),))
        self._data[start:] = rows
        self._pending.clear()
        self._bytes = 0


def write_scan(path: Path, messages: Iterable[Message]) -> None:
    """Write a scan in the layout that `ismrmrd.Dataset` reads, in the group ``dataset``.

    Images are in the groups ``image_SERIES``; those of one series that differ in shape or type
    from its first are in ``image_SERIES_1`` and so on.

    Parameters
    ----------
    path : Path
        The file to write.
    messages : iterable of Message
        Of a whole scan. Configuration texts are joined in ``config``.
    """
    configurations: list[str] = []
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        rows = {kinds.ACQUISITION: _Rows(group, "data", acquisition_dtype)}
        names: dict[tuple[object, ...], str] = {}
        for kind, value in messages:
            if kind in (kinds.CONFIG_FILE, kinds.CONFIG_TEXT):
                configurations.append(value)
            elif kind == kinds.HEADER:
                write_xml(group, value)
            elif kind == kinds.ACQUISITION:
                rows[kind].add(*value)
            elif kind == kinds.WAVEFORM:
                if kind not in rows:
                    rows[kind] = _Rows(group, "waveforms", waveform_dtype)
                rows[kind].add(*value)
            elif kind == kinds.IMAGE and value.pixels.size:
                _append_image(group, names, value)
        for table in rows.values():
            table.flush()
        if configurations:
            group["config"] = "\n".join(configurations)


def _append_image(
    group: h5py.Group, names: dict[tuple[object, ...], str], image: ReceivedImage
) -> None:
    dtype = get_hdf5type(int(image.head["data_type"]))
    series, shape = int(image.head["image_series_index"]), image.pixels.shape
    key = (series, shape, dtype.str, str(dtype.names))
    if key not in names:
        others = sum(1 for known in names if known[0] == series)
        names[key] = f"image_{series}" + (f"_{others}" if others else "")
        made = group.create_group(names[key])
        made.create_dataset("header", (0,), image_header_dtype, maxshape=(None,))
        made.create_dataset("attributes", (0,), h5py.string_dtype(), maxshape=(None,))
        made.create_dataset("data", (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape))
    into = group[names[key]]
    values = {"header": image.head, "attributes": image.attributes}
    for name, value in (values | {"data": image.pixels.view(dtype)}).items():
        into[name].resize(len(into[name]) + 1, axis=0)
        into[name][-1] = value
