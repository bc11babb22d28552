"""Who is told how far a reconstruction is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a reconstruction; the terminal's bar is one."""

    def start_scan(self, name: str, n_slices: int) -> None:
        """Begin a scan of `n_slices` slices."""

    def start_slice(self, index: int, n_steps: int) -> None:
        """Begin slice `index`, which takes about `n_steps` steps."""

    def step(self) -> None:
        """One step of the sampler is done."""

    def finish_slice(self) -> None:
        """A slice is done."""

    def overall(self, name: str, done: int, total: int) -> None:
        """So much of everything that was begun is done, by whomever."""
