"""``mri-alps evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from mri_alps.commands.terminal import out
from mri_alps.evaluation import EvaluationReport, evaluate_folder
from mri_alps.evaluation.folder import METRICS


def run_evaluate(reconstructions: Path, targets: Path, as_json: bool) -> None:
    """Score and print.

    Parameters
    ----------
    reconstructions, targets : pathlib.Path
        Two folders or two files.
    as_json : bool
        Print JSON instead of a table.
    """
    report = evaluate_folder(reconstructions, targets)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        out().print(evaluation_table(report))


def evaluation_table(report: EvaluationReport) -> Table:
    """Return a table with one row per volume and the mean over volumes.

    Parameters
    ----------
    report : EvaluationReport
        The scores.
    """
    table = Table(title="Reconstructions against targets")
    table.add_column("volume")
    for name in ("slices", *METRICS, "coverage of the 90 % interval"):
        table.add_column(name, justify="right")
    for volume in report.volumes:
        metrics = [f"{volume.metrics[name]:.4g}" for name in METRICS]
        coverage = "" if volume.coverage is None else f"{volume.coverage:.3f}"
        table.add_row(volume.name, str(volume.n_slices), *metrics, coverage)
    if len(report.volumes) > 1:
        summary = report.summary()
        cells = [_mean(summary.get(name)) for name in (*METRICS, "coverage")]
        table.add_section()
        table.add_row("mean +/- 2 sd", "", *cells)
    return table


def _mean(entry: dict[str, float] | None) -> str:
    return "" if entry is None else f"{entry['mean']:.4g} +/- {2 * entry['std']:.4g}"
