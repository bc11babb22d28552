"""Talking to the person at the terminal: progress, warnings, errors."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from mri_alps.core.errors import MriAlpsWarning

_LOGGER = logging.getLogger("mri_alps")
_PIPE_WIDTH = 160
_LEVELS = {
    "detail": logging.DEBUG,
    "": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def out() -> Console:
    """Return the console for results (standard output).

    A file or a pipe has no width, and a table is not to be cut to one.
    """
    return _wide(Console(highlight=False))


def err() -> Console:
    """Return the console for everything else (standard error)."""
    return _wide(Console(stderr=True, highlight=False))


def _wide(console: Console) -> Console:
    """Give a console that writes into a file or a pipe room for its tables."""
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


class _TerminalHandler(logging.Handler):
    """One line on standard error for each record, as `print_message` describes it."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = {"WARNING": "warning: ", "ERROR": "error: ", "CRITICAL": "error: "}
        text = " ".join(record.getMessage().split())
        sys.stderr.write(f"mri-alps: {kind.get(record.levelname, '')}{text}\n")
        sys.stderr.flush()


def set_verbosity(quiet: bool = False, verbose: bool = False) -> None:
    """Say how much is said on standard error.

    Parameters
    ----------
    quiet : bool
        Only errors; no progress bars.
    verbose : bool
        Also what is done on the way: the package's logging at level DEBUG.
    """
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    _LOGGER.setLevel(level)


def print_message(sentence: str, kind: str = "") -> None:
    """Print one line on standard error, by way of the package's logger.

    Parameters
    ----------
    sentence : str
        Printed as it is, never wrapped, so that a script can read it.
    kind : str
        "", "warning" or "error"; "detail" is for ``--verbose``.
    """
    _hear()
    _LOGGER.log(_LEVELS[kind], "%s", sentence)


def _hear() -> None:
    """Send the package's log records to the terminal, once."""
    if not any(isinstance(handler, _TerminalHandler) for handler in _LOGGER.handlers):
        _LOGGER.addHandler(_TerminalHandler())
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.INFO)


@contextmanager
def warnings_said_once() -> Iterator[None]:
    """Print each warning of this package once, as one line; leave out those of libraries."""
    _hear()
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, MriAlpsWarning) and str(message) not in said:
            said.add(str(message))
            print_message(str(message), "warning")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MriAlpsWarning)
        warnings.showwarning = show
        yield


@contextmanager
def stopped_by_signal(kept: str) -> Iterator[None]:
    """End a command that SIGINT or SIGTERM stops with one line and the signal's exit status.

    Parameters
    ----------
    kept : str
        What is kept and how to go on, as a part of a sentence.

    Raises
    ------
    typer.Exit
        With status 130 or 143, the signal's number and 128.
    """
    received = [signal.SIGINT]

    def stop(number: int, _: object) -> None:
        received[0] = signal.Signals(number)
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, stop) if in_main_thread else None
    try:
        yield
    except KeyboardInterrupt:
        print_message(f"stopped by {received[0].name}: {kept}", "error")
        raise typer.Exit(128 + received[0]) from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous)


def bars_are_hidden() -> bool:
    """Return whether progress bars have no place: in pipes, and where only errors are said."""
    is_terminal = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return not is_terminal or _LOGGER.level > logging.INFO


def spinner() -> Bars:
    """Return a line on standard error that says what is being done, for as long as it is."""
    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=err(),
        transient=True,
        disable=bars_are_hidden(),
    )


class ProgressBar:
    """Bars over slices and steps on standard error; silent where that is not a terminal.

    Use as a context manager.
    """

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err(),
            disable=bars_are_hidden(),
        )
        self._scan = self._bars.add_task("slices", visible=False)
        self._steps = self._bars.add_task("steps", visible=False)

    def __enter__(self) -> ProgressBar:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._bars.stop()

    def start_scan(self, name: str, n_slices: int) -> None:
        """Begin a scan of `n_slices` slices."""
        self._bars.reset(self._scan, description=name, total=n_slices, visible=True)

    def start_slice(self, index: int, n_steps: int) -> None:
        """Begin slice `index`, which takes about `n_steps` steps."""
        self._bars.reset(self._steps, description=f"slice {index}", total=n_steps, visible=True)

    def step(self) -> None:
        """One step of the sampler is done."""
        self._bars.advance(self._steps)

    def finish_slice(self) -> None:
        """A slice is done."""
        self._bars.advance(self._scan)

    def overall(self, name: str, done: int, total: int) -> None:
        """So much of everything that was begun is done, by whomever."""
        self._bars.update(self._scan, description=name, completed=done, total=total, visible=True)
