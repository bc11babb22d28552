"""What a long command is about to do, and how long it will take, in sentences."""

from __future__ import annotations

import time
from collections.abc import Callable

from mri_alps.cli.terminal import print_message

_AT_ONCE = 0.2
"""Seconds; what takes less was kept from an earlier run."""
_WORTH_SAYING = 20.0
_SAY_AGAIN = 300.0


class Forecast:
    """Says how much there is to do, and from the first part on how long the rest will take.

    Call it after every part.

    Parameters
    ----------
    what : str
        The parts in words, for example "posteriors".
    total : int
        How many there are.
    details : str
        Of what each is made, the end of the sentence.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self, what: str, total: int, details: str, clock: Callable[[], float] = time.monotonic
    ):
        self._what, self._total, self._clock = what, total, clock
        self._done = self._timed = 0
        self._seconds = 0.0
        self._last = clock()
        self._said: float | None = None
        print_message(f"{total} {what} are sampled, {details}")

    def __call__(self, *_: object) -> None:
        """One more is done."""
        now = self._clock()
        took, self._last = now - self._last, now
        self._done += 1
        if took > _AT_ONCE:
            self._seconds, self._timed = self._seconds + took, self._timed + 1
        left = (self._total - self._done) * self._seconds / max(self._timed, 1)
        is_due = self._said is None or now - self._said >= _SAY_AGAIN
        if self._timed and is_due and left >= _WORTH_SAYING:
            self._said = now
            print_message(
                f"{self._done} of {self._total} {self._what} done, about {duration(left)} to go"
            )


def duration(seconds: float) -> str:
    """Return a time in words.

    Parameters
    ----------
    seconds : float
        How long.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
