"""``mri-alps evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mri_alps.cli.terminal import out, print_message
from mri_alps.evaluation import (
    INTERVAL_SCORES,
    METRICS,
    EvaluationReport,
    draw_scores,
    evaluate_folder,
    figure_format,
    write_scores,
)

_HEADINGS = {
    "coverage": "coverage of the 90 % interval",
    "sparsification_area": "sparsification",
    "uncertainty_factor": "factor of the deviation",
}


def run_evaluate(
    reconstructions: Path,
    targets: Path,
    as_json: bool,
    csv: Path | None = None,
    figure: Path | None = None,
) -> None:
    """Score and print.

    Parameters
    ----------
    reconstructions, targets : pathlib.Path
        Two folders or two files.
    as_json : bool
        Print JSON instead of a table.
    csv, figure : pathlib.Path, optional
        Files to write.

    Raises
    ------
    ConfigurationError
        If the figure's name has an ending that cannot be drawn.
    """
    if figure is not None:
        figure_format(figure)  # before the work
    report = evaluate_folder(reconstructions, targets)
    for path, write in ((csv, write_scores), (figure, draw_scores)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(report, path)
            print_message(f"wrote {path}")
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        out().print(evaluation_table(report))


def evaluation_table(report: EvaluationReport) -> Table:
    """Return a table with one row per volume, and mean and 2 sd by acquisition and in total.

    Parameters
    ----------
    report : EvaluationReport
        The scores.
    """
    table = Table(title="Reconstructions against targets", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("volume", overflow="fold")
    table.add_column("acquisition", overflow="fold")
    for name in ("slices", *METRICS, *INTERVAL_SCORES):
        table.add_column(_HEADINGS.get(name, name), justify="right", overflow="fold")
    for volume in report.volumes:
        values = [volume.metrics[name] for name in METRICS]
        values += [getattr(volume, name) for name in INTERVAL_SCORES]
        cells = ["" if value is None else f"{value:.4g}" for value in values]
        table.add_row(volume.name, volume.acquisition, str(volume.n_slices), *cells)
    if len(report.volumes) > 1:
        table.add_section()
        groups = report.by_acquisition()
        for name, group in groups.items() if len(groups) > 1 else ():
            _add_summary(table, name, group)
        _add_summary(table, "all", report)
    for column in table.columns[2:]:  # numbers are never taken apart, names and headings are
        words = [word for cell in column.cells for word in str(cell).split()]
        column.min_width = max(map(len, words), default=1)
    left_out = []
    if report.missing:
        left_out.append(f"{len(report.missing)} targets without a reconstruction are left out.")
    if report.unscored:
        left_out.append(f"Not scored: {', '.join(report.unscored)}.")
    if left_out:
        table.caption = " ".join(left_out)
    return table


def _add_summary(table: Table, name: str, report: EvaluationReport) -> None:
    summary = report.summary()
    cells = [
        _mean(summary.get(column), len(report.volumes)) for column in (*METRICS, *INTERVAL_SCORES)
    ]
    label = "mean +/- 2 sd" if len(report.volumes) > 1 else "mean"
    table.add_row(label, name, str(sum(v.n_slices for v in report.volumes)), *cells)


def _mean(entry: dict[str, float] | None, n_volumes: int) -> str:
    if entry is None:
        return ""
    spread = f" +/- {2 * entry['std']:.4g}" if n_volumes > 1 else ""
    return f"{entry['mean']:.4g}{spread}"
