"""A client: streams an ISMRMRD file to an MRD server and takes the images."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import ismrmrd
import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import InputFileError, MriAlpsError
from mri_alps.core.hdf5 import open_hdf5
from mri_alps.rawdata.ismrmrd import find_groups, kinds
from mri_alps.scanner import protocol
from mri_alps.scanner._sent_part import SentPart, open_part
from mri_alps.scanner.limits import QUOTAS
from mri_alps.scanner.protocol import MessageReader, ProtocolError
from mri_alps.scanner.settings import GIB, Limits, Quota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK_LINES = 32
# A client trusts its server with every image that it asked for.
_LIMITS = Limits(scan_limit=math.inf, quotas={**QUOTAS, kinds.IMAGE: Quota(10**6, GIB, 2**63)})


class ServerError(MriAlpsError):
    """The server cannot be reached, or refused."""


class SendProgress(Protocol):
    """Is told how far sending and receiving are."""

    def sent(self, done: int, total: int) -> None:
        """`done` of `total` acquisitions are sent."""

    def said(self, text: str) -> None:
        """The server says something."""

    def received(self, image: ismrmrd.Image) -> None:
        """An image came."""


@dataclass
class Reply:
    """What a server answered.

    Parameters
    ----------
    images : dict
        Images by series, in the order in which they came; a later image of the same index
        takes the place of an earlier one.
    texts : list of str
        What the server said.
    is_closed : bool
        Whether it ended with a close message.
    """

    images: dict[int, dict[tuple[int, ...], ismrmrd.Image]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    is_closed: bool = False

    @property
    def errors(self) -> list[str]:
        """What went wrong, in the server's words."""
        return [t.partition(" ")[2].strip() for t in self.texts if t.startswith("ERROR")]

    def add(self, image: ismrmrd.Image) -> None:
        """Take an image."""
        counters = ("slice", "repetition", "contrast", "phase", "set", "average", "image_index")
        key = tuple(int(getattr(image, name)) for name in counters)
        self.images.setdefault(int(image.image_series_index), {})[key] = image


def send_scan(
    file: Path,
    host: str,
    port: int,
    config: str = "mri_alps",
    progress: SendProgress | None = None,
    limits: Limits | None = None,
    timeout: float | None = None,
    part: SentPart | None = None,
) -> Reply:
    """Stream an ISMRMRD file to a server and wait for its answer.

    Parameters
    ----------
    file : Path
        The scan.
    host, port : str, int
        The server.
    config : str
        Name of the configuration, or JSON.
    progress : SendProgress, optional
        Is told how it goes; called from two threads.
    limits : Limits, optional
        How long the server's messages may be.
    timeout : float, optional
        Seconds without a sign of life after which the server is given up.
    part : SentPart, optional
        Which part of the file; all of its first measurement if left out.

    Raises
    ------
    InputFileError
        If the file is none.
    ServerError
        If the server cannot be reached.
    """
    part = part or SentPart()
    header, lines = open_part(file, part)
    try:
        connection = socket.create_connection((host, port), timeout=10.0)
    except OSError as error:
        raise ServerError(
            f"no server at {host} port {port} ({error}): start one with mri-alps serve, or check "
            "--host and --port"
        ) from error
    with connection:
        connection.settimeout(timeout)
        sender = _Sender(connection, file, header, config, lines, part, progress)
        sender.start()
        reply = receive(lambda count: connection.recv(count), progress, limits or _LIMITS)
        with contextlib.suppress(OSError):  # the server is done: so is sending
            connection.shutdown(socket.SHUT_RDWR)
        sender.join()
    if isinstance(sender.error, MriAlpsError):
        raise sender.error
    return reply


def receive(read: Callable[[int], bytes], progress: SendProgress | None, limits: Limits) -> Reply:
    """Receive what a server answers, up to its close message.

    Parameters
    ----------
    read : callable
        read(n) returns 1 to n bytes, none at the end.
    progress : SendProgress, optional
        Is told how it goes.
    limits : Limits
        How long messages may be.

    Raises
    ------
    ProtocolError
        If the server's answer is damaged.
    """
    reply = Reply()
    reader = MessageReader(read, limits)
    while True:
        try:
            message = reader.next()
        except OSError:
            return reply
        if message is None:
            return reply
        if message.kind == kinds.CLOSE:
            reply.is_closed = True
            return reply
        if message.kind == kinds.TEXT:
            reply.texts.append(message.value)
            if progress:
                progress.said(message.value)
        elif message.kind == kinds.IMAGE:
            image = protocol.as_image(message.value)
            reply.add(image)
            if progress:
                progress.received(image)


class _Sender(threading.Thread):
    """Sends in a thread of its own, so that neither side can block the other."""

    def __init__(
        self,
        connection: socket.socket,
        file: Path,
        header: bytes,
        config: str,
        lines: np.ndarray,
        part: SentPart,
        progress: SendProgress | None,
    ):
        super().__init__(name="mri-alps sender", daemon=True)
        self._connection, self._file, self._header = connection, file, header
        self._config, self._lines, self._part = config, lines, part
        self._progress = progress
        self.error: Exception | None = None

    def run(self) -> None:
        """Send everything."""
        try:
            for message in scan_messages(
                self._file, self._header, self._config, self._lines, self._part, self._tell
            ):
                self._connection.sendall(message)
        except (OSError, MriAlpsError) as error:
            # The server may have said why before it closed: what it said counts.
            self.error = error
            if isinstance(error, MriAlpsError):
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)

    def _tell(self, done: int) -> None:
        if self._progress:
            self._progress.sent(done, len(self._lines))


def scan_messages(
    file: Path,
    header: bytes,
    config: str,
    lines: np.ndarray,
    part: SentPart,
    report_count: Callable[[int], None] = lambda _: None,
) -> Iterator[bytes]:
    """Yield a scan as MRD messages: configuration, header, acquisitions, close.

    Parameters
    ----------
    file : Path
        An ISMRMRD file.
    header : bytes
        Its XML header.
    config : str
        A name, or JSON.
    lines : np.ndarray
        Int, which acquisitions.
    part : SentPart
        Of the file.
    report_count : callable
        Called with the number of acquisitions so far.
    """
    if config.lstrip().startswith("{"):
        yield protocol.text_message(config, kinds.CONFIG_TEXT)
    else:
        yield protocol.config_file_message(config)
    yield protocol.header_message(header)
    with open_hdf5(file) as opened:
        data = opened[part.dataset or find_groups(opened)[0]]["data"]
        for start in range(0, len(lines), _CHUNK_LINES):
            rows = data[lines[start : start + _CHUNK_LINES]]
            heads = _as_wire(rows["head"], file)
            if part.encoding is not None:
                heads["encoding_space_ref"] = 0  # the only one that is sent
            yield b"".join(
                struct.pack("<H", kinds.ACQUISITION)
                + head.tobytes()
                + np.asarray(trajectory, np.float32).tobytes()
                + np.asarray(samples, np.float32).tobytes()
                for head, trajectory, samples in zip(heads, rows["traj"], rows["data"], strict=True)
            )
            report_count(start + len(rows))
    yield protocol.close_message()


def _as_wire(heads: np.ndarray, file: Path) -> np.ndarray:
    """Return headers as they go over the wire: files may hold them with other padding."""
    wire = np.zeros(len(heads), acquisition_header_dtype)
    try:
        for name in acquisition_header_dtype.names or ():
            if name == "idx":
                for counter in acquisition_header_dtype["idx"].names or ():
                    wire["idx"][counter] = heads["idx"][counter]
            else:
                wire[name] = heads[name]
    except ValueError as error:
        raise InputFileError(
            f"{file}: the acquisition headers are not those of ISMRMRD ({error}): convert the scan "
            "with a current ISMRMRD converter"
        ) from error
    return wire


def save_images(reply: Reply, output: Path) -> list[str]:
    """Save images in the ISMRMRD layout: a group ``image_<series>`` per series.

    Parameters
    ----------
    reply : Reply
        What came.
    output : Path
        HDF5 file, replaced if it exists; it appears whole or not at all.

    Returns
    -------
    list of str
        A line about each series.

    Raises
    ------
    ProtocolError
        If images of one series have different shapes.
    """
    lines = []
    with atomic_path(output) as temporary:
        temporary.unlink()  # the ismrmrd package refuses an empty file
        with ismrmrd.Dataset(str(temporary), "dataset") as dataset:
            for series in sorted(reply.images):
                images = [image for _, image in sorted(reply.images[series].items())]
                shapes = {image.data.shape for image in images}
                if len(shapes) > 1:
                    raise ProtocolError(
                        f"the images of series {series} have the shapes {sorted(shapes)}, all "
                        "must have the same: send the scan's parts one by one"
                    )
                for image in images:
                    dataset.append_image(f"image_{series}", image)
                name = images[0].meta.get("SequenceDescriptionAdditional", "")
                shape = " x ".join(str(size) for size in images[0].data.shape[1:] if size > 1)
                lines.append(f"series {series} {name}: {len(images)} images of {shape}".strip())
    return lines


def read_images(path: Path, series: int) -> np.ndarray:
    """Read the images of one series that `save_images` wrote.

    Parameters
    ----------
    path : Path
        The file.
    series : int
        Its number.

    Returns
    -------
    numpy.ndarray
        (images, channel, z, y, x).
    """
    with open_hdf5(path) as file:
        return file[f"dataset/image_{series}/data"][()]
