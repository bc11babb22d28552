"""One connection from its first byte to its close message.

Two threads: one receives, saves and spools, and is never kept waiting by the work; the other
reconstructs what is complete and sends replies.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path

import ismrmrd

from mri_alps.errors import MriAlpsError
from mri_alps.rawdata.header import Header, parse_header
from mri_alps.scanner import protocol
from mri_alps.scanner.channel import Channel, Stopped, Vanished
from mri_alps.scanner.configuration import OnlineConfiguration, configure
from mri_alps.scanner.intake import Ready, ScanHeader, ScanIntake
from mri_alps.scanner.limits import GIB, LimitExceeded, Limits
from mri_alps.scanner.protocol import Message, MessageReader, ProtocolError
from mri_alps.scanner.runner import ERROR, INFO, WARNING, UnitRunner, log_line
from mri_alps.scanner.saving import RawSaver, scan_name
from mri_alps.scanner.work import Cancelled
from mri_alps.scanner.workers import Reconstructor, internal_error

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
# What ends the reading; a scan that merely cannot be reconstructed is received to its end, so
# that it is saved, and so that the refusal arrives.
_FATAL = (ProtocolError, LimitExceeded, Vanished, Stopped)


@dataclass(frozen=True)
class SessionOptions:
    """What all connections of a server share.

    Parameters
    ----------
    defaults : OnlineConfiguration
        Where the client says nothing else.
    limits : Limits
        Of each connection.
    save_raw : Path, optional
        Folder that keeps every scan.
    temporary : Path, optional
        Folder for the samples of scans that are worked on.
    """

    defaults: OnlineConfiguration = field(default_factory=OnlineConfiguration)
    limits: Limits = field(default_factory=Limits)
    save_raw: Path | None = None
    temporary: Path | None = None


@dataclass(frozen=True)
class _Begin:
    """The scan begins: header and configuration are there."""

    intake: ScanIntake


@dataclass(frozen=True)
class _Problem:
    """The scan cannot be reconstructed."""

    error: Exception


class _End:
    """Nothing more comes."""


class ScanSession:
    """Serves one connection.

    Parameters
    ----------
    channel : Channel
        The connection.
    reconstructor : Reconstructor
        Where the work is done.
    options : SessionOptions
        What all connections share.
    """

    def __init__(self, channel: Channel, reconstructor: Reconstructor, options: SessionOptions):
        self._channel, self._reconstructor, self._options = channel, reconstructor, options
        self._receiver = _Receiver(channel, options)
        self._n_errors = 0

    def run(self) -> bool:
        """Serve until the scan is done; a close message ends every connection that still lives.

        Returns
        -------
        bool
            True if nothing went wrong.
        """
        thread = threading.Thread(target=self._receiver.run, name="mri-alps receiver", daemon=True)
        thread.start()
        try:
            self._work()
        except Vanished as error:
            _LOG.info("%s: %s", self._receiver.name, error)
            self._n_errors += 1
        except (Stopped, Cancelled, LimitExceeded) as error:
            self._say(ERROR, str(error))
        except Exception as error:
            _LOG.exception("%s: the session failed", self._receiver.name)
            self._say(ERROR, internal_error(error))
        finally:
            self._receiver.give_up()
            thread.join()
            saved = self._receiver.saved
            if saved is not None:
                self._say(INFO, f"the scan is saved as {saved.name}")
            self._finish()
        return self._n_errors == 0

    def _finish(self) -> None:
        try:
            self._channel.send(protocol.close_message())
        except (Vanished, Stopped):
            pass
        finally:
            self._channel.close()
            self._receiver.clean_up()

    def _work(self) -> None:
        runner: UnitRunner | None = None
        while True:
            item = self._receiver.next()
            if isinstance(item, _End):
                break
            if isinstance(item, _Problem):
                self._explain(item.error)
            elif isinstance(item, _Begin):
                runner = UnitRunner(
                    item.intake,
                    self._reconstructor,
                    self._say,
                    self._send_image,
                    self._receiver.broken_reason,
                    self._options.limits.reconstruction_seconds,
                )
                for note in item.intake.configuration.notes:
                    self._say(WARNING, note)
            elif runner is not None:
                runner.run(item)
        if runner is not None and not self._receiver.is_refused:
            runner.summarise()

    def _explain(self, error: Exception) -> None:
        if isinstance(error, Vanished):
            raise error
        if not isinstance(error, MriAlpsError):
            _LOG.error("%s: receiving failed", self._receiver.name, exc_info=error)
        text = str(error) if isinstance(error, MriAlpsError) else internal_error(error)
        self._say(ERROR, text)

    def _say(self, level: str, sentence: str) -> None:
        _LOG.log(getattr(logging, level), "%s: %s", self._receiver.name, sentence)
        self._n_errors += level == ERROR
        message = protocol.text_message(log_line(level, sentence))
        try:
            # Refusals wait for the client, progress does not.
            (self._channel.send if level == ERROR else self._channel.offer)(message)
        except (Vanished, Stopped):
            self._receiver.is_deaf = True

    def _send_image(self, image: ismrmrd.Image) -> None:
        self._channel.send(protocol.image_message(image))


class _Receiver:
    """Reads the connection in a thread of its own."""

    def __init__(self, channel: Channel, options: SessionOptions):
        self._channel, self._options = channel, options
        self._reader = MessageReader(channel.read, options.limits)
        self._items: queue.Queue[_Begin | _Problem | _End | Ready] = queue.Queue()
        self._texts: list[str] = []
        self._header: bytes | None = None
        self._scan: ScanHeader | None = None
        self._intake: ScanIntake | None = None
        self._saver: RawSaver | None = None
        self._is_given_up = False
        self._n_bytes = 0
        self._broken: str | None = None
        self.name = scan_name()
        self.saved: Path | None = None
        self.is_refused = False
        self.is_deaf = False

    def next(self) -> _Begin | _Problem | _End | Ready:
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
                for ready in self._intake.finish():
                    self._items.put(ready)
        except Exception as error:
            self._broken = self._broken or (str(error) if isinstance(error, _FATAL) else None)
            self._refuse(error)
        finally:
            self._finish_saving(is_complete)
            self._items.put(_End())

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
            except Exception as error:
                self._refuse(error)
            if self._is_given_up and self._saver is None:
                return False

    def _refuse(self, error: Exception) -> None:
        if not self.is_refused:
            self.is_refused = True
            self._items.put(_Problem(error))

    def _take(self, message: Message) -> None:
        if message.kind in (protocol.CONFIG_FILE, protocol.CONFIG_TEXT, protocol.TEXT):
            self._take_text(message)
        elif message.kind == protocol.HEADER:
            self._take_header(message.value)
        elif message.kind == protocol.ACQUISITION:
            self._take_acquisition(message.value)

    def _take_text(self, message: Message) -> None:
        if self._intake is not None:
            return  # the scan runs already
        if message.kind == protocol.TEXT and not message.value.startswith("{"):
            return  # a remark, not a configuration
        self._texts.append(message.value)
        if self._saver is not None:
            self._save(lambda saver: saver.write_configuration("\n".join(self._texts)))

    def _take_header(self, text: bytes) -> None:
        if self._header is not None:
            raise ProtocolError(
                "a second header came within one scan: open a connection for each scan"
            )
        self._header = text
        self._name_scan(text)
        if self._options.save_raw is not None:
            self._start_saving(text)
        self._scan = ScanHeader.parse(text, Path(self.name))

    def _name_scan(self, text: bytes) -> None:
        try:
            header: Header | None = parse_header(text, Path(self.name))
        except MriAlpsError:
            header = None
        if header is not None:
            self.name = scan_name(str(header.facts.get("protocol", "")))

    def _take_acquisition(self, acquisition: protocol.ReceivedAcquisition) -> None:
        if self._header is None:
            raise ProtocolError("an acquisition came before the header: send the header first")
        self._count_bytes(acquisition)
        self._save(lambda saver: saver.add(acquisition))
        if self._saver is not None and self._channel.is_quiet():
            self._save(lambda saver: saver.flush())
        if self.is_refused or self._scan is None:
            return
        if self._intake is None:
            configuration = configure(self._texts, self._options.defaults)
            self._intake = ScanIntake(
                self._scan, configuration, self._options.limits, self._options.temporary
            )
            self._items.put(_Begin(self._intake))
        for ready in self._intake.add(acquisition):
            self._save(lambda saver: saver.flush())
            self._items.put(ready)

    def _count_bytes(self, acquisition: protocol.ReceivedAcquisition) -> None:
        """Limit what is read even if it is not spooled any more."""
        self._n_bytes += acquisition.samples.nbytes + acquisition.trajectory.nbytes
        if self._n_bytes > self._options.limits.scan_bytes:
            raise LimitExceeded(
                f"{self.name} is longer than {self._options.limits.scan_bytes / GIB:.3g} GiB: send "
                "it in parts, or start the server with a higher --scan-limit"
            )

    def _start_saving(self, header: bytes) -> None:
        assert self._options.save_raw is not None
        try:
            self._saver = RawSaver(self._options.save_raw, self.name)
            self._saver.write_header(header)
            self._saver.write_configuration("\n".join(self._texts))
        except MriAlpsError as error:
            self._stop_saving(error)

    def _save(self, step) -> None:  # type: ignore[no-untyped-def]
        if self._saver is not None:
            try:
                step(self._saver)
            except MriAlpsError as error:
                self._stop_saving(error)

    def _stop_saving(self, error: MriAlpsError) -> None:
        """Go on without: what can still be had is the image."""
        self._items.put(_Problem(error))
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
            self._items.put(_Problem(error))
