"""What is designed, and what a scanner allows."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError, damage_of

OBJECTIVES = ("error", "information", "task")
"""What a design goes by."""
DYNAMIC = 0.2
"""Part of what is unknown that changes from frame to frame, unless a user knows better."""


@dataclasses.dataclass(frozen=True)
class DesignSettings:
    """What is designed.

    Parameters
    ----------
    budget : int
        Lines (or points) in all.
    batch : int or None
        Picks between two looks at the posterior; None for all at once by error or task, and for
        an eighth of the picks by information.
    objective : {"error", "information", "task"}
        The expected squared error of the magnitude in the object, the information, or the
        expected squared error of `task`.
    task : pathlib.Path or None
        .npy of the image's size (H, W): a region, all 0 and 1, whose pixels' errors count; or a
        template of other real values, the error of whose contrast (sum of template times
        magnitude) counts.
    partial_fourier : float or None
        Part of the phase encodes, from one edge on, that may be measured: 0.5 to 1.
    per_shot : int or None
        Lines of a shot: those outside the centre are a multiple of it.
    shutter : bool
        Of a 3-D scan: only points in the ellipse that fits into the matrix.
    frames : int
        Of a film whose frames share what they measured: each gets lines of its own, `budget` in
        each, for a window of so many frames.
    dynamic : float
        With frames: part of the unknown that changes from frame to frame, 0 to 1.

    Raises
    ------
    ConfigurationError
        If one of them makes no sense.
    """

    budget: int
    batch: int | None = None
    objective: str = "error"
    task: Path | None = None
    partial_fourier: float | None = None
    per_shot: int | None = None
    shutter: bool = False
    frames: int = 1
    dynamic: float = DYNAMIC

    def __post_init__(self) -> None:
        for name, value in (
            ("budget", self.budget), ("batch", self.batch), ("per_shot", self.per_shot),
            ("frames", self.frames),
        ):  # fmt: skip
            if value is not None and value < 1:
                option = name.replace("_", "-")
                raise ConfigurationError(
                    f"the {name.replace('_', ' ')} is a number, at least 1, found "
                    f"{value}: raise --{option}"
                )
        if self.objective not in OBJECTIVES:
            raise ConfigurationError(
                f"found the objective {self.objective!r}, expected one of "
                f"{', '.join(OBJECTIVES)}: change --objective"
            )
        if (self.task is None) == (self.objective == "task"):
            raise ConfigurationError(
                "the objective task needs a region or a template, and only it does: give "
                "--task FILE.npy together with --objective task"
            )
        part = self.partial_fourier
        if part is not None and not 0.5 <= part <= 1:
            raise ConfigurationError(
                f"partial Fourier measures 0.5 to 1 of the phase encodes, found {part:g}: change "
                "--partial-fourier"
            )
        if not 0 <= self.dynamic <= 1:
            raise ConfigurationError(
                f"the dynamic part is 0 to 1 of the whole, found {self.dynamic:g}: change --dynamic"
            )
        if self.frames > 1 and self.objective == "information":
            raise ConfigurationError(
                f"{self.frames} frames are designed by error or task, found the objective "
                "information: change --objective"
            )

    def describe(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        stored = dataclasses.asdict(self)
        return {**stored, "task": None if self.task is None else str(self.task)}


def forbidden_by(settings: DesignSettings, shape: tuple[int, int], points: bool) -> np.ndarray:
    """Return what the scanner's constraints leave out, bool (n_candidates,).

    Parameters
    ----------
    settings : DesignSettings
        The constraints.
    shape : tuple of int
        K-space matrix (H, W).
    points : bool
        Whether single points are chosen, of a scan with two phase encodes.

    Raises
    ------
    ConfigurationError
        If a shutter is asked for and lines are chosen.
    """
    height, width = shape
    if settings.shutter and not points:
        raise ConfigurationError(
            "an elliptical shutter leaves out points of a scan with two phase encodes, and this "
            "one has lines: leave --shutter out"
        )
    columns = np.zeros(width, dtype=bool)
    if settings.partial_fourier is not None:
        columns[: width - math.ceil(settings.partial_fourier * width)] = True
    if not points:
        return columns
    plane = np.broadcast_to(columns, shape).copy()
    if settings.shutter:
        y = (np.arange(height) - height // 2)[:, None] / (height / 2)
        x = (np.arange(width) - width // 2) / (width / 2)
        plane |= np.hypot(y, x) > 1
    return plane.ravel()


def check_shots(settings: DesignSettings, n_start: int) -> None:
    """Refuse a budget that does not fill its shots.

    Parameters
    ----------
    settings : DesignSettings
        Budget and lines of a shot.
    n_start : int
        Candidates of the calibration region, which has shots of its own.

    Raises
    ------
    ConfigurationError
        If the rest is no multiple of a shot's lines.
    """
    if settings.per_shot is None:
        return
    picked = settings.budget - n_start
    if picked % settings.per_shot:
        lower = n_start + picked // settings.per_shot * settings.per_shot
        raise ConfigurationError(
            f"a budget of {settings.budget} leaves {picked} lines beside the {n_start} of the "
            f"centre, which do not fill shots of {settings.per_shot}: make it {lower} or "
            f"{lower + settings.per_shot}"
        )


def shots_of(candidates: np.ndarray, per_shot: int) -> list[list[int]]:
    """Share lines out to shots, so that each sweeps over k-space from one side to the other.

    Parameters
    ----------
    candidates : numpy.ndarray
        int (n,), a multiple of `per_shot`.
    per_shot : int
        Lines of a shot.

    Returns
    -------
    list of list of int
        One per shot: its lines in the order of acquisition. Line i of every shot is from the
        same i-th part of k-space, so all shots have the same contrast.
    """
    ordered = np.sort(candidates)
    n_shots = len(ordered) // per_shot
    return [ordered[shot::n_shots].tolist() for shot in range(n_shots)]


def load_task(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read a region or a template.

    Parameters
    ----------
    path : pathlib.Path
        .npy, real (H, W).
    shape : tuple of int
        (H, W) of the image.

    Raises
    ------
    InputFileError
        If it cannot be read, has another shape, or is zero or not finite.
    """
    try:
        size = path.stat().st_size
        if size > 16 * math.prod(shape) + 4096:
            raise InputFileError(
                f"{path}: found {size} bytes, expected a .npy of the image's {shape} numbers"
            )
        task = np.asarray(np.load(path, allow_pickle=False))
    except InputFileError:
        raise
    except Exception as error:  # whatever damaged bytes lead numpy to
        raise InputFileError(
            f"{path}: found a file that cannot be read as a task ({damage_of(error)}), expected "
            f"a .npy of shape {shape}"
        ) from error
    if task.shape != tuple(shape) or task.dtype.kind not in "bif":
        raise InputFileError(
            f"{path}: found a task of {task.dtype} and shape {task.shape}, expected real numbers "
            f"for the image's {tuple(shape)}: 1 in the region, or a template"
        )
    if not np.isfinite(task).all() or not task.any():
        raise InputFileError(
            f"{path}: found a task of zeros or of numbers that are not finite, expected a region "
            "or a template"
        )
    return task.astype(np.float64)
