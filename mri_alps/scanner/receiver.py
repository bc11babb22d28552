"""The receiving half of a connection: reads, saves and spools, and never waits for the work."""

from __future__ import annotations

import logging
import queue
from dataclasses import dataclass, field
from pathlib import Path

from mri_alps.core.errors import MriAlpsError
from mri_alps.rawdata import Header, parse_header
from mri_alps.scanner import _kinds as kinds
from mri_alps.scanner import protocol
from mri_alps.scanner._admission import Place, Seat
from mri_alps.scanner._intake import Due, ScanHeader, ScanIntake
from mri_alps.scanner._saving import RawSaver, scan_name
from mri_alps.scanner.channel import Channel, Stopped, Vanished
from mri_alps.scanner.configuration import OnlineConfiguration, configure
from mri_alps.scanner.limits import LimitExceeded
from mri_alps.scanner.protocol import Message, MessageReader, ProtocolError
from mri_alps.scanner.settings import Limits, ServerSettings

_LOG = logging.getLogger(__name__)
# What ends the reading; a scan that merely cannot be reconstructed is received to its end, so
# that it is saved, and so that the refusal arrives.
_FATAL = (ProtocolError, LimitExceeded, Vanished, Stopped)


class OnlySaved(MriAlpsError):
    """A scan is not reconstructed, as all places for that are taken."""


@dataclass(frozen=True)
class SessionOptions:
    """What all connections of a server share.

    Parameters
    ----------
    defaults : OnlineConfiguration
        Where the client says nothing else.
    limits : Limits
        Of each connection.
    server : ServerSettings
        Of all together.
    temporary : Path, optional
        Folder for the samples of scans that are worked on.
    """

    defaults: OnlineConfiguration = field(default_factory=OnlineConfiguration)
    limits: Limits = field(default_factory=Limits)
    server: ServerSettings = field(default_factory=ServerSettings)
    temporary: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Where scans are kept."""
        return self.server.folder


@dataclass(frozen=True)
class Begin:
    """The scan begins: header and configuration are there."""

    intake: ScanIntake


@dataclass(frozen=True)
class Problem:
    """The scan cannot be reconstructed."""

    error: Exception


class End:
    """Nothing more comes."""


class Receiver:
    """Reads a connection; `run` in a thread of its own.

    Parameters
    ----------
    channel : Channel
        The connection.
    options : SessionOptions
        What all connections share.
    seat : Seat
        Its place among them.

    Attributes
    ----------
    name : str
        What the scan is called.
    saved : Path or None
        Where it was saved.
    is_refused : bool
        Whether it cannot be reconstructed.
    is_deaf : bool
        Set from outside when the client takes no replies.
    """

    def __init__(self, channel: Channel, options: SessionOptions, seat: Seat):
        self._channel, self._options, self._seat = channel, options, seat
        skipped = () if options.folder is not None else (kinds.IMAGE, kinds.WAVEFORM)
        self._reader = MessageReader(channel.read, options.limits, skipped)
        self._items: queue.Queue[Begin | Problem | End | Due] = queue.Queue()
        self._texts: list[Message] = []
        self._header: bytes | None = None
        self._scan: ScanHeader | None = None
        self._intake: ScanIntake | None = None
        self._saver: RawSaver | None = None
        self._has_begun = self._is_given_up = False
        self._broken: str | None = None
        self.name = scan_name()
        self.saved: Path | None = None
        self.is_refused = False
        self.is_deaf = False

    def next(self) -> Begin | Problem | End | Due:
        """Return what comes next; waits for it."""
        return self._items.get()

    def broken_reason(self) -> str | None:
        """Return why nobody waits for images any more, or None."""
        if self.is_deaf:
            return "the client takes no replies"
        return self._broken or self._channel.stop_reason()

    def give_up(self) -> None:
        """Let `run` end soon, unless it saves a scan."""
        self._is_given_up = True
        if self._saver is None:
            self._channel.abort()

    def clean_up(self) -> None:
        """Delete what was temporary."""
        if self._intake is not None:
            self._intake.__exit__()

    def run(self) -> None:
        """Receive everything."""
        is_complete = False
        try:
            is_complete = self._receive()
            if is_complete and self._intake is not None and not self.is_refused:
                for due in self._intake.finish():
                    self._items.put(due)
        except Exception as error:  # noqa: BLE001 - the client is told
            self._broken = self._broken or (str(error) if isinstance(error, _FATAL) else None)
            self._refuse(error)
        finally:
            try:
                self._finish_saving(is_complete)
            finally:
                self._items.put(End())

    def _receive(self) -> bool:
        """Return whether the close message came."""
        while True:
            message = self._reader.next()
            if message is None:
                if self._header is None:
                    return False
                if self._intake is not None and self._intake.is_over:
                    return True
                raise Vanished("the connection ended without a close message")
            if message.kind == protocol.CLOSE:
                return True
            try:
                self._take(message)
            except _FATAL:
                raise
            except Exception as error:  # noqa: BLE001 - the client is told
                self._refuse(error)
            if self._is_given_up and self._saver is None:
                return False

    def _refuse(self, error: Exception) -> None:
        if not self.is_refused:
            self.is_refused = True
            self._items.put(Problem(error))

    def _take(self, message: Message) -> None:
        if message.kind == kinds.HEADER:
            self._take_header(message.value)
        elif message.kind in kinds.DATA:
            self._take_data(message)
        elif not self._has_begun and (message.kind != kinds.TEXT or message.value.startswith("{")):
            self._texts.append(message)  # other texts are remarks; later ones come too late

    def _take_header(self, text: bytes) -> None:
        self._header = text
        self._seat.has_header = True
        self._name_scan(text)
        self._scan = ScanHeader.parse(text, Path(self.name))

    def _name_scan(self, text: bytes) -> None:
        try:
            header: Header | None = parse_header(text, Path(self.name))
        except MriAlpsError:
            header = None
        if header is not None:
            self.name = scan_name(str(header.parameters.get("protocol", "")))

    def _take_data(self, message: Message) -> None:
        if self._header is None:
            raise ProtocolError(
                f"{kinds.NAMES[message.kind]} data came before the header: send the header first"
            )
        if not self._has_begun:
            self._begin(self._header)
        self._save(message)
        if message.kind != kinds.ACQUISITION or self.is_refused or self._scan is None:
            return
        if self._intake is None:
            texts = [text.value for text in self._texts]
            configuration = configure(texts, self._options.defaults)
            self._intake = ScanIntake(
                self._scan, configuration, self._options.limits, self._options.temporary
            )
            self._items.put(Begin(self._intake))
        for due in self._intake.add(message.value):
            self._items.put(due)

    def _begin(self, header: bytes) -> None:
        """Find a place for the scan, and a file: what was sent so far is written there once."""
        place = self._seat.begin()
        self._has_begun = True
        if self._options.folder is not None:
            parts = [protocol.text_message(text.value, kinds.CONFIG_TEXT) for text in self._texts]
            parts.append(protocol.header_message(header))
            try:
                self._saver = RawSaver(self._options.folder, self.name, b"".join(parts))
            except MriAlpsError as error:
                self._stop_saving(error)
        if place is Place.SAVING and self._saver is not None:
            self._refuse(
                OnlySaved(
                    "all places for reconstructions are taken: the scan is only saved, as "
                    f"{self.name}.h5; run mri-alps reconstruct on it, or send it again later"
                )
            )
        elif place is Place.SAVING:
            raise LimitExceeded("all places for reconstructions are taken: come again later")

    def _save(self, message: Message) -> None:
        if self._saver is None:
            return
        try:
            self._saver.add(message)
            if self._channel.is_quiet():
                self._saver.flush()
        except MriAlpsError as error:
            self._stop_saving(error)

    def _stop_saving(self, error: MriAlpsError) -> None:
        """Go on without: what can still be had is the image."""
        self._items.put(Problem(error))
        saver, self._saver = self._saver, None
        if saver is not None:
            try:
                self.saved = saver.finish(is_complete=False)
            except MriAlpsError:
                _LOG.exception("%s: closing the saved scan failed", self.name)

    def _finish_saving(self, is_complete: bool) -> None:
        if self._saver is None:
            return
        saver, self._saver = self._saver, None
        try:
            self.saved = saver.finish(is_complete)
        except MriAlpsError as error:
            self._items.put(Problem(error))
