"""``mri-alps design-mask``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mri_alps.cli.options import describe_run, each, takes_sampling_settings, tell_notes
from mri_alps.pipeline import ReconstructionConfiguration

if TYPE_CHECKING:
    from mri_alps.masks.design import Design, DesignSettings


@takes_sampling_settings
def design_mask(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Raw files: fastMRI HDF5, ISMRMRD (HDF5, stream) or BART cfl, of one matrix.",
        ),
    ],
    budget: Annotated[
        int,
        typer.Option(help="Phase-encode lines in all, the centre included; points for a 3-D scan."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Mask to write: NAME.npy, with more files beside it."),
    ],
    batch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Lines between two looks at the posterior. Left out: all at once by error or "
            "task, in eight batches by information."
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="error: the expected squared error of the image in the object. information: "
            "nats, large and small things alike. task: the expected squared error of --task."
        ),
    ] = "error",
    task: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help=".npy of the image's size: a region of 1 in 0, or a template whose contrast is "
            "to be known, as a lesion."
        ),
    ] = None,
    accelerations: Annotated[
        str,
        typer.Option(
            metavar="R,...",
            help="Write the best mask of each of these as well, NAME_4x.npy and so on, up to the "
            "budget.",
        ),
    ] = "",
    partial_fourier: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Measure only this part of the phase encodes, from the far edge on."),
    ] = None,
    per_shot: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Lines of a shot: those beside the centre fill whole shots, listed in "
            "NAME_shots.txt, each a sweep over k-space."
        ),
    ] = None,
    shutter: Annotated[
        bool, typer.Option("--shutter", help="3-D: only points in the ellipse of the matrix.")
    ] = False,
    frames: Annotated[
        int,
        typer.Option(
            help="A film: lines for each of so many frames, --budget in each, which share what "
            "they measured; NAME_frame0.npy and so on."
        ),
    ] = 1,
    dynamic: Annotated[
        float,
        typer.Option(
            help="With --frames: part of what is unknown that changes from frame to frame. 0: "
            "nothing moves; 1: frames share nothing."
        ),
    ] = 0.2,
    *,
    configuration: ReconstructionConfiguration,
) -> None:
    """Design an undersampling mask: the lines that lower the expected error most.

    Starts from the central lines, draws posterior samples, and looks for the lines
    that would leave the smallest expected error: one after the other, then
    exchanged until nothing improves, for every number of lines up to the budget.
    Several INPUTs or slices give one mask for scans like them; a single slice gives
    a mask adapted to it, and --batch 4 measures four lines in the fully sampled
    data before it looks again. A scan that is itself undersampled gets the best
    lines to add. Beside NAME.npy, which reconstruct --mask takes, there are a list
    of lines (.txt), a BART pattern (.cfl, .hdr), the curve of expected and actual
    error against lines (.csv, .png), and everything as JSON, from which an
    interrupted design goes on.

    mri-alps design-mask train/*.h5 --budget 64 --output mask.npy --accelerations 4,6,8

    mri-alps reconstruct scan.h5 -o results --mask mask_8x.npy
    """
    from mri_alps.cli.masks import parse_numbers
    from mri_alps.masks.design import DesignSettings

    settings = DesignSettings(
        budget, batch, objective, task, partial_fourier, per_shot, shutter, frames, dynamic
    )
    run_design_mask(inputs, output, settings, configuration, parse_numbers(accelerations))


def run_design_mask(
    inputs: Sequence[Path],
    output: Path,
    settings: DesignSettings,
    configuration: ReconstructionConfiguration,
    accelerations: Sequence[float] = (),
) -> list[Path]:
    """Design, with a progress bar, and write the files.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        Raw files.
    output : pathlib.Path
        Name of the mask.
    settings : DesignSettings
        Budget and batch.
    configuration : ReconstructionConfiguration
        Prior, sampler, slices.
    accelerations : sequence of float
        Masks of these are written as well.
    """
    from mri_alps.cli.forecast import Forecast
    from mri_alps.cli.terminal import ProgressBar, out, print_message, stopped_by_signal
    from mri_alps.masks.design import (
        check_accelerations,
        forecast_sentence,
        load_progress,
        make_task,
        output_stem,
        run_task,
        save_progress,
        spread_sentence,
        write_mask_files,
    )
    from mri_alps.pipeline import load_prior_for, prepare_directory

    stem = output_stem(output, inputs)
    task = make_task(inputs, settings, configuration)
    n_start, size = int(task.start.sum()), task.start.size
    check_accelerations(accelerations, n_start, task.total, size, settings.frames)
    tell_notes(task.scans)
    prior, device = load_prior_for(configuration)
    prepare_directory(stem.parent)
    identity = task.identity(prior)
    resume = load_progress(stem, identity)
    if resume is not None:
        print_message(f"going on from {int(resume.measured.sum())} lines, as {stem}.json has them")
    described = describe_run(inputs, configuration, **task.settings.describe())
    kept = f"the lines found so far are kept in {stem}.json, repeat the command to go on"
    forecast = Forecast(
        "looks at the posterior",
        task.n_looks(resume),
        f"{task.n_slices} {'slice' if task.n_slices == 1 else 'slices'} each: "
        f"{each(configuration)}",
    )

    def keep(partial: Design) -> None:
        save_progress(stem, identity, partial, described)
        forecast()

    with stopped_by_signal(kept), ProgressBar() as progress:
        designed = run_task(task, prior, device, progress, resume, keep)
    save_progress(stem, identity, designed, described)
    written = write_mask_files(
        stem,
        designed,
        task.scans[0].shape,
        per_shot=settings.per_shot,
        accelerations=accelerations,
        frames=settings.frames,
    )
    last = designed.points[-1] if designed.points else None
    if last is not None:
        actual = "" if last.actual_error is None else f", actual {last.actual_error:.4g}"
        print_message(
            f"{int(designed.measured.sum())} of {designed.start.size} measured; expected error "
            f"(NMSE) {last.expected_error:.4g}{actual}"
        )
    for sentence in (spread_sentence(designed), forecast_sentence(designed)):
        if sentence:
            print_message(sentence)
    out().print("\n".join(str(path) for path in written), soft_wrap=True)
    return written
