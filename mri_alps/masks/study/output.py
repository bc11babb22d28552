"""Files of a mask study: tables for programs, figures and a page for people."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.evaluation import number_text, write_csv, write_json, write_text
from mri_alps.evaluation.report import html_table, template_text
from mri_alps.masks.study._pictures import draw_figures
from mri_alps.masks.study._store import FORMAT
from mri_alps.masks.study.measure import MEANINGS, METRICS
from mri_alps.masks.study.statistics import LEVEL, Correlation, Difference, Interval

if TYPE_CHECKING:
    from mri_alps.masks.study.compare import MaskStudy

SLICES_CSV = "masks.csv"
SUMMARY_CSV = "masks_summary.csv"
DIFFERENCES_CSV = "masks_differences.csv"
JSON = "masks.json"
PAGE = "masks.html"


def write_study(
    study: MaskStudy, folder: Path, settings: dict[str, Any] | None = None, report: bool = False
) -> list[Path]:
    """Write tables, JSON and figures, and a page if asked for.

    Parameters
    ----------
    study : MaskStudy
        What was found.
    folder : pathlib.Path
        Where to.
    settings : dict, optional
        Settings and versions, for the JSON and the page.
    report : bool
        Whether to write the page.

    Returns
    -------
    list of pathlib.Path
        What was written.
    """
    settings = settings or {}
    content = {
        "format": FORMAT,
        **settings,
        "level": LEVEL,
        "metrics": MEANINGS,
        **study.to_dict(),
    }
    written = [folder / name for name in (SLICES_CSV, SUMMARY_CSV, DIFFERENCES_CSV, JSON)]
    write_csv(written[0], _slice_rows(study))
    write_csv(written[1], _summary_rows(study))
    write_csv(written[2], _difference_rows(study.differences()))
    write_json(written[3], content)
    figures = draw_figures(study, folder)
    written += figures
    if report:
        written.append(folder / PAGE)
        write_text(written[-1], _render_study(study, figures, settings))
    return written


def correlation_sentence(correlation: Correlation | None) -> str:
    """Say how well the predicted error tells the actual one.

    Parameters
    ----------
    correlation : Correlation or None
        Of a study.
    """
    if correlation is None:
        return "no reference: the predicted errors could not be compared with actual ones"
    coefficients = ", ".join(
        f"{name} {'-' if value is None else f'{value:.3f}'}"
        for name, value in (
            ("Pearson", correlation.pearson),
            ("Spearman", correlation.spearman),
            ("Pearson within slices", correlation.within_slices),
        )
    )
    n, ratio = correlation.n, correlation.mean_ratio
    end = "" if ratio is None else f"; predicted is {ratio:.2g} of actual"
    return f"predicted against actual NMSE (logarithms, {n} points): {coefficients}{end}"


def shown_interval(value: Interval | None, digits: int = 4) -> str:
    """Return mean and half of the 95 % interval as text.

    Parameters
    ----------
    value : Interval or None
        Empty text for None.
    digits : int
        Significant ones of the mean.
    """
    if value is None:
        return ""
    if value.upper is None:
        return f"{value.mean:.{digits}g}"
    return f"{value.mean:.{digits}g} ± {value.upper - value.mean:.2g}"


def _render_study(study: MaskStudy, figures: Sequence[Path], settings: dict[str, Any]) -> str:
    """Return a page that needs no network: the ranked table, differences, figures, settings."""
    shown = [name for name in METRICS if any(name in s.metrics for s in study.summary())]
    rows = [
        (
            f"{entry.mask} {entry.acceleration:.4g}x",
            f"{entry.achieved_acceleration:.3g}",
            *(shown_interval(entry.metrics.get(name)) for name in shown),
        )
        for entry in study.summary()
    ]
    differences = [
        (
            f"{d.acceleration:.4g}x {d.metric}",
            f"{d.mask} - {d.other}",
            shown_interval(d.difference),
            "" if d.p_adjusted is None else f"{d.p_adjusted:.2g}",
        )
        for d in study.differences()
    ]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Masks</title><style>{template_text('report.css')}\nimg {{ max-width: 100%; }}"
        "</style></head><body>",
        "<h1>Undersampling masks, compared by their posteriors</h1>",
        f"<p class='summary'>{escape(_counted(study))}</p>",
        f"<p class='summary'>{escape(correlation_sentence(study.correlation()))}</p>",
        "<h2>Ranked</h2><p class='note'>Mean ± half of the 95 % interval over scans, "
        "or over slices where there is one scan.</p>",
        _scrolled(html_table(rows, ("mask", "acceleration", *shown))),
        "<h2>Figures</h2>",
        *(_embedded(path) for path in figures),
        "<h2>Paired differences</h2><p class='note'>Slice by slice, then the mean of each scan; "
        "p of the paired t-test after Holm's correction for all pairs of one acceleration and "
        "metric.</p>",
        _scrolled(html_table(differences, ("metric", "masks", "difference", "p"))),
        "<h2>What the columns are</h2>",
        html_table([(name, MEANINGS[name]) for name in shown]),
        "<h2>Settings</h2>",
        html_table([(name, json.dumps(value, default=str)) for name, value in settings.items()]),
        "</body></html>",
    ]
    return "\n".join(parts)


def _counted(study: MaskStudy) -> str:
    slices = {result.slice_name for result in study.results}
    scans = {result.scan for result in study.results}
    reference = "" if study.has_reference else "; there is no reference, so no actual error"
    return f"{len(slices)} slices of {len(scans)} scans{reference}"


def _scrolled(content: str) -> str:
    return f"<div style='overflow-x:auto'>{content}</div>"


def _embedded(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    name = escape(path.stem.replace("_", " "))
    return f"<figure><img alt='{name}' src='data:image/png;base64,{data}'></figure>"


def _slice_rows(study: MaskStudy) -> Iterable[Sequence[Any]]:
    columns = ("scan", "slice", "mask", "acceleration", "achieved_acceleration", "n_measured")
    yield (*columns, *METRICS)
    for result in study.results:
        yield (
            *(getattr(result, name) for name in columns),
            *map(number_text, result.metrics.values()),
        )


def _summary_rows(study: MaskStudy) -> Iterable[Sequence[Any]]:
    bounds = ("mean", "lower", "upper")
    names = (f"{name}_{bound}" for name in METRICS for bound in bounds)
    yield ("mask", "acceleration", "achieved_acceleration", "n", *names)
    for entry in study.summary():
        values = [
            number_text(getattr(entry.metrics[name], bound)) if name in entry.metrics else ""
            for name in METRICS
            for bound in bounds
        ]
        count = max(value.n for value in entry.metrics.values())
        yield (entry.mask, entry.acceleration, entry.achieved_acceleration, count, *values)


def _difference_rows(differences: Iterable[Difference]) -> Iterable[Sequence[Any]]:
    yield (
        *("acceleration", "metric", "mask", "minus", "mean", "lower", "upper"),
        *("n", "p", "p_holm"),
    )
    for entry in differences:
        value = entry.difference
        numbers = (value.mean, value.lower, value.upper)
        yield (
            *(entry.acceleration, entry.metric, entry.mask, entry.other),
            *map(number_text, numbers),
            value.n,
            number_text(entry.p),
            number_text(entry.p_adjusted),
        )
