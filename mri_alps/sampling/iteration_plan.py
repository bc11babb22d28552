"""How many iterations a solver on a device makes, without the host ever waiting to know."""

from __future__ import annotations

import math
from typing import Protocol

import torch

MARGIN = 1.5
"""How many times the most that solutions are known to have needed the next ones make. On 36
simulated scans (noise of 0.003 to 0.2, 4x and 8x, lines and points, 4 and 30 evaluations) that was
enough but for one solution of one, beyond which not even all that are allowed were."""


class _Event(Protocol):
    def query(self) -> bool: ...


class _Arrived:
    def query(self) -> bool:
        return True


class IterationPlan:
    """Iterations of the next solution, by what earlier ones are known to have needed.

    What was needed is copied to the host behind the computation and looked at once it is there;
    until then, and where it never comes, as many are made as are allowed. Iterations beyond those
    needed must change nothing, so that the moment at which a number arrives changes nothing.

    Parameters
    ----------
    allowed : int
        The most iterations.
    """

    def __init__(self, allowed: int):
        self.allowed = allowed
        self._most: int | None = None
        self._sent: tuple[torch.Tensor, _Event] | None = None

    def n_iterations(self) -> int:
        """Return how many iterations to make."""
        if self._sent is not None and self._sent[1].query():
            self._most = max(self._most or 0, int(self._sent[0]))
            self._sent = None
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
            Bool: what is unsolved still; then the next solutions make all iterations allowed.
        """
        if self._sent is None:
            self._sent = send_to_host(needed + self.allowed * unsolved.any())


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
