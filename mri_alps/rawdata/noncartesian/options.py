"""What the user says of a trajectory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mri_alps.core.errors import ConfigurationError

UNITS = ("auto", "fov", "pixel", "rad/pixel", "rad/m", "1/m")
"""Names of units of k-space: cycles per field of view, per pixel and so on."""


@dataclass(frozen=True)
class TrajectoryOptions:
    """What the user says of a trajectory; nothing is guessed where the file says nothing.

    Parameters
    ----------
    trajectory : str or Path, optional
        A file: .npy, .npz with `trajectory`, or BART cfl.
    units : str
        One of `UNITS`.
    golden_angle : float, optional
        Degrees from one spoke to the next, of radial scans.
    matrix : tuple of int, optional
        (readout, phase_encode) of the image's grid, where the file does not say it.
    """

    trajectory: str | Path | None = None
    units: str = "auto"
    golden_angle: float | None = None
    matrix: tuple[int, int] | None = None

    @property
    def says_something(self) -> bool:
        """Whether the user said that there is a trajectory."""
        return self != TrajectoryOptions()


def choose_shots(text: str, n_shots: int, name: str) -> tuple[int, int, int]:
    """Return first, stop and step of the shots that "50", "100:150" or "0:200:4" names.

    Parameters
    ----------
    text : str
        What the user wrote.
    n_shots : int
        Of the scan.
    name : str
        Of the scan, for the message.

    Raises
    ------
    ConfigurationError
        If it has another form, or names no shots of the scan.
    """
    whole = r"\s*(\d{1,9})\s*"
    match = re.fullmatch(rf"(?:{whole}:)?{whole}(?::{whole})?", str(text))
    first, stop, step = (
        (int(match[1] or 0), int(match[2]), int(match[3] or 1)) if match else (0, 0, 0)
    )
    if not 0 <= first < stop <= n_shots or step < 1:
        raise ConfigurationError(
            f"{name} has {n_shots} shots, and {text!r} was asked for: write --shots 50 for the "
            f"first 50, --shots 100:150 for a range, or --shots 0:{n_shots}:4 for every fourth, "
            f"within 0:{n_shots}"
        )
    return first, stop, step
