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
        typer.Option(help="Lines between two looks at the posterior. Left out: in eight batches."),
    ] = None,
    *,
    configuration: ReconstructionConfiguration,
) -> None:
    """Design an undersampling mask: the lines of which the posterior expects most.

    Starts from the central lines, draws posterior samples, adds the lines with the
    largest expected information, measures them in the fully sampled data, and so on
    until the budget. Several INPUTs or slices give one mask for scans like them; a
    single slice gives a mask adapted to it. A scan that is itself undersampled gets
    the best lines to add. Beside NAME.npy, which reconstruct --mask takes, there are
    a list of lines (.txt), a BART pattern (.cfl, .hdr), the curve of expected and
    actual error against lines (.csv, .png), and everything as JSON, from which an
    interrupted design goes on.

    mri-alps design-mask train/*.h5 --budget 64 --output mask4x.npy

    mri-alps reconstruct scan.h5 -o results --mask mask4x.npy
    """
    from mri_alps.masks.design import DesignSettings

    run_design_mask(inputs, output, DesignSettings(budget, batch), configuration)


def run_design_mask(
    inputs: Sequence[Path],
    output: Path,
    settings: DesignSettings,
    configuration: ReconstructionConfiguration,
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
    """
    from mri_alps.cli.forecast import Forecast
    from mri_alps.cli.terminal import ProgressBar, out, print_message, stopped_by_signal
    from mri_alps.masks.design import (
        load_progress,
        make_task,
        output_stem,
        run_task,
        save_progress,
        write_mask_files,
    )
    from mri_alps.pipeline import load_prior_for, prepare_directory

    stem = output_stem(output, inputs)
    task = make_task(inputs, settings, configuration)
    tell_notes(task.scans)
    prior, device = load_prior_for(configuration)
    prepare_directory(stem.parent)
    identity = task.identity(prior)
    resume = load_progress(stem, identity)
    if resume is not None:
        print_message(f"going on from {int(resume.measured.sum())} lines, as {stem}.json has them")
    described = describe_run(inputs, configuration, budget=task.settings.budget)
    kept = f"the lines found so far are kept in {stem}.json, repeat the command to go on"
    forecast = Forecast(
        "looks at the posterior",
        task.n_looks(resume),
        f"{task.n_slices} slices each: {each(configuration)}",
    )

    def keep(partial: Design) -> None:
        save_progress(stem, identity, partial, described)
        forecast()

    with stopped_by_signal(kept), ProgressBar() as progress:
        designed = run_task(task, prior, device, progress, resume, keep)
    save_progress(stem, identity, designed, described)
    written = write_mask_files(stem, designed, task.scans[0].shape)
    last = designed.points[-1] if designed.points else None
    if last is not None:
        actual = "" if last.actual_error is None else f", actual {last.actual_error:.4g}"
        print_message(
            f"{int(designed.measured.sum())} of {designed.start.size} measured; expected error "
            f"(NMSE) {last.expected_error:.4g}{actual}"
        )
    out().print("\n".join(str(path) for path in written), soft_wrap=True)
    return written
