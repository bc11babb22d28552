"""Three stages that overlap: what comes next is read while this is worked on and that written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")

AHEAD = 2
"""Items that are read ahead, and as many that wait to be written: the bound on memory."""


class Occupation(NamedTuple):
    """How long the middle stage worked, and how long it took from its first item to its last."""

    busy_seconds: float
    total_seconds: float

    @property
    def share(self) -> float:
        """Busy seconds over all seconds, 1 where there was nothing to do."""
        return self.busy_seconds / self.total_seconds if self.total_seconds > 0 else 1.0


def overlap(
    produce: Iterator[Input],
    work: Callable[[Input], Output],
    consume: Callable[[Output], object],
    ahead: int = AHEAD,
) -> Occupation:
    """Run `consume(work(item))` over all items, in order, the stages beside each other.

    `produce` runs in one thread and `consume` in another; `work` stays in the caller's, so that
    it may show progress and be interrupted. At most ``2 * ahead + 3`` items exist at a time.

    Parameters
    ----------
    produce : iterator
        Makes the items.
    work : callable
        The stage that shall never wait.
    consume : callable
        Takes what `work` returns.
    ahead : int
        Items to hold between two stages.

    Returns
    -------
    Occupation
        Of the middle stage, not counting the wait for its first item.

    Raises
    ------
    BaseException
        Whatever a stage raises. What `work` had finished before is consumed first.
    """
    reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
    end = object()
    writing: deque[Future[Any]] = deque()
    busy, first = 0.0, None
    try:
        reading = deque(reader.submit(next, produce, end) for _ in range(ahead + 1))
        while (item := reading.popleft().result()) is not end:
            reading.append(reader.submit(next, produce, end))
            started = time.perf_counter()
            first = started if first is None else first
            result = work(item)  # type: ignore[arg-type]
            busy += time.perf_counter() - started
            writing.append(writer.submit(consume, result))
            del item, result
            if len(writing) > ahead:
                writing.popleft().result()
        total = 0.0 if first is None else time.perf_counter() - first
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown()
    for future in writing:
        future.result()
    return Occupation(busy, total)
