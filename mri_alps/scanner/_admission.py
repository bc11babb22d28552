"""Who may come in: connections that wait, scans that are reconstructed, scans that are saved."""

from __future__ import annotations

import enum
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from mri_alps.scanner.limits import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable


class Place(enum.Enum):
    """What a connection has."""

    WAITING = "no data came yet"
    RECONSTRUCTING = "its scan is reconstructed"
    SAVING = "its scan is only saved"


class Seat:
    """The place of one connection.

    Parameters
    ----------
    admission : Admission
        Who gives and takes it.
    address : str
        Of the client.
    deadline : float
        When its header must be there.
    """

    def __init__(self, admission: Admission, address: str, deadline: float):
        self.address, self.place, self.has_header = address, Place.WAITING, False
        self.taken_because: str | None = None
        self._admission, self._deadline = admission, deadline

    def stop_reason(self) -> str | None:
        """Return why the connection must end, or None."""
        if self.taken_because is None and not self.has_header:
            return self._admission.lateness(self._deadline)
        return self.taken_because

    def begin(self) -> Place:
        """Return what becomes of the scan, whose first data have come.

        Raises
        ------
        LimitExceeded
            If nothing can.
        """
        return self._admission.begin(self)

    def leave(self) -> None:
        """Give the place back."""
        self._admission.leave(self)


class Admission:
    """Gives places to connections.

    A connection waits until its first data come. New connections always find a place to wait:
    if there are too many, the oldest of the address that has most of them loses its place, those
    without a header first. A scan that has begun keeps its place to the end. One address
    has at most half of all places.

    Parameters
    ----------
    n_places : int
        Connections that wait; as many scans are reconstructed; as many more only saved.
    saves : bool
        Whether scans are saved.
    header_seconds : float
        How long a new connection may take to send its header.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        n_places: int,
        saves: bool,
        header_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.n_places = n_places
        self._share = (self.n_places + 1) // 2
        self._saves, self._header_seconds, self._clock = saves, header_seconds, clock
        self._seats: list[Seat] = []
        self._lock = threading.Lock()

    def admit(self, address: str) -> Seat:
        """Give a new connection a place to wait.

        Parameters
        ----------
        address : str
            Of the client.
        """
        with self._lock:
            waiting = self._with(Place.WAITING)
            same = [seat for seat in waiting if seat.address == address]
            if len(same) >= self._share:
                self._take_one(same)
            elif len(waiting) >= self.n_places:
                counts = Counter(seat.address for seat in waiting)
                most = max(counts.values())
                self._take_one([seat for seat in waiting if counts[seat.address] == most])
            seat = Seat(self, address, self._clock() + self._header_seconds)
            self._seats.append(seat)
            return seat

    def begin(self, seat: Seat) -> Place:
        """See `Seat.begin`."""
        with self._lock:
            if seat.taken_because is not None:
                raise LimitExceeded(seat.taken_because)
            for place in (Place.RECONSTRUCTING, Place.SAVING)[: 1 + self._saves]:
                others = self._with(place)
                same = [other for other in others if other.address == seat.address]
                if len(others) < self.n_places and len(same) < self._share:
                    seat.place = place
                    return place
        raise LimitExceeded(
            f"the server has {len(others)} scans already, {len(same)} of them from your address; "
            f"it takes {self.n_places}, {self._share} from one address: come again later"
        )

    def leave(self, seat: Seat) -> None:
        """See `Seat.leave`."""
        with self._lock:
            if seat in self._seats:
                self._seats.remove(seat)

    def lateness(self, deadline: float) -> str | None:
        """Return the reason to end a connection without a header, if it is too late."""
        if self._clock() <= deadline:
            return None
        return (
            f"no header came within {self._header_seconds:g} s of the connection: connect when "
            "the scan begins, and send configuration and header at once"
        )

    def _with(self, place: Place) -> list[Seat]:
        return [seat for seat in self._seats if seat.place is place]

    def _take_one(self, seats: list[Seat]) -> None:
        oldest = min(seats, key=lambda seat: seat.has_header)  # the first of those without
        oldest.taken_because = (
            "the server has too many connections that sent no data, of which this is the oldest: "
            "connect again when the scan begins"
        )
        self._seats.remove(oldest)
