"""MRD streams as files: messages one after the other, as scanners send and converters write them.

Only headers are read when a stream is opened; samples stay where they are. What a message claims
has to lie within the file, so that memory never grows beyond what is there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.rawdata.header import MAX_HEADER_BYTES, Header, parse_header
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.rawdata.ismrmrd.heads import heads_from_records
from mri_alps.rawdata.ismrmrd.reader import make_scan
from mri_alps.rawdata.ismrmrd.store import SpooledAcquisitions
from mri_alps.rawdata.noncartesian.options import TrajectoryOptions

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.scan import Selection
    from mri_alps.rawdata.raw import RawKSpace

_START = (kinds.CONFIG_FILE, kinds.CONFIG_TEXT, kinds.HEADER)


class _Cut(Exception):
    """The file ends within a message."""


@dataclass
class _Contents:
    header: bytes | None = None
    heads: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def is_mrd_stream(path: Path) -> bool:
    """Return whether a file begins as a stream of MRD messages does.

    Parameters
    ----------
    path : pathlib.Path
        A file that can be read.
    """
    with path.open("rb") as file:
        start = file.read(6)
    if len(start) < 6:
        return False
    kind, length = struct.unpack("<HI", start)
    if kind == kinds.CONFIG_FILE:  # a name, of which the first letters are there already
        return all(32 <= byte < 127 or byte == 0 for byte in start[2:])
    return kind in _START and length <= path.stat().st_size


def read_mrd_stream(
    path: Path, selection: Selection, options: TrajectoryOptions = TrajectoryOptions()
) -> RawKSpace:
    """Open a stream of MRD messages: headers are read, samples are not.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    selection : Selection
        Which part of it.
    options : TrajectoryOptions
        What the user says of its trajectory.

    Raises
    ------
    InputFileError
        If it is damaged, holds no acquisitions, or what `read_ismrmrd` raises.
    ConfigurationError
        If the selection asks for what the file does not have.
    """
    if selection.dataset is not None:
        raise ConfigurationError(
            f"{path} is an MRD stream, which holds one measurement without a name: leave "
            f"dataset {selection.dataset!r} out"
        )
    store, header, notes = open_mrd_stream(path)
    scan = make_scan(store, header, selection, options)
    scan.warnings += notes
    return scan.assemble()


def open_mrd_stream(path: Path) -> tuple[SpooledAcquisitions, Header, list[str]]:
    """Return the acquisitions of a stream, its header, and what is to be said of it.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Raises
    ------
    InputFileError
        If it is damaged, or holds no acquisitions.
    """
    from ismrmrd.hdf5 import acquisition_header_dtype

    contents = _index(path)
    if contents.header is None or not contents.heads:
        missing = "header" if contents.header is None else "acquisition"
        raise InputFileError(
            f"{path} is an MRD stream without {missing} ({_held(contents)}): export the scan again"
        )
    records = np.frombuffer(b"".join(contents.heads), acquisition_header_dtype)
    heads = heads_from_records(records, np.arange(len(records)), path)
    offsets, sizes = np.array(contents.offsets, np.int64), np.array(contents.sizes, np.int64)
    store = SpooledAcquisitions(path, path, heads, offsets, sizes)
    return store, parse_header(contents.header, path), contents.notes


def _held(contents: _Contents) -> str:
    found = {"acquisition": len(contents.heads)} | contents.others
    return ", ".join(f"{count} x {name}" for name, count in found.items() if count) or "it is empty"


def _index(path: Path) -> _Contents:
    """Walk over the messages of a file."""
    contents = _Contents()
    end = path.stat().st_size
    try:
        with path.open("rb") as file:
            while (start := file.tell()) < end:
                kind = int.from_bytes(_read(file, 2, end), "little")
                if kind == kinds.CLOSE:
                    if file.tell() < end:
                        contents.notes.append(
                            f"{end - file.tell()} bytes after the end of the scan are left out"
                        )
                    return contents
                if kind not in kinds.NAMES:
                    raise InputFileError(
                        f"{path} is an MRD stream (not HDF5) that is damaged: byte {start} begins "
                        f"a message of the unknown kind {kind}; convert the scan again, or turn "
                        "it into HDF5 by ismrmrd_stream_to_hdf5"
                    )
                _take(file, kind, end, contents, path)
    except _Cut:
        contents.notes.append(
            f"the stream ends within a message: the {len(contents.heads)} whole acquisitions "
            "before are read, copy the file again if it should hold more"
        )
    except OSError as error:
        raise InputFileError(f"{path} cannot be read ({error.strerror or error})") from error
    return contents


def _take(file: BinaryIO, kind: int, end: int, contents: _Contents, path: Path) -> None:
    """Read one message, or read over it."""
    from ismrmrd.hdf5 import acquisition_header_dtype, waveform_header_dtype

    if kind == kinds.ACQUISITION:
        head = _read(file, acquisition_header_dtype.itemsize, end)
        fields = np.frombuffer(head, acquisition_header_dtype)[0]
        n_samples, n_coils = int(fields["number_of_samples"]), int(fields["active_channels"])
        _skip(file, 4 * n_samples * int(fields["trajectory_dimensions"]), end)
        offset, size = file.tell(), 8 * n_samples * n_coils
        _skip(file, size, end)
        contents.heads.append(head)
        contents.offsets.append(offset)
        contents.sizes.append(size)
        return
    name = kinds.NAMES[kind]
    contents.others[name] = contents.others.get(name, 0) + 1
    if kind == kinds.CONFIG_FILE:
        _skip(file, kinds.CONFIG_FILE_BYTES, end)
    elif kind == kinds.WAVEFORM:
        fields = np.frombuffer(
            _read(file, waveform_header_dtype.itemsize, end), waveform_header_dtype
        )
        _skip(file, 4 * int(fields["channels"][0]) * int(fields["number_of_samples"][0]), end)
    elif kind == kinds.IMAGE:
        _skip_image(file, end, path)
    else:
        (length,) = struct.unpack("<I", _read(file, 4, end))
        if kind != kinds.HEADER:
            _skip(file, length, end)
            return
        if contents.header is not None:
            raise InputFileError(
                f"{path} is an MRD stream with two headers, and a stream holds one measurement: "
                "convert each measurement into a file of its own"
            )
        if length > MAX_HEADER_BYTES:
            raise InputFileError(
                f"{path} is an MRD stream whose header claims {length:,} bytes, at most "
                f"{MAX_HEADER_BYTES:,} are taken: it is damaged, convert the scan again"
            )
        contents.header = _read(file, length, end).split(b"\0", 1)[0]


def _skip_image(file: BinaryIO, end: int, path: Path) -> None:
    from ismrmrd.hdf5 import image_header_dtype

    head = np.frombuffer(_read(file, image_header_dtype.itemsize, end), image_header_dtype)[0]
    name = kinds.IMAGE_TYPES.get(int(head["data_type"]))
    if name is None:
        raise InputFileError(
            f"{path} is an MRD stream with an image of the unknown data type "
            f"{int(head['data_type'])}: it is damaged, convert the scan again"
        )
    (length,) = struct.unpack("<Q", _read(file, 8, end))
    _skip(file, length, end)
    n_pixels = int(head["channels"])
    for size in head["matrix_size"]:
        n_pixels *= int(size)
    _skip(file, np.dtype(name).itemsize * n_pixels, end)


def _read(file: BinaryIO, count: int, end: int) -> bytes:
    """Read bytes that are known to be there before memory is taken for them."""
    if file.tell() + count > end:
        raise _Cut
    data = file.read(count)
    if len(data) < count:
        raise _Cut
    return data


def _skip(file: BinaryIO, count: int, end: int) -> None:
    if file.tell() + count > end:
        raise _Cut
    file.seek(count, 1)
