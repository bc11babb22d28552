"""``mri-alps masks``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mri_alps.cli.options import SAMPLING_SETTINGS, describe_run, each, tell_notes
from mri_alps.cli.settings_options import takes_settings
from mri_alps.pipeline import (
    OUTPUT_GROUP,
    SCAN_GROUP,
    TRAJECTORY_GROUP,
    TRAJECTORY_SETTINGS,
    ReconstructionConfiguration,
)

if TYPE_CHECKING:
    from rich.table import Table

    from mri_alps.masks.study import Interval, MaskStudy

_HEADINGS = {
    "NMSE": "NMSE",
    "PSNR": "PSNR dB",
    "SSIM": "SSIM",
    "coverage": "90 % holds",
    "wavelet_PSNR": "wavelets dB",
    "predicted_NMSE": "predicted",
    "posterior_std": "std",
    "entropy": "entropy",
    "side_lobe": "side lobe",
    "noise_amplification": "noise x",
    "seconds": "s",
}
_WITH_INTERVAL = ("NMSE", "PSNR", "SSIM")  # the others: masks_summary.csv
_SIGNIFICANT = 0.05


@takes_settings(
    ReconstructionConfiguration,
    only=(
        *SAMPLING_SETTINGS,
        *TRAJECTORY_SETTINGS,
        "correct_delays",
        "noise_std",
        "self_calibration",
    ),
    defaults={"n_evaluations": 50, "self_calibration": "off"},
)
def masks(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Raw files: fastMRI HDF5, ISMRMRD (HDF5, stream), BART cfl, .npz of shots.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for tables, figures, JSON.")
    ],
    masks: Annotated[
        Optional[str],  # noqa: UP045 - typer resolves this at run time
        typer.Option(
            "--masks",
            metavar="SPEC,...",
            help="Kinds (random, equispaced, equispaced-offset, poisson, poisson-lines, gaussian, "
            "polynomial, gaussian-points, radial, partial-fourier), files (.npy, .npz, HDF5 with "
            "a dataset 'mask', BART cfl), and measured, which leaves nothing out. Of radial and "
            "spiral scans: first, spread (every k-th shot). Left out: random, equispaced, "
            "equispaced-offset, poisson-lines, gaussian; of shots what covers k-space better.",
            rich_help_panel=SCAN_GROUP,
        ),
    ] = None,
    accelerations: Annotated[
        Optional[str],  # noqa: UP045 - typer resolves this at run time
        typer.Option(
            "--accelerations",
            metavar="R,...",
            help="Of the kinds. A file has its own, and is compared with the one that it is "
            "nearest to. Of shots: what their number is divided by. Left out: 4,8; of shots "
            "1,2,4,8.",
            rich_help_panel=SCAN_GROUP,
        ),
    ] = None,
    shots: Annotated[
        Optional[str],  # noqa: UP045 - typer resolves this at run time
        typer.Option(
            "--shots",
            metavar="N,...",
            help="Numbers of shots of a radial or spiral scan, in the place of accelerations.",
            rich_help_panel=TRAJECTORY_GROUP,
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="Write an HTML page as well.", rich_help_panel=OUTPUT_GROUP),
    ] = False,
    *,
    configuration: ReconstructionConfiguration,
) -> None:
    """Compare undersampling masks by the posteriors that they leave.

    Every slice is undersampled with every mask at every acceleration, with the same
    truth, noise and coils, and its posterior is sampled. For each: NMSE, PSNR and
    SSIM as fastMRI, coverage of the 90 % interval, the PSNR of L1-wavelets on the
    same data as a control, the error that the posterior predicts, mean standard
    deviation, entropy, side lobe of the point-spread function, largest noise
    amplification (g-factor), seconds. Means with 95 % intervals over scans, and
    paired differences with their significance; the table's last column says how
    far a mask is from the best of its acceleration.

    Of radial and spiral scans it tells how many shots are needed: error and deviation
    against their number, the reference being the image of all of them.

    Wants fully sampled scans. Of others, or without a reference, it gives what
    needs none, and ranks by the predicted error.

    Written: masks.csv (a row per slice and mask), masks_summary.csv,
    masks_differences.csv, masks.json (every number), figures, and slices/, from
    which an interrupted run goes on when the command is repeated.

    mri-alps masks val/*.h5 --masks random,equispaced,poisson-lines --accelerations 4,8 -o study

    mri-alps masks val/*.h5 --masks gaussian,mask4x.npy --accelerations 4 --report -o study

    mri-alps masks radial.h5 --shots 200,100,50,25 -o study
    """
    words = None if masks is None else split_words(masks)
    factors = None if accelerations is None else parse_numbers(accelerations)
    counts = None if shots is None else parse_counts(shots)
    if counts is not None and factors is not None:
        from mri_alps.core.errors import ConfigurationError

        raise ConfigurationError("--shots and --accelerations say the same thing: give one of them")
    run_masks(inputs, output, words, factors, configuration, report, counts)


def split_words(text: str) -> list[str]:
    """Return what commas separate.

    Parameters
    ----------
    text : str
        As the user wrote it.
    """
    return [word.strip() for word in text.split(",") if word.strip()]


def parse_numbers(text: str) -> list[float]:
    """Return the numbers that commas separate.

    Parameters
    ----------
    text : str
        As the user wrote it.

    Raises
    ------
    ConfigurationError
        If one is no number.
    """
    from mri_alps.core.errors import ConfigurationError

    try:
        return [float(word) for word in split_words(text)]
    except ValueError:
        raise ConfigurationError(
            f"--accelerations {text!r} is not a list of numbers: write for example 2,4,6,8"
        ) from None


def parse_counts(text: str) -> list[int]:
    """Return the numbers of shots that commas separate.

    Parameters
    ----------
    text : str
        As the user wrote it.

    Raises
    ------
    ConfigurationError
        If one is no whole number.
    """
    from mri_alps.core.errors import ConfigurationError

    words = split_words(text)
    if not words or not all(word.isdecimal() and len(word) < 10 for word in words):
        raise ConfigurationError(
            f"--shots {text!r} is not a list of numbers: write for example 200,100,50"
        )
    return [int(word) for word in words]


def run_masks(
    inputs: Sequence[Path],
    output: Path,
    masks: Sequence[str] | None,
    accelerations: Sequence[float] | None,
    configuration: ReconstructionConfiguration,
    report: bool = False,
    shots: Sequence[int] | None = None,
) -> MaskStudy:
    """Compare, with a progress bar; print the table and write the files.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        Raw files.
    output : pathlib.Path
        Folder.
    masks : sequence of str, optional
        Kinds and files.
    accelerations : sequence of float, optional
        Of the kinds.
    configuration : ReconstructionConfiguration
        Prior, sampler, slices.
    report : bool
        Whether to write a page.
    shots : sequence of int, optional
        Numbers of shots, instead of accelerations.
    """
    from mri_alps.cli.forecast import Forecast
    from mri_alps.cli.terminal import ProgressBar, out, print_message, stopped_by_signal
    from mri_alps.masks.study import correlation_sentence, make_study, run_study, write_study
    from mri_alps.pipeline import load_prior_for, prepare_directory

    task = make_study(inputs, masks, accelerations, configuration, shots)
    tell_notes(task.scans)
    prior, device = load_prior_for(configuration)
    prepare_directory(output)
    kept = f"what is measured is kept in {output}, repeat the command to go on from there"
    total = sum(len(s) * len(m) for s, m in zip(task.slices, task.masks, strict=True))
    forecast = Forecast("posteriors", total, f"one per slice and mask: {each(configuration)}")
    with stopped_by_signal(kept), ProgressBar() as progress:
        study = run_study(task, prior, device, output, progress, forecast)
    print_message("everything is sampled; tables and figures are written")
    settings = describe_run(
        inputs,
        configuration,
        masks=list(dict.fromkeys(c.name for c in task.candidates)),
        accelerations=sorted({c.acceleration for c in task.candidates}),
        prior_name=getattr(prior, "name", type(prior).__name__),
        checkpoint_sha256=getattr(prior, "checkpoint_sha256", "") or "",
    )
    written = write_study(study, output, settings, report)
    out().print(masks_table(study))
    print_message(correlation_sentence(study.correlation()))
    out().print("\n".join(str(path) for path in written), soft_wrap=True)
    return study


def masks_table(study: MaskStudy) -> Table:
    """Return the ranked table, one section per acceleration.

    Parameters
    ----------
    study : MaskStudy
        What was found.
    """
    from rich.table import Table

    summaries = study.summary()
    shown = [name for name in _HEADINGS if any(name in s.metrics for s in summaries)]
    table = Table(title="Masks, the best of each acceleration first; ± half of the 95 % interval")
    table.add_column("mask")
    table.add_column("R", justify="right")
    counts = {(r.mask, r.acceleration): r.n_measured for r in study.results if r.is_of_shots}
    if counts:
        table.add_column("shots", justify="right")
    for name in shown:
        table.add_column(_HEADINGS[name], justify="right")
    table.add_column("to the best", justify="right")
    accelerations = sorted({entry.acceleration for entry in summaries})
    for acceleration in accelerations:
        group = [entry for entry in summaries if entry.acceleration == acceleration]
        for entry in group:
            cells = [_cell(entry.metrics.get(name), name in _WITH_INTERVAL) for name in shown]
            behind = _behind(study, group[0].mask, entry.mask, acceleration)
            if counts:
                cells = [str(counts.get((entry.mask, acceleration), "")), *cells]
            table.add_row(entry.mask, f"{entry.achieved_acceleration:.3g}", *cells, behind)
        table.add_section()
    return table


def _cell(value: Interval | None, with_interval: bool) -> str:
    from mri_alps.masks.study import shown_interval

    if value is None or with_interval:
        return shown_interval(value, 3)
    return f"{value.mean:.3g}"


def _behind(study: MaskStudy, best: str, mask: str, acceleration: float) -> str:
    metric, unit = ("PSNR", " dB") if study.has_reference else ("predicted_NMSE", "")
    for entry in study.differences():
        if entry.acceleration != acceleration or entry.metric != metric:
            continue
        if {entry.mask, entry.other} == {best, mask}:
            sign = 1 if entry.mask == mask else -1
            text = f"{sign * entry.difference.mean:+.2g}{unit}"
            if entry.p_adjusted is None:
                return text
            mark = "*" if entry.p_adjusted < _SIGNIFICANT else ""
            return f"{text} (p {entry.p_adjusted:.1g}{mark})"
    return ""
