"""The MRD server: a TCP port, a thread or two per connection, processes for the work."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from mri_alps.core.errors import ConfigurationError
from mri_alps.scanner._admission import Admission, Seat
from mri_alps.scanner._saving import recover_scans
from mri_alps.scanner.channel import SocketChannel
from mri_alps.scanner.session import ScanSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from mri_alps.scanner.receiver import SessionOptions
    from mri_alps.scanner.workers import Reconstructor

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.5


class MrdServer:
    """Accepts connections and serves each in a thread of its own.

    Parameters
    ----------
    reconstructor : Reconstructor
        Where the work is done.
    options : SessionOptions
        What all connections share.

    Raises
    ------
    ConfigurationError
        If the address cannot be listened on.
    """

    def __init__(self, reconstructor: Reconstructor, options: SessionOptions):
        self._reconstructor, self._options = reconstructor, options
        saves, host, port = options.folder is not None, options.server.host, options.server.port
        n_places = options.server.max_connections
        self._admission = Admission(n_places, saves, options.limits.header_limit)
        self._max_threads = 4 * n_places
        self._threads: set[threading.Thread] = set()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._listener = socket.create_server((host, port), family=family, backlog=128)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"cannot listen on {host} port {port} ({error}): choose another --port or --host, "
                "or end the server that holds it"
            ) from error

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listener.getsockname()[1])

    def stop(self) -> None:
        """Take no new connections; running scans may finish within the grace period.

        A second call ends that period.
        """
        now = time.monotonic()
        self._deadline = now if self._stopping.is_set() else now + self._options.server.grace
        self._stopping.set()

    def serve(self) -> None:
        """Serve until `stop`; returns when every scan is finished, or saved and given up.

        Scans that a killed server left in the folder of saved scans become files meanwhile.
        """
        folder = self._options.folder
        if folder is not None and folder.is_dir():
            self._start(recover_scans, folder)
        with self._listener:
            while not self._stopping.is_set():
                if select.select([self._listener], [], [], _POLL_SECONDS)[0]:
                    self._accept()
        for thread in list(self._threads):
            thread.join()

    def _accept(self) -> None:
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        if len(self._threads) >= self._max_threads:  # those that lost their places are leaving
            time.sleep(0.05)
            return
        try:
            connection, address = self._listener.accept()
        except OSError:  # gone again already, or out of descriptors for now
            time.sleep(0.05)
            return
        _LOG.info("connection from %s", address[0])
        seat = self._admission.admit(str(address[0]))
        channel = SocketChannel(
            connection,
            self._options.limits,
            lambda: seat.stop_reason() or self._stop_reason(),
        )
        self._start(self._serve_one, channel, seat)

    def _start(self, work: Callable[..., Any], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name="mri-alps work", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve_one(self, channel: SocketChannel, seat: Seat) -> None:
        try:
            ScanSession(channel, self._reconstructor, self._options, seat).run()
        finally:
            seat.leave()

    def _stop_reason(self) -> str | None:
        if time.monotonic() < self._deadline:
            return None
        return "the server shuts down: send the scan again later"
