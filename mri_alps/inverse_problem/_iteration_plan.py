"""How many iterations a solver on a device makes, so that the device need not run dry."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import torch

MARGIN = 1.5
"""How many times the most that solutions are known to have needed the next ones make. On 36
simulated scans (noise of 0.003 to 0.2, 4x and 8x, lines and points, 4 and 30 evaluations) that was
enough but for one solution of one, beyond which not even all that are allowed were."""

LAG = 2
"""How many of the last solutions are not asked about. Between two lies at least one evaluation of
the network: with that much work queued behind it the device should not notice the question (it
has not been run on one). The answer is waited for where it is not there, so that the plan, and
with it each sample, depends on the solutions alone and never on when a number arrives."""


class _Event(Protocol):
    def synchronize(self) -> None: ...


class _Arrived:
    def synchronize(self) -> None:
        return


class IterationPlan:
    """Iterations of the next solution, by what all but the last few are known to have needed.

    What was needed is copied to the host behind the computation, and read `LAG` solutions later.
    Until then, and where it cannot be copied so, as many iterations are made as are allowed.

    Parameters
    ----------
    allowed : int
        The most iterations.
    """

    def __init__(self, allowed: int):
        self.allowed = allowed
        self._most: int | None = None
        self._sent: deque[tuple[torch.Tensor, _Event]] = deque()

    def n_iterations(self) -> int:
        """Return how many iterations to make."""
        while len(self._sent) > LAG:
            number, event = self._sent.popleft()
            event.synchronize()
            self._most = max(self._most or 0, int(number))
        if self._most is None:
            return self.allowed
        return min(self.allowed, math.ceil(MARGIN * self._most) + 1)

    def record(self, needed: torch.Tensor, unsolved: torch.Tensor) -> None:
        """Take note of a solution.

        Parameters
        ----------
        needed : torch.Tensor
            Iterations before which something was unsolved, () on the device.
        unsolved : torch.Tensor
            Bool: what is unsolved still; then later solutions make all iterations allowed.
        """
        sent = send_to_host(needed + self.allowed * unsolved.any())
        if sent is not None:
            self._sent.append(sent)


def send_to_host(number: torch.Tensor) -> tuple[torch.Tensor, _Event] | None:
    """Start to copy a number; return where it will be and the event that tells when.

    Parameters
    ----------
    number : torch.Tensor
        () on any device.

    Returns
    -------
    tuple or None
        None where there is no way to do so without waiting: on devices other than CUDA.
    """
    if number.device.type == "cpu":  # stands in for a device: what is sent is there at once
        with torch._C.DisableTorchFunctionSubclass():
            return number.as_subclass(torch.Tensor), _Arrived()
    if number.device.type != "cuda":
        return None
    there = torch.empty((), dtype=number.dtype, pin_memory=True)
    there.copy_(number, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(number.device))
    return there, event
