"""What a run writes beside its checkpoints: CSV, TensorBoard, a progress bar."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mri_alps.core.atomic import atomic_path

if TYPE_CHECKING:
    from mri_alps.training import _state as state
    from mri_alps.training._loop import StepReport
    from mri_alps.training.validation import LevelScore

_LOGGER = logging.getLogger(__name__)
_STEP_FIELDS = ("step", "images_seen", "seconds", "loss", "learning_rate")
_LEVEL_FIELDS = ("step", "images_seen", "sigma", "loss", "psnr")


class RunLog:
    """Loss curves as CSV and TensorBoard files and, on a terminal, a progress bar.

    `training.csv` has one row for every `interval` steps (mean loss), `validation.csv` one for
    every noise level of every validation. Rows are appended, so a resumed run continues them;
    rows behind the checkpoint from which it resumes are dropped.

    Parameters
    ----------
    folder : Path
        The run's folder.
    first_step, last_step : int
        Where this session starts and where the run ends.
    interval : int
        Steps per row.
    show_progress : bool
        Draw the bar on standard error; otherwise log a line per row.
    """

    def __init__(
        self, folder: Path, first_step: int, last_step: int, interval: int, show_progress: bool
    ):
        self.folder, self.interval, self.last_step = folder, interval, last_step
        _truncate(folder / "training.csv", _STEP_FIELDS, first_step)
        _truncate(folder / "validation.csv", _LEVEL_FIELDS, first_step)
        self.board = _open_board(folder / "tensorboard", first_step)
        self._losses: list[torch.Tensor] = []
        self._first = (first_step, time.monotonic())
        self._bar: Progress | None = None
        if show_progress:
            self._bar = Progress(
                TextColumn("step {task.completed}/{task.total}"),
                BarColumn(),
                TextColumn("loss {task.fields[loss]:.4f}"),
                TimeRemainingColumn(),
                console=Console(stderr=True, highlight=False),
            )
            self._task = self._bar.add_task("", total=last_step, completed=first_step, loss=0.0)
            self._bar.start()

    def step(self, report: StepReport) -> None:
        """Take in one step."""
        self._losses.append(report.losses.mean())  # read below: a number would wait for the device
        step = report.progress.step
        if step % self.interval and step != self.last_step:
            return
        loss = float(torch.stack(self._losses).mean())
        self._losses.clear()
        counters = (step, report.progress.images_seen, round(report.progress.seconds, 1))
        self._append("training.csv", [(*counters, f"{loss:.6g}", f"{report.learning_rate:.4g}")])
        if self.board is not None:
            self.board.add_scalar("training/loss", loss, step)
            self.board.add_scalar("training/learning_rate", report.learning_rate, step)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=loss)
        else:
            _LOGGER.info(
                "step %d/%d loss %.4f %s", step, self.last_step, loss, self._time_left(step)
            )

    def has_validation(self, step: int) -> bool:
        """Whether the scores at this step are in the table."""
        with (self.folder / "validation.csv").open(newline="") as file:
            return any(row[:1] == [str(step)] for row in csv.reader(file))

    def validation(self, progress: state.Progress, scores: Sequence[LevelScore]) -> None:
        """Take in the scores on held-out patients."""
        self._append(
            "validation.csv",
            [
                (progress.step, progress.images_seen, s.sigma, f"{s.loss:.6g}", f"{s.psnr:.3f}")
                for s in scores
            ],
        )
        for score in scores:
            if self.board is not None:
                self.board.add_scalar(f"loss/sigma {score.sigma:g}", score.loss, progress.step)
                self.board.add_scalar(f"psnr/sigma {score.sigma:g}", score.psnr, progress.step)
        text = "  ".join(f"{score.sigma:g}: {score.psnr:.2f} dB" for score in scores)
        message = f"validation at step {progress.step}: {text}"
        if self._bar is not None:
            self._bar.console.print(message)
        else:
            _LOGGER.info(message)

    def close(self) -> None:
        """Finish files and bar."""
        if self.board is not None:
            self.board.close()
        if self._bar is not None:
            self._bar.stop()

    def _append(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        with (self.folder / name).open("a", newline="") as file:
            csv.writer(file).writerows(rows)

    def _time_left(self, step: int) -> str:
        first, began = self._first
        seconds = (time.monotonic() - began) / max(step - first, 1) * (self.last_step - step)
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"time left {hours} h {minutes:02d} min"


def _truncate(path: Path, fields: Sequence[str], first_step: int) -> None:
    """Keep a CSV file's rows up to `first_step`; make it if there is none."""
    rows: list[list[str]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= first_step]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([list(fields), *rows])


def _open_board(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None  # the CSV files say the same
    return SummaryWriter(str(folder), purge_step=first_step + 1)
