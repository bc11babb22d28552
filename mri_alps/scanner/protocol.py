"""The MRD wire protocol, read with every claim checked before anything is allocated.

A message is a little-endian uint16 identifier and its body. Writing is left to the ismrmrd
package's own serialisation; reading is not, since it allocates whatever a header claims.
"""

from __future__ import annotations

import ctypes
import io
import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import ismrmrd
import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype, image_header_dtype, waveform_header_dtype

from mri_alps.core.errors import MriAlpsError
from mri_alps.rawdata.ismrmrd import kinds
from mri_alps.scanner.limits import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from mri_alps.scanner.settings import Limits

MAX_CHANNELS = 1024  # the channel mask of the format has no more bits
_CHUNK_BYTES = 2**20


class ProtocolError(MriAlpsError):
    """What came is no MRD message, or claims what cannot be."""


class ReceivedAcquisition(NamedTuple):
    """An acquisition as it came: the header's record, trajectory and samples, float32 and flat."""

    head: np.void
    trajectory: np.ndarray
    samples: np.ndarray

    @classmethod
    def from_ismrmrd(cls, acquisition: ismrmrd.Acquisition) -> ReceivedAcquisition:
        """Take over an acquisition of the ismrmrd package.

        Parameters
        ----------
        acquisition : ismrmrd.Acquisition
            Checked by whoever made it.
        """
        head = np.frombuffer(bytes(acquisition.getHead()), acquisition_header_dtype)[0]
        samples = np.ascontiguousarray(acquisition.data, np.complex64).view(np.float32).ravel()
        trajectory = np.ascontiguousarray(acquisition.traj, np.float32).ravel()
        return cls(head, trajectory, samples)

    @property
    def size(self) -> int:
        """Its bytes on the wire."""
        return int(self.head.nbytes + self.trajectory.nbytes + self.samples.nbytes)


class ReceivedWaveform(NamedTuple):
    """A waveform as it came: the header's record, and samples, uint32 and flat."""

    head: np.void
    samples: np.ndarray


class ReceivedImage(NamedTuple):
    """An image as it came: the header's record, attributes and pixels (channel, z, y, x)."""

    head: np.void
    attributes: str
    pixels: np.ndarray


class Message(NamedTuple):
    """One message: its identifier and what it holds."""

    kind: int
    value: Any


class MessageReader:
    """Reads messages from a stream of bytes, and counts them.

    Parameters
    ----------
    read : callable
        read(n) returns 1 to n bytes, or none at the end of the stream.
    limits : Limits
        How many messages may come, and how long they may be.
    skipped : tuple of int
        Kinds (IMAGE, WAVEFORM) that are of no interest: they are read over and have no value.
    """

    def __init__(self, read: Callable[[int], bytes], limits: Limits, skipped: tuple[int, ...] = ()):
        self._read, self._limits, self._skipped = read, limits, skipped
        self._meter = Meter(limits)

    def next(self) -> Message | None:
        """Return the next message, or None where the stream ends between two messages.

        Raises
        ------
        ProtocolError
            If the stream ends within a message, or the message is none.
        LimitExceeded
            If there are more messages than the limits allow.
        """
        first = self._read(2)
        if not first:
            return None
        if len(first) < 2:
            first += self._exactly(1, "message identifier")
        kind = int.from_bytes(first, "little")
        if kind not in kinds.NAMES:
            raise ProtocolError(
                f"message identifier {kind} is unknown, expected one of "
                f"{', '.join(map(str, kinds.NAMES))}: speak the ISMRMRD (MRD) protocol to this port"
            )
        return Message(kind, self._body(kind))

    def _body(self, kind: int) -> Any:
        if kind == kinds.ACQUISITION:
            return self._acquisition()
        if kind == kinds.IMAGE:
            return self._image()
        if kind == kinds.WAVEFORM:
            return self._waveform()
        if kind == kinds.CLOSE:
            return self._meter.count(kinds.CLOSE)
        return self._words(kind)

    def _exactly(self, count: int, what: str) -> bytes:
        """Read `count` bytes; memory grows with what comes, not with what was claimed."""
        data = bytearray()
        while len(data) < count:
            part = self._read(min(count - len(data), _CHUNK_BYTES))
            if not part:
                raise ProtocolError(
                    f"the connection ended within the {what}, after {len(data)} of {count} bytes: "
                    "send the scan again"
                )
            data += part
        return bytes(data)

    def _skip(self, count: int, what: str) -> None:
        while count > 0:
            count -= len(self._exactly(min(count, _CHUNK_BYTES), what))

    def _admit(self, kind: int, claimed: int, header: int = 0, what: str = "") -> None:
        """Check what a message claims, before anything is allocated."""
        _check_size(claimed, self._limits.quotas[kind].bytes_each, what or kinds.NAMES[kind])
        self._meter.count(kind, claimed + header)

    def _words(self, kind: int) -> Any:
        """Read a configuration, a text or an XML header."""
        length = kinds.CONFIG_FILE_BYTES
        if kind != kinds.CONFIG_FILE:
            (length,) = struct.unpack("<I", self._exactly(4, kinds.NAMES[kind]))
        self._admit(kind, length)
        data = self._exactly(length, kinds.NAMES[kind])
        if kind == kinds.HEADER:
            return data.split(b"\0", 1)[0]
        text = _as_text(data)
        if kind == kinds.TEXT and text.startswith("{"):  # the older way to configure
            self._admit(kinds.CONFIG_TEXT, length)
        return text

    def _acquisition(self) -> ReceivedAcquisition:
        size = acquisition_header_dtype.itemsize
        head = np.frombuffer(self._exactly(size, "acquisition header"), acquisition_header_dtype)[0]
        n_samples, n_channels, n_dimensions = (
            int(head[name])
            for name in ("number_of_samples", "active_channels", "trajectory_dimensions")
        )
        if n_channels > MAX_CHANNELS:
            raise ProtocolError(
                f"an acquisition claims {n_channels} coils, the format has at most {MAX_CHANNELS}: "
                "the stream is damaged, send the scan again"
            )
        trajectory_bytes, data_bytes = 4 * n_samples * n_dimensions, 8 * n_samples * n_channels
        self._admit(kinds.ACQUISITION, trajectory_bytes + data_bytes, size)
        if data_bytes == 0:
            self._meter.count(kinds.EMPTY)
        trajectory = self._exactly(trajectory_bytes, "trajectory of an acquisition")
        data = self._exactly(data_bytes, "samples of an acquisition")
        return ReceivedAcquisition(
            head, np.frombuffer(trajectory, np.float32), np.frombuffer(data, np.float32)
        )

    def _waveform(self) -> ReceivedWaveform | None:
        size = waveform_header_dtype.itemsize
        head = np.frombuffer(self._exactly(size, "waveform header"), waveform_header_dtype)[0]
        count = 4 * int(head["channels"]) * int(head["number_of_samples"])
        self._admit(kinds.WAVEFORM, count, size)
        if kinds.WAVEFORM in self._skipped:
            self._skip(count, "samples of a waveform")
            return None
        data = self._exactly(count, "samples of a waveform")
        return ReceivedWaveform(head, np.frombuffer(data, np.uint32))

    def _image(self) -> ReceivedImage | None:
        size = image_header_dtype.itemsize
        head = np.frombuffer(self._exactly(size, "image header"), image_header_dtype)[0]
        (length,) = struct.unpack("<Q", self._exactly(8, "image"))
        _check_size(length, self._limits.quotas[kinds.TEXT].bytes_each, "attributes of an image")
        attributes = _as_text(self._exactly(length, "attributes of an image"))
        name = kinds.IMAGE_TYPES.get(int(head["data_type"]))
        if name is None:
            raise ProtocolError(
                f"an image has the unknown data type {int(head['data_type'])}, expected one of "
                f"{', '.join(map(str, kinds.IMAGE_TYPES))}: the stream is damaged, send it again"
            )
        shape = [int(head["channels"]), *(int(size) for size in head["matrix_size"][::-1])]
        dtype = np.dtype(name)
        count = dtype.itemsize * int(np.prod(shape, dtype=object))
        self._admit(kinds.IMAGE, count, size + length)
        if kinds.IMAGE in self._skipped:
            self._skip(count, "pixels of an image")
            return None
        data = np.frombuffer(self._exactly(count, "pixels of an image"), dtype)
        return ReceivedImage(head, attributes, data.reshape(shape))


def as_image(received: ReceivedImage) -> ismrmrd.Image:
    """Return an image of the ismrmrd package, its attributes checked.

    Parameters
    ----------
    received : ReceivedImage
        As it came.

    Raises
    ------
    ProtocolError
        If its attributes are no ISMRMRD meta document, or an attack.
    """
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", received.attributes, re.IGNORECASE):
        raise ProtocolError(
            "the attributes of an image declare a document type or entities, which can be an "
            "attack: send them without"
        )
    try:
        image = ismrmrd.Image(received.head.tobytes(), received.attributes)
    except Exception as error:  # whatever an XML parser can raise, and assertions on its outcome
        raise ProtocolError(
            f"the attributes of an image are no ISMRMRD meta document ({error}): the stream is "
            "damaged, send it again"
        ) from error
    image.data[:] = received.pixels
    return image


def _check_size(claimed: int, limit: int, what: str) -> None:
    if claimed > limit:
        raise ProtocolError(
            f"a message claims {claimed:,} bytes for its {what}, at most {limit:,} are taken: the "
            "stream is damaged, or the limit too low for this scan"
        )


def _as_text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()


def text_message(text: str, kind: int = kinds.TEXT) -> bytes:
    """Return a text or a configuration text as a message.

    Parameters
    ----------
    text : str
        What it says.
    kind : int
        TEXT or CONFIG_TEXT.
    """
    data = text.encode("utf-8")
    return struct.pack("<HI", kind, len(data)) + data


def header_message(header: bytes) -> bytes:
    """Return an XML header as a message.

    Parameters
    ----------
    header : bytes
        The document.
    """
    return struct.pack("<HI", kinds.HEADER, len(header)) + header


def config_file_message(name: str) -> bytes:
    """Return a configuration name as a message.

    Parameters
    ----------
    name : str
        At most 1023 bytes.

    Raises
    ------
    ProtocolError
        If it is longer.
    """
    data = name.encode("utf-8")
    if len(data) >= kinds.CONFIG_FILE_BYTES:
        raise ProtocolError(
            f"a configuration name has {len(data)} bytes, at most "
            f"{kinds.CONFIG_FILE_BYTES - 1} fit: send JSON as a configuration text"
        )
    return struct.pack("<H", kinds.CONFIG_FILE) + data.ljust(kinds.CONFIG_FILE_BYTES, b"\0")


def image_message(image: ismrmrd.Image) -> bytes:
    """Return an image as a message.

    Parameters
    ----------
    image : ismrmrd.Image
        The image.
    """
    return struct.pack("<H", kinds.IMAGE) + _serialised(image)


def acquisition_message(acquisition: ismrmrd.Acquisition) -> bytes:
    """Return an acquisition as a message.

    Parameters
    ----------
    acquisition : ismrmrd.Acquisition
        The acquisition.
    """
    return struct.pack("<H", kinds.ACQUISITION) + _serialised(acquisition)


def received_message(message: Message) -> bytes:
    """Return data as it was read, as a message.

    Parameters
    ----------
    message : Message
        An acquisition, a waveform or an image.
    """
    value = message.value
    parts = [struct.pack("<H", message.kind), value.head.tobytes()]
    if message.kind == kinds.ACQUISITION:
        parts += [value.trajectory.tobytes(), value.samples.tobytes()]
    elif message.kind == kinds.WAVEFORM:
        parts.append(value.samples.tobytes())
    else:
        attributes = value.attributes.encode("utf-8")
        parts += [struct.pack("<Q", len(attributes)), attributes, value.pixels.tobytes()]
    return b"".join(parts)


def close_message() -> bytes:
    """Return the message that ends a stream."""
    return struct.pack("<H", kinds.CLOSE)


def _serialised(item: Any) -> bytes:
    stream = io.BytesIO()

    def write(part: Any) -> None:
        stream.write(bytes(part) if isinstance(part, ctypes.Structure) else part)

    item.serialize_into(write)
    return stream.getvalue()
