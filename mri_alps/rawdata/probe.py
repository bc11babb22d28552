"""Opens files in a process of its own first: one that crashes the HDF5 library costs itself only.

What is covered: opening, header, mask, all line headers and the noise, and the samples of the
first slice. What is not: a file that changes after it was looked at, or whose damage lies in
later slices only; errors that raise an exception are caught there as everywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mri_alps.core.errors import InputFileError, MriAlpsError
from mri_alps.rawdata.ismrmrd.scan import Selection
from mri_alps.rawdata.noncartesian import RawTrajectoryData, TrajectoryOptions
from mri_alps.rawdata.open import read_raw
from mri_alps.rawdata.parts import list_parts

SECONDS = 300.0
"""A file that takes longer to open keeps the library going round in circles."""

_CHILD = "from mri_alps.rawdata.probe import serve; serve()"


class Probe:
    """A child process that opens files; it starts with the first and is replaced if it dies.

    Use as a context manager.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Probe:
        """Start nothing yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the child."""
        self._end()

    def check(
        self,
        path: Path,
        selection: Selection | None = None,
        trajectory: TrajectoryOptions | None = None,
    ) -> None:
        """Raise unless `path` can be opened without harm.

        Parameters
        ----------
        path : pathlib.Path
            A raw file.
        selection : Selection, optional
            The part of it that is meant.
        trajectory : TrajectoryOptions, optional
            What is said of its trajectory.

        Raises
        ------
        InputFileError
            If it cannot be opened, or the process that opened it crashed or did not end.
        """
        part = None if selection is None else dataclasses.asdict(selection)
        options = None if trajectory is None else dataclasses.asdict(trajectory)
        with self._lock:
            problem = self._ask("check", path, part, options)["problem"]
        if problem is not None:
            raise InputFileError(problem)

    def parts(self, path: Path, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the parts of a file, as `list_parts` does.

        Parameters
        ----------
        path : pathlib.Path
            A raw file.
        asked : mapping
            What was asked for.

        Raises
        ------
        InputFileError
            If the process that opened it crashed or did not end.
        """
        with self._lock:
            answer = self._ask("parts", path, dict(asked), None)
        if answer["problem"] is not None:
            raise InputFileError(answer["problem"])
        parts: list[dict[str, Any]] = answer["parts"]
        return parts

    def _ask(
        self,
        what: str,
        path: Path,
        part: dict[str, Any] | None,
        options: dict[str, Any] | None,
    ) -> dict[str, Any]:
        if self._child is None:
            self._child = _start()
        child = self._child
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died: the empty answer says so
            child.stdin.write(json.dumps([what, str(path), part, options], default=str) + "\n")
            child.stdin.flush()
        line = _line_within(child.stdout, SECONDS)
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = self._end()
        if line is None:
            found = f"was not opened within {SECONDS:.0f} s"
        else:
            found = f"crashed the process that opened it ({_name(status)})"
        return {"problem": f"{path} {found}: it is damaged or hostile, copy or export it again"}

    def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            child.kill()  # it is at work still
            child.wait()
        child.stdout.close()
        return child.wait()


def _line_within(stream: IO[str], seconds: float) -> str | None:
    """A line, "" at the end of the stream, None if neither comes in time.

    A thread waits for it, since Windows has no limited wait for a pipe; it ends with the child.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return None


def _start() -> subprocess.Popen[str]:
    # The same modules as here, wherever this process has them from.
    code = f"import sys; sys.path[:] = {sys.path!r}; {_CHILD}"
    return subprocess.Popen(  # noqa: S603 - this interpreter, and code from here
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # an interruption from the keyboard is for the parent
    )


def _name(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"


def serve() -> None:
    """Open the files that are named on standard input: say what is wrong with each, or in it."""
    for line in sys.stdin:
        what, path, part, options = json.loads(line)
        answer: dict[str, Any] = {"problem": None}
        if what == "parts":
            answer["parts"] = list_parts(Path(path), part)
        else:
            selection = None if part is None else Selection(**part)
            answer["problem"] = _problem(Path(path), selection, _options(options))
        print(json.dumps(answer), flush=True)


def _options(values: dict[str, Any] | None) -> TrajectoryOptions | None:
    if values is None:
        return None
    matrix = values.pop("matrix")
    return TrajectoryOptions(**values, matrix=None if matrix is None else tuple(matrix))


def _problem(
    path: Path, selection: Selection | None, trajectory: TrajectoryOptions | None
) -> str | None:
    try:
        raw = read_raw(path, selection=selection, trajectory=trajectory)
    except MriAlpsError as error:
        return str(error)
    except Exception:  # noqa: BLE001 - the reconstruction says what it is
        return None
    with contextlib.suppress(Exception):
        if isinstance(raw, RawTrajectoryData):
            raw.read_samples(0)
        elif raw.axes[1] != "partition":  # of a 3-D scan, any slice needs all lines
            raw.read_slice(0)
    return None
