"""One connection from its first byte to its close message.

Two threads: one receives, saves and spools, and is never kept waiting by the work; the other
reconstructs what is complete and sends replies.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from mri_alps.core.errors import MriAlpsError
from mri_alps.scanner import protocol
from mri_alps.scanner._admission import Admission, Seat
from mri_alps.scanner._runner import ERROR, INFO, WARNING, UnitRunner, log_line
from mri_alps.scanner._work import Cancelled
from mri_alps.scanner.channel import Channel, Stopped, Vanished
from mri_alps.scanner.limits import LimitExceeded
from mri_alps.scanner.receiver import Begin, End, Problem, Receiver, SessionOptions
from mri_alps.scanner.workers import Reconstructor, internal_error

if TYPE_CHECKING:
    import ismrmrd

_LOG = logging.getLogger(__name__)


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
    seat : Seat, optional
        The place of this connection among others; it has none beside it if left out.
    """

    def __init__(
        self,
        channel: Channel,
        reconstructor: Reconstructor,
        options: SessionOptions,
        seat: Seat | None = None,
    ):
        if seat is None:
            seat = Admission(1, options.folder is not None, float("inf")).admit("")
        self._channel, self._reconstructor, self._options = channel, reconstructor, options
        self._receiver = Receiver(channel, options, seat)
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
            self._send_log(ERROR, str(error))
        except Exception as error:  # noqa: BLE001 - the client is told
            _LOG.exception("%s: the session failed", self._receiver.name)
            self._send_log(ERROR, internal_error(error))
        finally:
            self._receiver.give_up()
            thread.join()
            saved = self._receiver.saved
            if saved is not None:
                self._send_log(INFO, f"the scan is saved as {saved.name}")
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
            if isinstance(item, End):
                break
            if isinstance(item, Problem):
                self._explain(item.error)
            elif isinstance(item, Begin):
                runner = UnitRunner(
                    item.intake,
                    self._reconstructor,
                    self._send_log,
                    self._send_image,
                    self._receiver.broken_reason,
                    self._options.limits.time_limit,
                )
                for note in item.intake.configuration.notes:
                    self._send_log(WARNING, note)
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
        self._send_log(ERROR, text)

    def _send_log(self, level: str, sentence: str) -> None:
        _LOG.log(getattr(logging, level), "%s: %s", self._receiver.name, sentence)
        self._n_errors += level == ERROR
        message = protocol.text_message(log_line(level, sentence))
        try:
            # Refusals wait for the client, progress does not.
            (self._channel.send if level == ERROR else self._channel.offer)(message)
        except (Vanished, Stopped):
            self._receiver.deafen()

    def _send_image(self, image: ismrmrd.Image) -> None:
        self._channel.send(protocol.image_message(image))
