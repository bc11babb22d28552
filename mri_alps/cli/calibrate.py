"""``mri-alps calibrate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mri_alps.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from mri_alps.evaluation import CalibrationReport


def calibrate(
    reconstructions: Annotated[
        Path, typer.Argument(help="Folder or file of reconstructions, made without calibration.")
    ],
    targets: Annotated[
        Path, typer.Argument(help="Folder or file with reconstruction_rss or reconstruction_esc.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.json", help="The calibration.")
    ],
    confidence: Annotated[
        float,
        typer.Option(help="Wanted probability that a new volume's intervals hold 90 % of it."),
    ] = 0.9,
    anatomy: Annotated[
        str,
        typer.Option(help="What the volumes show. Left out: their acquisition attributes."),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Find how much wider intervals must be, on volumes whose truth is known.

    Every file of TARGETS is compared with the file of the same name in
    RECONSTRUCTIONS, as evaluate does. A volume's score is the factor by which
    the widths of its intervals must be multiplied to hold the truth at 90 % of
    the pixels in the head. Of n volumes the factor is the k-th smallest score,
    k = (n + 1) times the confidence, rounded up: then the intervals of a new
    volume hold 90 % of it with a probability of at least k / (n + 1), if it is
    like these (split conformal prediction). Nothing is assumed of the prior,
    the sampler or the errors, but that the new volume could have been one of
    these. 9 volumes are needed for 0.9, 19 for 0.95; with fewer, n / (n + 1)
    is guaranteed, which is said. The reference's own noise counts as error.

    The file holds for the acquisitions, kind of mask, range of accelerations,
    prior, sampler and numbers of samples and evaluations that it was made of;
    reconstruct --calibration refuses others. Calibrate on volumes that no prior
    was trained on, and leave out those on which you will measure coverage.

    mri-alps reconstruct val -o val_4x --mask equispaced --self-calibration off

    mri-alps calibrate val_4x val -o brain_4x.json --anatomy brain

    mri-alps reconstruct test -o results --calibration brain_4x.json
    """
    from mri_alps.cli.terminal import out, print_message
    from mri_alps.evaluation import calibrate_folder, write_json

    report = calibrate_folder(reconstructions, targets, confidence=confidence, anatomy=anatomy)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, report.calibration.to_dict())
    print_message(f"wrote {output}")
    if json:
        print_json(report)
        return
    out().print(calibration_table(report))


def print_json(report: CalibrationReport) -> None:
    """Print what the file holds, and the coverage of each volume without it.

    Parameters
    ----------
    report : CalibrationReport
        The calibration.
    """
    print(json.dumps(report.calibration.to_dict() | {"coverage_before": report.coverage}, indent=2))


def calibration_table(report: CalibrationReport) -> Table:
    """Return a table with a row per volume, and the factor with its guarantee below.

    Parameters
    ----------
    report : CalibrationReport
        The calibration.
    """
    from rich.table import Table

    found = report.calibration
    table = Table(title="Intervals against truth")
    table.add_column("volume")
    table.add_column("coverage of the 90 % interval", justify="right")
    table.add_column("factor that it needs", justify="right")
    for name, coverage, score in zip(found.volumes, report.coverage, found.scores, strict=True):
        table.add_row(name, f"{coverage:.3f}", f"{score:.3f}")
    low, high = found.accelerations
    table.caption = (
        f"Half-widths times {found.factor:.4g}: 90 % of the head of a new volume with a "
        f"probability of at least {found.guarantee:.3g}. For {found.anatomy or 'such scans'}, "
        f"{found.pattern}, acceleration {low:.3g} to {high:.3g}."
    )
    return table
