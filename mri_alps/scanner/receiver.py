"""The receiving half of a connection: reads, saves and spools, and never waits for the work."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mri_alps.core.errors import MriAlpsError
from mri_alps.rawdata import Header, parse_header
from mri_alps.rawdata.ismrmrd import kinds
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


@dataclass(frozen=True)
class IncomingScan:
    """What is known of the scan: each message that says more gives another one.

    Attributes
    ----------
    name : str
        What it is called.
    header : bytes or None
        As it was sent.
    scan : ScanHeader or None
        What that says, once it is found to be readable.
    texts : tuple of Message
        Configurations that came before the data.
    has_begun : bool
        Whether data came.
    """

    name: str
    header: bytes | None = None
    scan: ScanHeader | None = None
    texts: tuple[Message, ...] = ()
    has_begun: bool = False

    def with_header(self, text: bytes) -> IncomingScan:
        """Name the scan after its protocol; what the header says is read by `parsed`."""
        try:
            header: Header | None = parse_header(text, Path(self.name))
        except MriAlpsError:
            header = None
        if header is None:
            return replace(self, header=text)
        return replace(
            self, header=text, name=scan_name(str(header.parameters.get("protocol", "")))
        )

    def parsed(self) -> IncomingScan:
        """Return it with what its header says, or raise why that cannot be read."""
        assert self.header is not None
        return replace(self, scan=ScanHeader.parse(self.header, Path(self.name)))

    def with_text(self, message: Message) -> IncomingScan:
        """Return it with a configuration; other texts are remarks, and later ones come too late."""
        if self.has_begun or (message.kind == kinds.TEXT and not message.value.startswith("{")):
            return self
        return replace(self, texts=(*self.texts, message))

    def begun(self) -> IncomingScan:
        """Return it with data."""
        return replace(self, has_begun=True)


class Saving:
    """Takes each message to a file; where that fails it says so, and the scan goes on without.

    Parameters
    ----------
    report : callable
        Told of what goes wrong.
    """

    def __init__(self, report: Callable[[Exception], None]):
        self._report = report
        self._saver: RawSaver | None = None
        self.saved: Path | None = None

    @property
    def is_active(self) -> bool:
        """Whether a file is being written."""
        return self._saver is not None

    def begin(self, folder: Path, scan: IncomingScan) -> None:
        """Write what was sent before the data."""
        assert scan.header is not None
        parts = [protocol.text_message(text.value, kinds.CONFIG_TEXT) for text in scan.texts]
        parts.append(protocol.header_message(scan.header))
        try:
            self._saver = RawSaver(folder, scan.name, b"".join(parts))
        except MriAlpsError as error:
            self._report(error)

    def take(self, message: Message, is_quiet: Callable[[], bool]) -> None:
        """Write a message; to disk at once where no other waits."""
        if self._saver is None:
            return
        try:
            self._saver.add(message)
            if is_quiet():
                self._saver.flush()
        except MriAlpsError as error:
            self._report(error)
            self._close(False, _log_failure)

    def finish(self, is_complete: bool) -> None:
        """Close the file."""
        if self._saver is not None:
            self._close(is_complete, self._report)

    def _close(self, is_complete: bool, on_error: Callable[[Exception], None]) -> None:
        saver, self._saver = self._saver, None
        assert saver is not None
        try:
            self.saved = saver.finish(is_complete)
        except MriAlpsError as error:
            on_error(error)


def _log_failure(_: Exception) -> None:
    _LOG.exception("closing a saved scan failed")


class Reconstructing:
    """Takes each acquisition to the slice that it belongs to, and passes on what is complete.

    Parameters
    ----------
    options : SessionOptions
        What all connections share.
    put : callable
        Told what is due.
    """

    def __init__(self, options: SessionOptions, put: Callable[[Begin | Due], None]):
        self._options, self._put = options, put
        self._intake: ScanIntake | None = None

    @property
    def is_over(self) -> bool:
        """Whether all of the scan is there."""
        return self._intake is not None and self._intake.is_over

    def take(self, message: Message, scan: IncomingScan) -> None:
        """Add an acquisition; the first one begins the scan."""
        if message.kind != kinds.ACQUISITION or scan.scan is None:
            return
        if self._intake is None:
            texts = [text.value for text in scan.texts]
            configuration = configure(texts, self._options.defaults)
            limits, temporary = self._options.limits, self._options.temporary
            self._intake = ScanIntake(scan.scan, configuration, limits, temporary)
            self._put(Begin(self._intake))
        for due in self._intake.add(message.value):
            self._put(due)

    def finish(self) -> None:
        """Pass on what is left."""
        if self._intake is not None:
            for due in self._intake.finish():
                self._put(due)

    def clean_up(self) -> None:
        """Delete what was temporary."""
        if self._intake is not None:
            self._intake.__exit__()


class Receiver:
    """Reads a connection; `run` in a thread of its own.

    Its state is an `IncomingScan`, replaced as a whole; saving and reconstruction each see every
    message of data. What another thread sets or reads are events, and the reason why it broke.

    Parameters
    ----------
    channel : Channel
        The connection.
    options : SessionOptions
        What all connections share.
    seat : Seat
        Its place among them.
    """

    def __init__(self, channel: Channel, options: SessionOptions, seat: Seat):
        self._channel, self._options, self._seat = channel, options, seat
        skipped = () if options.folder is not None else (kinds.IMAGE, kinds.WAVEFORM)
        self._reader = MessageReader(channel.read, options.limits, skipped)
        self._items: queue.Queue[Begin | Problem | End | Due] = queue.Queue()
        self._scan = IncomingScan(scan_name())
        self._saving = Saving(lambda error: self._items.put(Problem(error)))
        self._reconstructing = Reconstructing(options, self._items.put)
        self._refused, self._given_up, self._deaf = (threading.Event() for _ in range(3))
        self._broken: str | None = None

    @property
    def name(self) -> str:
        """What the scan is called."""
        return self._scan.name

    @property
    def saved(self) -> Path | None:
        """Where it was saved."""
        return self._saving.saved

    @property
    def is_refused(self) -> bool:
        """Whether it cannot be reconstructed."""
        return self._refused.is_set()

    def next(self) -> Begin | Problem | End | Due:
        """Return what comes next; waits for it."""
        return self._items.get()

    def deafen(self) -> None:
        """Take note that the client takes no replies."""
        self._deaf.set()

    def broken_reason(self) -> str | None:
        """Return why nobody waits for images any more, or None."""
        if self._deaf.is_set():
            return "the client takes no replies"
        return self._broken or self._channel.stop_reason()

    def give_up(self) -> None:
        """Let `run` end soon, unless it saves a scan."""
        self._given_up.set()
        if not self._saving.is_active:
            self._channel.abort()

    def clean_up(self) -> None:
        """Delete what was temporary."""
        self._reconstructing.clean_up()

    def run(self) -> None:
        """Receive everything."""
        is_complete = False
        try:
            is_complete = self._receive()
            if is_complete and not self.is_refused:
                self._reconstructing.finish()
        except Exception as error:  # noqa: BLE001 - the client is told
            self._broken = self._broken or (str(error) if isinstance(error, _FATAL) else None)
            self._refuse(error)
        finally:
            try:
                self._saving.finish(is_complete)
            finally:
                self._items.put(End())

    def _receive(self) -> bool:
        """Return whether the close message came."""
        while True:
            message = self._reader.next()
            if message is None:
                if self._scan.header is None:
                    return False
                if self._reconstructing.is_over:
                    return True
                raise Vanished("the connection ended without a close message")
            if message.kind == kinds.CLOSE:
                return True
            try:
                self._take(message)
            except _FATAL:
                raise
            except Exception as error:  # noqa: BLE001 - the client is told
                self._refuse(error)
            if self._given_up.is_set() and not self._saving.is_active:
                return False

    def _refuse(self, error: Exception) -> None:
        if not self.is_refused:
            self._refused.set()
            self._items.put(Problem(error))

    def _take(self, message: Message) -> None:
        if message.kind == kinds.HEADER:
            self._scan = self._scan.with_header(message.value)
            self._seat.has_header = True
            self._scan = self._scan.parsed()
        elif message.kind in kinds.DATA:
            self._take_data(message)
        else:
            self._scan = self._scan.with_text(message)

    def _take_data(self, message: Message) -> None:
        if self._scan.header is None:
            raise ProtocolError(
                f"{kinds.NAMES[message.kind]} data came before the header: send the header first"
            )
        if not self._scan.has_begun:
            self._begin()
        self._saving.take(message, self._channel.is_quiet)
        if not self.is_refused:
            self._reconstructing.take(message, self._scan)

    def _begin(self) -> None:
        """Find a place for the scan, and a file."""
        place = self._seat.begin()
        self._scan = self._scan.begun()
        if self._options.folder is not None:
            self._saving.begin(self._options.folder, self._scan)
        if place is Place.SAVING and self._saving.is_active:
            self._refuse(
                OnlySaved(
                    "all places for reconstructions are taken: the scan is only saved, as "
                    f"{self.name}.h5; run mri-alps reconstruct on it, or send it again later"
                )
            )
        elif place is Place.SAVING:
            raise LimitExceeded("all places for reconstructions are taken: come again later")
