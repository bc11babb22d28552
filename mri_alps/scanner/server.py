"""The MRD server: a TCP port, a thread or two per connection, processes for the work."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time

from mri_alps.errors import ConfigurationError
from mri_alps.scanner import protocol
from mri_alps.scanner.channel import SocketChannel
from mri_alps.scanner.runner import ERROR, log_line
from mri_alps.scanner.session import ScanSession, SessionOptions
from mri_alps.scanner.workers import Reconstructor

_LOG = logging.getLogger(__name__)
DEFAULT_PORT = 9002
_POLL_SECONDS = 0.5


class MrdServer:
    """Accepts connections and serves each in a thread of its own.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        0 for any free one; see `port`.
    reconstructor : Reconstructor
        Where the work is done.
    options : SessionOptions
        What all connections share.
    max_connections : int
        Connections beyond it are told to come again.
    grace_seconds : float
        What running scans have left when the server is stopped.

    Raises
    ------
    ConfigurationError
        If the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        reconstructor: Reconstructor,
        options: SessionOptions,
        max_connections: int = 64,
        grace_seconds: float = 30.0,
    ):
        self._reconstructor, self._options = reconstructor, options
        self._max_connections, self._grace = max_connections, grace_seconds
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
        self._deadline = now if self._stopping.is_set() else now + self._grace
        self._stopping.set()

    def serve(self) -> None:
        """Serve until `stop`; returns when every scan is finished, or saved and given up."""
        with self._listener:
            while not self._stopping.is_set():
                if select.select([self._listener], [], [], _POLL_SECONDS)[0]:
                    self._accept()
        for thread in list(self._threads):
            thread.join()

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError:  # gone again already, or out of descriptors for now
            time.sleep(0.05)
            return
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        channel = SocketChannel(connection, self._options.limits, self._stop_reason)
        is_full = len(self._threads) >= self._max_connections
        _LOG.info("connection from %s%s", address[0], " refused: too many" if is_full else "")
        work = self._refuse if is_full else self._serve_one
        thread = threading.Thread(
            target=work, args=(channel,), name="mri-alps connection", daemon=True
        )
        if not is_full:
            self._threads.add(thread)
        thread.start()

    def _serve_one(self, channel: SocketChannel) -> None:
        ScanSession(channel, self._reconstructor, self._options).run()

    def _refuse(self, channel: SocketChannel) -> None:
        text = log_line(
            ERROR,
            f"the server has {self._max_connections} connections already, which is its limit: "
            "come again later",
        )
        channel.offer(protocol.text_message(text) + protocol.close_message())
        channel.close()

    def _stop_reason(self) -> str | None:
        if time.monotonic() < self._deadline:
            return None
        return "the server shuts down: send the scan again later"
