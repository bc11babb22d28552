"""Files of a designed mask: for `reconstruct --mask`, for a scanner, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import ConfigurationError
from mri_alps.evaluation import number_text, stored_content, write_csv, write_json, write_text
from mri_alps.masks.design._pictures import write_design_picture
from mri_alps.masks.design.loop import Design
from mri_alps.masks.design.settings import shots_of
from mri_alps.rawdata import write_cfl

MASK_SUFFIXES = (".npy", ".txt", ".cfl", ".hdr")
SUFFIXES = (*MASK_SUFFIXES, ".csv", ".png", ".json")
FORMAT = "mri_alps mask design 3"


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
    targets = {_with_suffix(stem, suffix).resolve() for suffix in SUFFIXES}
    for path in inputs:
        same = {path.resolve(), path.with_suffix(".cfl").resolve()} & targets
        if same:
            raise ConfigurationError(
                f"{same.pop()} is an input and would be overwritten: give --output another name"
            )
    return stem


def _with_suffix(stem: Path, suffix: str) -> Path:
    """Append a suffix; dots in the stem stay."""
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
    try:
        text = _with_suffix(stem, ".json").read_text(encoding="utf-8")
        stored = stored_content(text, FORMAT, identity)
        return None if stored is None else Design.from_dict(stored["design"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None  # damaged: begin from nothing


def save_progress(
    stem: Path, identity: str, designed: Design, settings: dict[str, Any] | None = None
) -> None:
    """Write the design as JSON, so that it can be gone on with.

    Parameters
    ----------
    stem : pathlib.Path
        From `output_stem`.
    identity : str
        Of the task.
    designed : Design
        Finished or not.
    settings : dict, optional
        Settings and versions, for people.
    """
    marks = {"format": FORMAT, "identity": identity}
    content = {**marks, **(settings or {}), "design": designed.to_dict()}
    write_json(_with_suffix(stem, ".json"), content)


def write_mask_files(
    stem: Path,
    designed: Design,
    shape: tuple[int, int],
    *,
    per_shot: int | None = None,
    accelerations: Sequence[float] = (),
    frames: int = 1,
) -> list[Path]:
    """Write a finished design: mask as npy, list and cfl, the curve as csv and png.

    Parameters
    ----------
    stem : pathlib.Path
        From `output_stem`.
    designed : Design
        Finished.
    shape : tuple of int
        K-space matrix (readout, phase_encode), or both phase encodes.
    per_shot : int, optional
        Lines of a shot: a list of shots is written as well, as NAME_shots.txt.
    accelerations : sequence of float
        NAME_4x.npy and so on are written as well: the best choice of so many.
    frames : int
        Of a film: NAME.npy is (frames, 1, W), the cfl has them along TIME, and NAME_frame0.npy and
        so on are the mask of each.

    Returns
    -------
    list of pathlib.Path
        What was written.
    """
    mask = designed.measured
    points = len(mask) != frames * shape[1]
    plane = mask.reshape(shape) if points else mask
    if frames > 1:
        plane = mask.reshape(frames, 1, shape[1])
    paths = {suffix: _with_suffix(stem, suffix) for suffix in SUFFIXES if suffix != ".json"}
    _write_array(paths[".npy"], plane)
    write_text(paths[".txt"], _listed(designed, shape, points, frames))
    # READ is 1: a pattern that BART applies to every readout; then PHS1 and PHS2, TIME is the 11th
    pattern = plane.astype(np.complex64)[None]
    if frames > 1:
        pattern = pattern.reshape(frames, shape[1]).T.reshape(1, shape[1], *[1] * 8, frames)
    write_cfl(paths[".cfl"], pattern)
    write_csv(paths[".csv"], _curve_rows(designed))
    write_design_picture(paths[".png"], designed, shape, frames)
    written = list(paths.values())
    for frame in range(frames if frames > 1 else 0):
        written.append(_with_suffix(stem, f"_frame{frame}.npy"))
        _write_array(written[-1], plane[frame])
    path = designed.path()
    for acceleration in accelerations:
        count = round(mask.size / acceleration)
        own = path[count].reshape(plane.shape)
        written.append(_with_suffix(stem, f"_{acceleration:g}x.npy"))
        _write_array(written[-1], own)
    if per_shot is not None:
        written.append(_with_suffix(stem, "_shots.txt"))
        write_text(written[-1], _listed_shots(designed, per_shot, shape[1], frames))
    return written


def _write_array(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)


def _listed_shots(designed: Design, per_shot: int, width: int, frames: int) -> str:
    picks = np.array(designed.picks, dtype=int)
    parts = [picks]
    if frames > 1:
        parts = [picks[picks // width == frame] % width for frame in range(frames)]
    shots = [shot for part in parts for shot in shots_of(part, per_shot)]
    listed = "".join(" ".join(map(str, shot)) + "\n" for shot in shots)
    order = f", {len(shots) // frames} of each frame, frame by frame" if frames > 1 else ""
    return (
        f"# {len(shots)} shots of {per_shot} lines, beside the calibration region{order}\n{listed}"
    )


def check_accelerations(
    designed: Sequence[float], n_start: int, budget: int, size: int, frames: int = 1
) -> None:
    """Refuse accelerations that a design does not pass through.

    Parameters
    ----------
    designed : sequence of float
        Asked for.
    n_start, budget, size : int
        Candidates of the calibration region, of the whole design, and in all.
    frames : int
        Of a film, which is designed for one number of lines.

    Raises
    ------
    ConfigurationError
        If one needs fewer or more candidates.
    """
    if designed and frames > 1:
        raise ConfigurationError(
            f"{frames} frames are designed for the budget alone, found {len(designed)} "
            "accelerations: leave --accelerations out"
        )
    for acceleration in designed:
        count = round(size / acceleration) if acceleration > 0 else 0
        if not n_start <= count <= budget:
            raise ConfigurationError(
                f"acceleration {acceleration:g} is {count} of {size}, and the design goes from "
                f"{n_start} to {budget}: change --accelerations or --budget"
            )


def _listed(designed: Design, shape: tuple[int, int], points: bool, frames: int) -> str:
    what = "points (phase encode, partition)" if points else "phase-encode lines"
    center = f"{shape[0] // 2} {shape[1] // 2}" if points else f"{shape[1] // 2}"
    matrix = f"{shape[0]} x {shape[1]}" if points else f"{shape[1]}"
    if frames > 1:
        what, matrix = "phase-encode lines (frame, line)", f"{frames} x {shape[1]}"
    count = int(designed.measured.sum())
    lines = [
        f"# {count} of {matrix} {what}, counted from 0; the centre is {center}",
        f"# first the {int(designed.start.sum())} of the calibration region, then the most useful "
        "first",
    ]
    for candidate in (*np.flatnonzero(designed.start).tolist(), *designed.picks):
        where = divmod(candidate, shape[1]) if points or frames > 1 else (candidate,)
        lines.append(" ".join(str(index) for index in where))
    return "\n".join(lines) + "\n"


def _curve_rows(designed: Design) -> Iterator[Sequence[Any]]:
    yield (
        "n_measured",
        "expected_nmse",
        "actual_nmse",
        "source",
        "picked",
        "gain_nats",
        "best_choice",
    )
    for point in designed.points:
        yield (
            point.n_measured,
            number_text(point.expected_error),
            number_text(point.actual_error),
            "samples" if point.sampled else "predicted",
            "" if point.candidate is None else point.candidate,
            number_text(point.gain),
            "" if point.picks is None else " ".join(map(str, point.picks)),
        )
