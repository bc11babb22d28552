"""Works through the units of one scan and hands over what the client shall see."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mri_alps.core.errors import MriAlpsError
from mri_alps.scanner._images import ImageMaker
from mri_alps.scanner._work import Cancelled, NotYet
from mri_alps.scanner.limits import LimitExceeded

if TYPE_CHECKING:
    import ismrmrd
    import numpy as np

    from mri_alps.scanner._intake import Due, ScanIntake
    from mri_alps.scanner._units import Unit
    from mri_alps.scanner.workers import Reconstructor

INFO, WARNING, ERROR = "INFO", "WARNING", "ERROR"
_TELL_SECONDS = 5.0
_MAX_ERRORS = 10

SendLog = Callable[[str, str], None]
"""send_log(level, sentence)."""


def log_line(level: str, sentence: str) -> str:
    """Return a sentence with its level in front, as the servers of the community do.

    Parameters
    ----------
    level : str
        INFO, WARNING or ERROR.
    sentence : str
        What to say.
    """
    return f"{level:<8} {' '.join(sentence.split())}"


class UnitRunner:
    """Works on one unit after the other; one that fails does not stop the others.

    Parameters
    ----------
    intake : ScanIntake
        The scan.
    reconstructor : Reconstructor
        Where the work is done.
    send_log : callable
        send_log(level, sentence) tells the client.
    send_image : callable
        send_image(image).
    stop_reason : callable
        Returns why to give up, or None.
    seconds : float
        Limit on the time of all work on the scan.
    """

    def __init__(
        self,
        intake: ScanIntake,
        reconstructor: Reconstructor,
        send_log: SendLog,
        send_image: Callable[[ismrmrd.Image], None],
        stop_reason: Callable[[], str | None] = lambda: None,
        seconds: float = float("inf"),
    ):
        self._intake, self._reconstructor = intake, reconstructor
        self._send_log, self._send_image, self._asked_to_stop = send_log, send_image, stop_reason
        self._maker = ImageMaker(intake.scan.encoding, intake.configuration)
        self._seconds, self._spent = seconds, 0.0
        self._started: float | None = None
        self._told = time.monotonic()
        self._unit: Unit | None = None
        self._noise: np.ndarray | None = None
        self._done: dict[Unit, int] = {}
        self._warned: set[str] = set()
        self.n_images = self.n_failed = self.n_waiting = 0

    def run(self, due: Due) -> None:
        """Reconstruct a unit and send its images, unless that was done with the same lines.

        Raises
        ------
        Cancelled, LimitExceeded
            If the scan is to be given up.
        """
        before = self._done.get(due.unit)
        if before == due.n_lines:
            return
        if before is not None:
            self._send_log(
                WARNING,
                f"{due.unit}: {due.n_lines - before} more lines came after its last; it is "
                "reconstructed again",
            )
        job, reference = self._intake.work(due)
        if self._noise is not None:
            job = dataclasses.replace(job, noise_covariance=self._noise, noise_store=None)
        self._unit, began = due.unit, time.monotonic()
        try:
            result = self._reconstructor.run(job, self)
        except NotYet as error:
            self.n_waiting += 1
            if self.n_waiting <= _MAX_ERRORS:
                self._send_log(INFO, f"{due.unit} waits for the rest of the scan: {error}")
            return
        except Cancelled as error:
            if self._is_over_time():
                raise LimitExceeded(str(error)) from error
            raise
        except MriAlpsError as error:
            self._fail(due, str(error))
            return
        finally:
            self._stop_clock()
        self._done[due.unit], self._noise = due.n_lines, result.noise_covariance
        for text in result.warnings:
            if text not in self._warned:
                self._warned.add(text)
                self._send_log(WARNING, text)
        clipped = self._maker.n_clipped
        for image in self._maker.images(result, due.unit, reference):
            self._send_image(image)
            self.n_images += 1
        if self._maker.n_clipped > clipped:
            self._send_log(
                WARNING,
                f"{due.unit}: {self._maker.n_clipped - clipped} pixels are above what 16 bits hold "
                "in the scale of the first image and are cut off: ask for the data type float32",
            )
        self._send_log(INFO, f"{due.unit}: done in {time.monotonic() - began:.1f} s")

    def _fail(self, due: Due, text: str) -> None:
        self._done[due.unit] = due.n_lines
        self.n_failed += 1
        if self.n_failed <= _MAX_ERRORS:
            self._send_log(ERROR, f"{due.unit}: {text}")

    def summarise(self) -> None:
        """Tell the client how it went."""
        if self.n_failed > _MAX_ERRORS:
            self._send_log(ERROR, f"{self.n_failed} units of the scan could not be reconstructed")
        if self._intake.n_left_out:
            self._send_log(
                ERROR,
                f"{self._intake.n_left_out} lines belong to more images than the "
                f"{self._intake.n_units} of one scan: send it in parts",
            )
        self._send_log(INFO, f"{self.n_images} images were sent")

    def waiting(self, n_ahead: int) -> None:
        """Tell the client that others come first."""
        self._send_log(INFO, f"{self._unit}: waiting, {n_ahead} reconstructions come first")

    def started(self) -> None:
        """Start the clock of the time limit."""
        self._started = self._told = time.monotonic()

    def step(self, done: int, total: int) -> None:
        """Tell the client now and then how far the work is."""
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS:
            self._told = now
            self._send_log(INFO, f"{self._unit}: {min(done, total)} of {total} steps")

    def stop_reason(self) -> str | None:
        """Return why the work shall be given up."""
        if self._is_over_time():
            return (
                f"the reconstruction of this scan takes longer than {self._seconds:g} s: ask for "
                "fewer samples or evaluations, or start the server with a higher --time-limit"
            )
        return self._asked_to_stop()

    def _is_over_time(self) -> bool:
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self._spent + running > self._seconds

    def _stop_clock(self) -> None:
        if self._started is not None:
            self._spent += time.monotonic() - self._started
        self._started = None
