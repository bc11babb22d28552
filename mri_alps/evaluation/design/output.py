"""Files of a designed mask: for `reconstruct --mask`, for a scanner, for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mri_alps.errors import ConfigurationError
from mri_alps.evaluation.design.loop import Design
from mri_alps.evaluation.design.pictures import write_design_picture
from mri_alps.rawdata.cfl import write_cfl
from mri_alps.rawdata.files import atomic_path

MASK_SUFFIXES = (".npy", ".txt", ".cfl", ".hdr")
SUFFIXES = (*MASK_SUFFIXES, ".csv", ".png", ".json")
FORMAT = "mri_alps mask design 1"


def output_stem(output: Path, inputs: Sequence[Path] = ()) -> Path:
    """Return the common name of the files of a design, without suffix.

    Parameters
    ----------
    output : pathlib.Path
        As the user gave it, with any of the suffixes or without one.
    inputs : sequence of pathlib.Path
        Files that must not be overwritten.

    Raises
    ------
    ConfigurationError
        If the suffix is another one, or an input would be overwritten.
    """
    if output.is_dir():
        raise ConfigurationError(f"--output {output} is a folder: name a file in it, as mask.npy")
    suffix = output.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise ConfigurationError(
            f"--output {output} ends in {suffix}, and a mask is written as "
            f"{', '.join(MASK_SUFFIXES)}: name it {output.stem}.npy"
        )
    stem = output.with_suffix("")
    targets = {with_suffix(stem, suffix).resolve() for suffix in SUFFIXES}
    for path in inputs:
        same = {path.resolve(), path.with_suffix(".cfl").resolve()} & targets
        if same:
            raise ConfigurationError(
                f"{same.pop()} is an input and would be overwritten: give --output another name"
            )
    return stem


def with_suffix(stem: Path, suffix: str) -> Path:
    """Append a suffix; dots in the stem stay.

    Parameters
    ----------
    stem : pathlib.Path
        From `output_stem`.
    suffix : str
        With its dot.
    """
    return stem.with_name(stem.name + suffix)


def load_progress(stem: Path, identity: str) -> Design | None:
    """Return the design that was interrupted, or finished, under the same settings, or None.

    Parameters
    ----------
    stem : pathlib.Path
        From `output_stem`.
    identity : str
        Of the task.
    """
    path = with_suffix(stem, ".json")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] == FORMAT and stored["identity"] == identity:
            return Design.from_dict(stored["design"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        pass
    return None


def save_progress(
    stem: Path, identity: str, found: Design, facts: dict[str, Any] | None = None
) -> None:
    """Write the design as JSON, so that it can be gone on with.

    Parameters
    ----------
    stem : pathlib.Path
        From `output_stem`.
    identity : str
        Of the task.
    found : Design
        Finished or not.
    facts : dict, optional
        Settings and versions, for people.
    """
    content = {"format": FORMAT, "identity": identity, **(facts or {}), "design": found.to_dict()}
    with atomic_path(with_suffix(stem, ".json")) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_mask_files(stem: Path, found: Design, shape: tuple[int, int]) -> list[Path]:
    """Write a finished design: mask as npy, list and cfl, the curve as csv and png.

    Parameters
    ----------
    stem : pathlib.Path
        From `output_stem`.
    found : Design
        Finished.
    shape : tuple of int
        K-space matrix (readout, phase_encode), or both phase encodes.

    Returns
    -------
    list of pathlib.Path
        What was written.
    """
    mask = found.measured
    points = len(mask) != shape[1]
    plane = mask.reshape(shape) if points else mask
    paths = {suffix: with_suffix(stem, suffix) for suffix in SUFFIXES if suffix != ".json"}
    with atomic_path(paths[".npy"]) as temporary, temporary.open("wb") as stream:
        np.save(stream, plane)
    with atomic_path(paths[".txt"]) as temporary:
        temporary.write_text(_listed(found, shape, points), encoding="ascii")
    # READ is 1: a pattern that BART applies to every readout; then PHS1 and PHS2
    write_cfl(paths[".cfl"], plane.astype(np.complex64)[None])
    with atomic_path(paths[".csv"]) as temporary, temporary.open("w", newline="") as stream:
        _write_curve(stream, found)
    write_design_picture(paths[".png"], found, shape)
    return list(paths.values())


def _listed(found: Design, shape: tuple[int, int], points: bool) -> str:
    what = "points (phase encode, partition)" if points else "phase-encode lines"
    center = f"{shape[0] // 2} {shape[1] // 2}" if points else f"{shape[1] // 2}"
    matrix = f"{shape[0]} x {shape[1]}" if points else f"{shape[1]}"
    lines = [
        f"# {int(found.measured.sum())} of {matrix} {what}, counted from 0; the centre is {center}",
        f"# first the {int(found.start.sum())} of the calibration region, then in the order of "
        "their information",
    ]
    for candidate in (*np.flatnonzero(found.start).tolist(), *found.picks):
        where = divmod(candidate, shape[1]) if points else (candidate,)
        lines.append(" ".join(str(index) for index in where))
    return "\n".join(lines) + "\n"


def _write_curve(stream: Any, found: Design) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["n_measured", "expected_nmse", "actual_nmse", "source", "picked", "information_nats"]
    )
    for point in found.points:
        writer.writerow(
            [
                point.n_measured,
                f"{point.expected_error:.6g}",
                "" if point.actual_error is None else f"{point.actual_error:.6g}",
                "samples" if point.sampled else "predicted",
                "" if point.candidate is None else point.candidate,
                "" if point.gain is None else f"{point.gain:.6g}",
            ]
        )
