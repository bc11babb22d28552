"""``mri-alps reconstruct``."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mri_alps.commands.dry_run import print_plan
from mri_alps.commands.terminal import ProgressBar, out, say
from mri_alps.errors import ConfigurationError, MriAlpsError
from mri_alps.evaluation import write_panel
from mri_alps.evaluation.pictures import MAX_ROWS, evenly_chosen
from mri_alps.rawdata import RawKSpace, read_raw
from mri_alps.reconstruction import ReconstructionConfiguration, reconstruct_to_file
from mri_alps.reconstruction.output import output_path, prepare_directory
from mri_alps.reconstruction.provenance import pixel_aspect
from mri_alps.reconstruction.volume import chosen_slices, load_prior_for


def parse_slices(text: str | None) -> tuple[int, ...] | None:
    """Parse a choice of slices such as ``0,2,5-7``.

    Parameters
    ----------
    text : str or None
        None means all slices.

    Raises
    ------
    ConfigurationError
        If the text is no such list.
    """
    if text is None:
        return None
    chosen: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            chosen += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        raise ConfigurationError(
            f"--slices takes numbers and ranges such as 3 or 0,2,5-7, found {text!r}"
        ) from None
    return tuple(dict.fromkeys(chosen))


def run_reconstruct(
    inputs: Sequence[Path],
    output: Path,
    configuration: ReconstructionConfiguration,
    dry_run: bool = False,
) -> bool:
    """Reconstruct every input; one that fails does not stop the others.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        Raw files.
    output : pathlib.Path
        Folder.
    configuration : ReconstructionConfiguration
        The settings.
    dry_run : bool
        Only print what would be done.

    Returns
    -------
    bool
        True if every input went well.
    """
    _check_names(inputs, output)
    prior, device = load_prior_for(configuration)
    if dry_run:
        return _each(inputs, lambda raw: print_plan(raw, prior, configuration, device))
    existed = output.exists()
    prepare_directory(output)
    try:
        return _each(inputs, lambda raw: reconstruct_one(raw, output, configuration, prior))
    finally:
        if not existed:
            with contextlib.suppress(OSError):
                output.rmdir()  # succeeds only if nothing was written


def _each(inputs: Sequence[Path], work: Callable[[RawKSpace], object]) -> bool:
    failures = 0
    for source in inputs:
        try:
            work(read_raw(source))
        except MriAlpsError as error:
            if len(inputs) == 1:
                raise
            say(str(error), "error")
            failures += 1
    if failures:
        say(f"{failures} of {len(inputs)} inputs failed", "error")
    return failures == 0


def reconstruct_one(
    raw: RawKSpace, output: Path, configuration: ReconstructionConfiguration, prior: Any
) -> tuple[Path, Path]:
    """Reconstruct one scan with a progress bar, and draw its picture.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    output : pathlib.Path
        Folder.
    configuration : ReconstructionConfiguration
        The settings.
    prior : ScoreModel
        The loaded prior.

    Returns
    -------
    tuple of pathlib.Path
        The HDF5 and the PNG.
    """
    with ProgressBar() as progress:
        target = reconstruct_to_file(raw, output, configuration, progress, prior)
    picture = draw(raw, target, configuration)
    if configuration.mask is None and raw.mask.all():
        say(
            f"{raw.path} is fully sampled and no --mask was given: all of it was "
            "used, so the noise is all there was to infer"
        )
    out().print(f"{target}\n{picture}", soft_wrap=True)
    return target, picture


def draw(raw: RawKSpace, target: Path, configuration: ReconstructionConfiguration) -> Path:
    """Write the PNG that stands beside a reconstruction.

    Parameters
    ----------
    raw : RawKSpace
        The scan, for its reference images and the shape of its pixels.
    target : pathlib.Path
        The reconstruction's HDF5.
    configuration : ReconstructionConfiguration
        The settings, for the heading.
    """
    indices = chosen_slices(raw, configuration)
    shown = [indices[row] for row in evenly_chosen(len(indices), MAX_ROWS)]
    found = {index: raw.read_reference(index) for index in shown}
    reference = {index: image for index, image in found.items() if image is not None}
    return write_panel(
        target,
        target.with_suffix(".png"),
        reference,
        pixel_aspect=pixel_aspect(raw),
        title=_title(raw, configuration),
    )


def _title(raw: RawKSpace, configuration: ReconstructionConfiguration) -> str:
    sampling = "as measured"
    if configuration.mask is not None:
        kind = Path(configuration.mask).name
        sampling = f"{kind} mask, acceleration {configuration.acceleration:g}"
    return (
        f"{Path(raw.path).name}: {sampling}, {configuration.n_samples} samples, "
        f"{configuration.n_evaluations} evaluations each"
    )


def _check_names(inputs: Sequence[Path], output: Path) -> None:
    counts = Counter(output_path(source, output) for source in inputs)
    twice = [str(path) for path, count in counts.items() if count > 1]
    if twice:
        raise ConfigurationError(
            f"several inputs would be written to {twice[0]}: reconstruct them into different "
            "folders"
        )
