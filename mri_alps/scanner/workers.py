"""Where units are reconstructed: in this process, or in a bounded number of others.

The server uses processes: the sampler keeps a processor (or a GPU) busy, so only so many units
are worked on at a time while all scans go on coming in; a process that dies or hangs takes
neither the server nor the other scans with it. `concurrent.futures` cannot kill one (before
Python 3.14), does not say how one ended, and leaves its processes behind when the server is killed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Protocol

from mri_alps.core.errors import MriAlpsError
from mri_alps.scanner._work import Cancelled, Job, JobResult, NotYet, run_job

if TYPE_CHECKING:
    import torch

    from mri_alps.pipeline import ReconstructionConfiguration
    from mri_alps.priors import ScoreModel

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_REPORT_SECONDS = 0.5
_CANCEL_SECONDS = 5.0
_ERRORS = {"not yet": NotYet, "cancelled": Cancelled, "error": MriAlpsError}


class Watcher(Protocol):
    """Is told how a job goes, and may have it given up."""

    def waiting(self, n_ahead: int) -> None:
        """`n_ahead` jobs come first."""

    def started(self) -> None:
        """The work begins."""

    def step(self, done: int, total: int) -> None:
        """`done` of about `total` steps are done."""

    def stop_reason(self) -> str | None:
        """Return why the work shall be given up, or None."""


class Reconstructor(Protocol):
    """Reconstructs units."""

    def run(self, job: Job, watcher: Watcher) -> JobResult:
        """Reconstruct one unit; raises as `run_job`, and `Cancelled`."""


class PriorCache:
    """Loads each prior once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Any, str], tuple[ScoreModel, torch.device]] = {}

    def get(self, configuration: ReconstructionConfiguration) -> tuple[ScoreModel, torch.device]:
        """Return the configuration's prior and its device."""
        from mri_alps.pipeline import load_prior_for

        key = (configuration.prior, configuration.device)
        if key not in self._loaded:
            self._loaded[key] = load_prior_for(configuration)
        return self._loaded[key]


class InlineReconstructor:
    """Reconstructs in this process, one unit at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._priors = PriorCache()

    def run(self, job: Job, watcher: Watcher) -> JobResult:
        """Reconstruct one unit; see `Reconstructor`."""
        while not self._lock.acquire(timeout=_POLL_SECONDS):
            _raise_if_stopped(watcher)
        try:
            _raise_if_stopped(watcher)
            watcher.started()

            def report(done: int, total: int) -> None:
                _raise_if_stopped(watcher)
                watcher.step(done, total)

            prior, device = self._priors.get(job.configuration)
            return run_job(job, prior, device, report)
        finally:
            self._lock.release()


class WorkerPool:
    """Reconstructs in `n_workers` other processes; units beyond that wait their turn.

    Use as a context manager.

    Parameters
    ----------
    n_workers : int
        Units that are worked on at the same time.
    """

    def __init__(self, n_workers: int = 1):
        self._idle = deque(_Worker(n_workers) for _ in range(n_workers))
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()
        self._n_workers = n_workers

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, job: Job, watcher: Watcher) -> JobResult:
        """Reconstruct one unit; see `Reconstructor`."""
        worker = self._take(watcher)
        try:
            watcher.started()
            return worker.run(job, watcher)
        finally:
            with self._changed:
                self._idle.append(worker)
                self._changed.notify_all()

    def close(self) -> None:
        """End all processes; those at work are killed."""
        with self._changed:
            for worker in self._idle:
                worker.stop()
            self._idle.clear()

    def _take(self, watcher: Watcher) -> _Worker:
        ticket = object()
        told = -1
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or not self._idle:
                    n_ahead = self._queue.index(ticket) + self._n_workers - len(self._idle)
                    if n_ahead != told:
                        watcher.waiting(n_ahead)
                        told = n_ahead
                    self._changed.wait(_POLL_SECONDS)
                    _raise_if_stopped(watcher)
                _raise_if_stopped(watcher)
                return self._idle.popleft()
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()


class _Worker:
    """One process, started again when it has died."""

    def __init__(self, n_workers: int):
        self._n_workers = n_workers
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=_serve_jobs, args=(other, self._n_workers), daemon=True, name="mri-alps worker"
        )
        self._process.start()
        other.close()

    def run(self, job: Job, watcher: Watcher) -> JobResult:
        if not self._process.is_alive():
            self._restart()
        try:
            self._connection.send(job)
            return self._wait(watcher)
        except (EOFError, OSError) as error:
            self._process.join(_POLL_SECONDS)
            code = self._process.exitcode
            self._restart()
            raise MriAlpsError(
                f"the process that reconstructed this ended unexpectedly (exit code {code}; -9 "
                "usually is the system running out of memory): ask for fewer samples (n_samples)"
            ) from error

    def _wait(self, watcher: Watcher) -> JobResult:
        while True:
            if self._connection.poll(_POLL_SECONDS):
                kind, value = self._connection.recv()
                if kind == "result":
                    return value
                if kind in _ERRORS:
                    raise _ERRORS[kind](value)
                watcher.step(*value)
            reason = watcher.stop_reason()
            if reason is not None:
                self._cancel()
                raise Cancelled(reason)

    def _cancel(self) -> None:
        """Ask the process to give up; one that does not answer is killed and replaced."""
        self._connection.send("cancel")
        deadline = time.monotonic() + _CANCEL_SECONDS
        while time.monotonic() < deadline:
            if self._connection.poll(_POLL_SECONDS):
                kind, _ = self._connection.recv()
                if kind == "result" or kind in _ERRORS:
                    return
        _LOG.warning("a reconstruction did not stop within %g s and is killed", _CANCEL_SECONDS)
        self._restart()

    def _restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _raise_if_stopped(watcher: Watcher) -> None:
    reason = watcher.stop_reason()
    if reason is not None:
        raise Cancelled(reason)


def _serve_jobs(connection: Connection, n_workers: int) -> None:
    """Work in another process until the server ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server decides when work ends
        signal.signal(number, signal.SIG_IGN)
    import torch

    if n_workers > 1:
        share = max(1, (os.cpu_count() or 1) // n_workers)
        torch.set_num_threads(min(torch.get_num_threads(), share))
    priors = PriorCache()
    while True:
        try:
            job = connection.recv()
            if isinstance(job, Job):  # a late "cancel" finds nothing to cancel
                connection.send(_answer(connection, priors, job))
        except (EOFError, OSError):
            return


def _answer(connection: Connection, priors: PriorCache, job: Job) -> tuple[str, Any]:
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if connection.poll():
            connection.recv()
            raise Cancelled("given up")
        if time.monotonic() - last > _REPORT_SECONDS:
            last = time.monotonic()
            connection.send(("step", (done, total)))

    try:
        prior, device = priors.get(job.configuration)
        return "result", run_job(job, prior, device, report)
    except NotYet as error:
        return "not yet", str(error)
    except Cancelled as error:
        return "cancelled", str(error)
    except MriAlpsError as error:
        return "error", str(error)
    except Exception as error:  # noqa: BLE001 - the process must outlive any scan
        _LOG.exception("a reconstruction failed")
        return "error", internal_error(error)


def internal_error(error: BaseException) -> str:
    """Return a sentence for the client about an error that this package did not foresee.

    Parameters
    ----------
    error : BaseException
        The error; its details are for the server's log.
    """
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "the memory did not suffice for this scan: ask for fewer samples (n_samples)"
    return (
        f"the reconstruction failed unexpectedly ({type(error).__name__}): the server's log says "
        "more"
    )
