"""Bytes in and out of a connection: a socket, or a pair of files such as stdin and stdout."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Protocol

from mri_alps.core.errors import MriAlpsError
from mri_alps.scanner.limits import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from mri_alps.scanner.settings import Limits

_POLL_SECONDS = 0.2
_LINGER_SECONDS = 2.0
_MAX_BACKLOG = 2**16


class Vanished(MriAlpsError):
    """The other side is gone, or takes nothing any more."""


class Stopped(MriAlpsError):
    """The server shuts down."""


class Channel(Protocol):
    """A connection to a client; reading and writing may go on in two threads."""

    def read(self, count: int) -> bytes:
        """Return 1 to `count` bytes, or none at the end of the stream."""

    def is_quiet(self) -> bool:
        """Whether nothing has come that was not read."""

    def send(self, data: bytes) -> None:
        """Send all of it."""

    def offer(self, data: bytes) -> None:
        """Send it if the other side takes it, without waiting; a log message is not worth more."""

    def stop_reason(self) -> str | None:
        """Return why the server wants to end the connection, or None."""

    def abort(self) -> None:
        """Let a waiting `read` return."""

    def close(self) -> None:
        """End the connection."""


class SocketChannel:
    """A TCP connection.

    Neither side can block the other: a client that sends without reading is read, one that
    reads without sending is sent to.

    Parameters
    ----------
    connection : socket.socket
        Connected.
    limits : Limits
        For the idle time and the time that a reply may take.
    stop_reason : callable
        Returns why to stop, or None.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        connection: socket.socket,
        limits: Limits,
        stop_reason: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._socket, self._limits, self.stop_reason = connection, limits, stop_reason
        self._clock = clock
        connection.setblocking(False)
        self._received = clock()
        self._backlog = b""
        self._sending = threading.Lock()
        self._is_aborted = self._is_closed = False

    def read(self, count: int) -> bytes:
        """Return 1 to `count` bytes, or none at the end of the stream.

        Raises
        ------
        LimitExceeded
            If nothing comes for too long.
        Vanished
            If the connection breaks.
        Stopped
            If the server shuts down.
        """
        started = self._clock()
        while not self._is_aborted:
            self._raise_if_stopped()  # whoever sends drop by drop is stopped as well
            if self._is_ready(read=True):
                try:
                    data = self._socket.recv(count)
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise Vanished(f"the connection broke ({error})") from error
                self._received = self._clock()
                return data
            if self._clock() - started > self._limits.idle_limit:
                raise LimitExceeded(
                    f"nothing came for {self._limits.idle_limit:g} s although the scan was not "
                    "closed: send the close message, or start the server with a higher --idle-limit"
                )
        return b""

    def is_quiet(self) -> bool:
        """Whether nothing has come that was not read."""
        return not self._is_ready(read=True, seconds=0.0)

    def send(self, data: bytes) -> None:
        """Send all of it, waiting for the client to take it.

        Raises
        ------
        Vanished
            If the client is gone, or neither takes nor sends anything for too long.
        Stopped
            If the server shuts down.
        """
        with self._sending:
            view = memoryview(self._backlog + data)
            self._backlog = b""
            moved = self._clock()
            while view:
                count = self._push(view, _POLL_SECONDS)
                view = view[count:]
                if count:
                    moved = self._clock()
                    continue
                self._raise_if_stopped()
                if self._clock() - max(moved, self._received) > self._limits.send_limit:
                    raise Vanished(f"the client took no reply for {self._limits.send_limit:g} s")

    def offer(self, data: bytes) -> None:
        """Send it if the client takes it, without waiting; drop it otherwise.

        Raises
        ------
        Vanished
            If the client is gone.
        """
        with self._sending:
            if len(self._backlog) < _MAX_BACKLOG:
                self._backlog += data
            self._backlog = self._backlog[self._push(memoryview(self._backlog), 0.0) :]

    def abort(self) -> None:
        """Let a waiting `read` return.

        Shutting the socket down instead would keep `close` from reading what still comes.
        """
        self._is_aborted = True

    def close(self) -> None:
        """End the connection so that what was sent arrives."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
            # Closing with unread data would reset the connection, and replies be lost.
            deadline = self._clock() + _LINGER_SECONDS
            while self._clock() < deadline:
                if self._is_ready(read=True) and not self._socket.recv(2**16):
                    break
        except OSError:
            pass
        self._socket.close()

    def _push(self, view: memoryview, seconds: float) -> int:
        if not view or not self._is_ready(read=False, seconds=seconds):
            return 0
        try:
            return self._socket.send(view)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Vanished(f"the connection broke ({error})") from error

    def _is_ready(self, read: bool, seconds: float = _POLL_SECONDS) -> bool:
        # poll, as select cannot take descriptors beyond 1023
        poller = select.poll()
        try:
            poller.register(self._socket, select.POLLIN if read else select.POLLOUT)
        except ValueError as error:  # closed
            raise Vanished("the connection is closed") from error
        return bool(poller.poll(seconds * 1000))

    def _raise_if_stopped(self) -> None:
        reason = self.stop_reason()
        if reason is not None:
            raise Stopped(reason)


class FileChannel:
    """Two file descriptors, such as those of stdin and stdout; either side may block.

    Parameters
    ----------
    source, target : int
        To read from and to write to.
    stop_reason : callable
        Returns why to stop, or None.
    """

    def __init__(
        self, source: int, target: int, stop_reason: Callable[[], str | None] = lambda: None
    ):
        self._source, self._target, self.stop_reason = source, target, stop_reason
        self._sending = threading.Lock()

    def read(self, count: int) -> bytes:
        """Return 1 to `count` bytes, or none at the end of the stream."""
        while self.is_quiet(_POLL_SECONDS):
            reason = self.stop_reason()
            if reason is not None:
                raise Stopped(reason)
        return os.read(self._source, count)

    def is_quiet(self, seconds: float = 0.0) -> bool:
        """Whether nothing has come that was not read."""
        return not select.select([self._source], [], [], seconds)[0]

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises
        ------
        Vanished
            If the reader is gone.
        """
        view = memoryview(data)
        with self._sending:
            try:
                while view:
                    view = view[os.write(self._target, view) :]
            except OSError as error:
                raise Vanished(f"the output cannot be written ({error})") from error

    offer = send

    def abort(self) -> None:
        """Do nothing: the end of the process ends the reading."""

    def close(self) -> None:
        """Do nothing: the files belong to others."""
