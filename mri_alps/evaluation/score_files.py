"""Scores of a folder as a table for other programs, and as a figure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.evaluation.figures import figure_format, new_figure, save_figure
from mri_alps.evaluation.files import write_csv
from mri_alps.evaluation.folder import INTERVAL_SCORES, METRICS, EvaluationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NOMINAL = 0.9


def write_scores(report: EvaluationReport, path: Path) -> None:
    """Write one row per volume, then mean and 2 sd of each acquisition and of everything.

    Parameters
    ----------
    report : EvaluationReport
        The scores.
    path : pathlib.Path
        The file.
    """
    write_csv(path, _score_rows(report), line_end="\r\n")


def _score_rows(report: EvaluationReport) -> Iterator[list[Any]]:
    columns = (*METRICS, *INTERVAL_SCORES)
    yield ["row", "name", "acquisition", "n_slices", *columns]
    for volume in report.volumes:
        values = [volume.metrics[name] for name in METRICS]
        values += [getattr(volume, name) for name in INTERVAL_SCORES]
        yield ["volume", volume.name, volume.acquisition, volume.n_slices, *map(_text, values)]
    groups = {**report.by_acquisition(), "all": report}
    for name, group in groups.items():
        summary = group.summary()
        count = sum(volume.n_slices for volume in group.volumes)
        for row, key, factor in (("mean", "mean", 1), ("2 sd", "std", 2)):
            means = [factor * summary[c][key] if c in summary else None for c in columns]
            yield [row, "", name, count, *map(_text, means)]


def _text(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def draw_scores(report: EvaluationReport, path: Path) -> None:
    """Draw the metrics by acquisition, coverage against sharpness, and sparsification.

    Parameters
    ----------
    report : EvaluationReport
        The scores.
    path : pathlib.Path
        The file; its ending decides the format (png, pdf, svg).
    """
    figure = new_figure(3.2 * (len(METRICS) + 2), 3.4)
    axes = figure.subplots(1, len(METRICS) + 2)
    groups = report.by_acquisition()
    for axis, metric in zip(axes, METRICS, strict=False):
        values = [[v.metrics[metric] for v in group.volumes] for group in groups.values()]
        axis.boxplot(values, widths=0.6)
        axis.set_xticks(range(1, len(groups) + 1), list(groups), rotation=30, fontsize=8)
        axis.set_title(f"{metric} by acquisition", fontsize=9)
    _draw_intervals(axes[-2], groups)
    _draw_sparsification(axes[-1], report)
    save_figure(figure, path, dpi=130, file_format=figure_format(path))


def _draw_intervals(axis: Axes, groups: dict[str, EvaluationReport]) -> None:
    for name, group in groups.items():
        points = [(v.sharpness, v.coverage) for v in group.volumes if v.sharpness is not None]
        if points:
            sharpness, coverage = zip(*points, strict=True)
            axis.scatter(sharpness, coverage, s=18, label=name)
            axis.legend(fontsize=7)
    axis.axhline(_NOMINAL, color="black", linewidth=0.8, linestyle="--")
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("mean width / mean intensity", fontsize=8)
    axis.set_title("coverage of the 90 % interval", fontsize=9)


def _draw_sparsification(axis: Axes, report: EvaluationReport) -> None:
    curve = report.sparsification()
    if curve:
        axis.plot(curve["fraction"], curve["error"], label="by standard deviation")
        axis.plot(curve["fraction"], curve["oracle"], "--", label="by the error itself")
        axis.legend(fontsize=7)
    # 1 where nothing is discarded; an uncertainty that misleads goes far above.
    axis.set_ylim(0, 1.05 * max((1.0, *curve.get("error", ()), *curve.get("oracle", ()))))
    axis.set_xlabel("fraction discarded", fontsize=8)
    axis.set_title("error of what is left", fontsize=9)
