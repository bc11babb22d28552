"""The measurements of a twix file: headers of lines, and where their samples lie.

The layout is that of twixtools (https://github.com/pehses/twixtools), whose definitions of headers
and flags are used; the file is walked here, as every length in it may be wrong: what a header
claims has to lie within the file before anything is read for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import MAX_HEADER_BYTES
from mri_alps.core.optional import require

MULTI_RAID_BYTES = 10240
_ENTRY = struct.Struct("<IIQQ64s64s")
_START = struct.Struct("<II")
_BUFFERS = (b"Config", b"Dicom", b"Meas", b"MeasYaps", b"Phoenix", b"Spice")
MAX_MEASUREMENTS = 64
MAX_BUFFERS = 32
MAX_LINES = 20_000_000
_LENGTH_BITS = 0x1FFFFFF
"""Of the first word of a line's header: its length in bytes; the others are flags."""


@dataclass
class Measurement:
    """One measurement of a file.

    Parameters
    ----------
    name : str
        Its protocol.
    header : str
        The text of its protocol.
    is_vb : bool
        Written by VB software.
    heads : numpy.ndarray
        Headers of lines, with the fields of twixtools.
    offsets : numpy.ndarray
        Where the first channel of each line begins, in bytes.
    channels : list of tuple of int
        Identifiers of the channels of each line, in the order of the file.
    notes : list of str
        Sentences.
    """

    name: str
    header: str
    is_vb: bool
    heads: np.ndarray = field(default_factory=lambda: np.zeros(0))
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    channels: list[tuple[int, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def has(self, flag: str) -> np.ndarray:
        """Return whether a flag of twixtools' names is set, per line."""
        bit = np.uint64(_definitions().mask_dict[flag])
        return (self.heads["EvalInfoMask"] >> bit) & np.uint64(1) == 1


def is_twix(path: Path) -> bool:
    """Return whether a file begins as twix files do.

    Parameters
    ----------
    path : pathlib.Path
        A file that can be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        return bool(_places(file, size))


def _places(file: BinaryIO, size: int) -> list[tuple[int, int, str]]:
    """Return start, end and name of the measurements; none if it is no twix file."""
    file.seek(0)
    first, count = _START.unpack(file.read(8).ljust(8, b"\0"))
    if _is_header(file, 0, size):
        return [(0, size, "")]
    if first >= 10000 or not 1 <= count <= MAX_MEASUREMENTS:
        return []
    file.seek(8)
    places = []
    for _ in range(count):
        entry = file.read(_ENTRY.size)
        if len(entry) < _ENTRY.size:
            return []
        _, _, start, length, _, name = _ENTRY.unpack(entry)
        stop = start + length if length else size
        places.append((start, min(stop, size), name.split(b"\0")[0].decode("latin1").strip()))
    return places if all(_is_header(file, start, size) for start, _, _ in places) else []


def _is_header(file: BinaryIO, start: int, size: int) -> bool:
    """Whether the header of a measurement is at a place: its first buffer has one of few names."""
    if not 0 <= start < size:
        return False
    file.seek(start)
    begin = file.read(24)
    if len(begin) < 24:
        return False
    length, n_buffers = _START.unpack(begin[:8])
    name = begin[8:].split(b"\0")[0]
    return name in _BUFFERS and 32 <= length <= size - start and 1 <= n_buffers <= MAX_BUFFERS


def read_measurements(path: Path) -> list[Measurement]:
    """Read all headers of a twix file.

    Parameters
    ----------
    path : pathlib.Path
        One that `is_twix`.

    Raises
    ------
    InputFileError
        If it is damaged.
    MissingDependencyError
        If twixtools is not installed.
    """
    _definitions()
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            places = _places(file, size)
            is_vb = len(places) == 1 and places[0][0] == 0
            return [_read(file, path, *place, is_vb) for place in places]
    except OSError as error:
        raise InputFileError(f"{path} cannot be read ({error.strerror or error})") from error


def _definitions() -> ModuleType:
    return require("twixtools.mdh_def", "reading Siemens raw data", "twix")


def _read(file: BinaryIO, path: Path, start: int, stop: int, name: str, is_vb: bool) -> Measurement:
    file.seek(start)
    length, _ = _START.unpack(file.read(8))
    if length > MAX_HEADER_BYTES:
        raise InputFileError(
            f"{path}: the protocol of a measurement claims {length:,} bytes, at most "
            f"{MAX_HEADER_BYTES:,} are read: the file is damaged, export the scan again"
        )
    text = file.read(length - 8).decode("latin1")
    measurement = Measurement(name, text, is_vb)
    walk = _walk_vb if is_vb else _walk_vd
    heads, layout = walk(file, path, start + length, stop, measurement)
    measurement.heads = np.frombuffer(b"".join(heads), layout) if heads else np.zeros(0, layout)
    return measurement


def _cut(measurement: Measurement, n_lines: int) -> None:
    measurement.notes.append(
        f"the measurement ends without its end mark: the {n_lines} whole lines before are read, "
        "copy the file again if it should hold more"
    )


def _walk_vd(
    file: BinaryIO, path: Path, start: int, stop: int, measurement: Measurement
) -> tuple[list[bytes], np.dtype]:
    """Walk over the lines of VD and later: a header, then every channel with a short one."""
    definitions = _definitions()
    layout, channel = (
        np.dtype(kind) for kind in (definitions.Scan_header, definitions.Channel_header)
    )
    place = channel.fields["ChannelId"][1]
    return _walk(file, path, start, stop, measurement, layout, (layout.itemsize, channel, place))


def _walk_vb(
    file: BinaryIO, path: Path, start: int, stop: int, measurement: Measurement
) -> tuple[list[bytes], np.dtype]:
    """Walk over the lines of VB: every channel with a whole header."""
    layout = np.dtype(_definitions().VB17_header)
    place = layout.fields["ChannelId"][1]
    return _walk(file, path, start, stop, measurement, layout, (0, layout, place))


def _walk(
    file: BinaryIO,
    path: Path,
    start: int,
    stop: int,
    measurement: Measurement,
    layout: np.dtype,
    channels: tuple[int, np.dtype, int],
) -> tuple[list[bytes], np.dtype]:
    """Read header by header.

    `channels` are the bytes between the start of a line and its first channel, the header of a
    channel, and where in it the channel's identifier is.
    """
    before, channel, place = channels
    fields = {name: layout.fields[name][1] for name in ("EvalInfoMask", "SamplesInScan")}  # type: ignore[index]
    bits = {name: 1 << _definitions().mask_dict[name] for name in ("ACQEND", "SYNCDATA")}
    heads: list[bytes] = []
    offsets, position = [], start
    whole = np.memmap(path, np.uint8, "r")
    while True:
        file.seek(position)
        head = file.read(layout.itemsize) if position + layout.itemsize <= stop else b""
        if len(head) < layout.itemsize:
            _cut(measurement, len(heads))
            break
        (mask,) = struct.unpack_from("<Q", head, fields["EvalInfoMask"])
        n_samples, n_channels = struct.unpack_from("<HH", head, fields["SamplesInScan"])
        if mask & bits["ACQEND"]:
            break
        if mask & bits["SYNCDATA"]:
            (word,) = struct.unpack_from("<I", head, 0)
            step = word & _LENGTH_BITS
            if step < layout.itemsize:
                raise _damaged(path, position, f"a length of {step} bytes")
            position += step
            continue
        if n_samples == 0 or n_channels == 0:
            raise _damaged(path, position, f"{n_samples} samples of {n_channels} channels")
        block = channel.itemsize + 8 * n_samples
        size = before + n_channels * block
        if position + size > stop:
            _cut(measurement, len(heads))
            break
        first = position + before + place + block * np.arange(n_channels)
        identifiers = whole[first] + 256 * whole[first + 1].astype(int)
        measurement.channels.append(tuple(identifiers.tolist()))
        heads.append(head)
        offsets.append(position + before)
        position += size
        if len(heads) > MAX_LINES:
            raise _damaged(path, position, f"more than {MAX_LINES:,} lines")
    measurement.offsets = np.array(offsets, np.int64)
    return heads, layout


def _damaged(path: Path, position: int, what: str) -> InputFileError:
    return InputFileError(
        f"{path}: the header of a line at byte {position} claims {what}: the file is damaged, "
        "export the scan again"
    )
