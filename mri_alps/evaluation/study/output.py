"""Files of a mask study: tables for programs, figures and a page for people."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from mri_alps.evaluation.report_tables import table
from mri_alps.evaluation.study.compare import MaskStudy
from mri_alps.evaluation.study.measure import MEANINGS, METRICS
from mri_alps.evaluation.study.pictures import draw_acceleration, draw_images, draw_prediction
from mri_alps.evaluation.study.statistics import LEVEL, Correlation, Difference, Interval
from mri_alps.evaluation.study.store import FORMAT
from mri_alps.rawdata.files import atomic_path

SLICES_CSV = "masks.csv"
SUMMARY_CSV = "masks_summary.csv"
DIFFERENCES_CSV = "masks_differences.csv"
JSON = "masks.json"
PAGE = "masks.html"


def write_study(
    study: MaskStudy, folder: Path, facts: dict[str, Any] | None = None, report: bool = False
) -> list[Path]:
    """Write tables, JSON and figures, and a page if asked for.

    Parameters
    ----------
    study : MaskStudy
        What was found.
    folder : pathlib.Path
        Where to.
    facts : dict, optional
        Settings and versions, for the JSON and the page.
    report : bool
        Whether to write the page.

    Returns
    -------
    list of pathlib.Path
        What was written.
    """
    facts = facts or {}
    content = {
        "format": FORMAT,
        **facts,
        "level": LEVEL,
        "metrics": MEANINGS,
        **study.to_dict(),
    }
    written = [folder / name for name in (SLICES_CSV, SUMMARY_CSV, DIFFERENCES_CSV, JSON)]
    _write_csv(written[0], _slice_rows(study))
    _write_csv(written[1], _summary_rows(study))
    _write_csv(written[2], _difference_rows(study.differences()))
    with atomic_path(written[3]) as temporary:
        text = json.dumps(content, indent=1, allow_nan=False, default=str)
        temporary.write_text(text, encoding="utf-8")
    figures = [*draw_images(study, folder), draw_acceleration(study, folder)]
    prediction = draw_prediction(study, folder)
    if prediction is not None:
        figures.append(prediction)
    written += figures
    if report:
        page = folder / PAGE
        with atomic_path(page) as temporary:
            temporary.write_text(render_study(study, figures, facts), encoding="utf-8")
        written.append(page)
    return written


def correlation_sentence(found: Correlation | None) -> str:
    """Say how well the predicted error tells the actual one.

    Parameters
    ----------
    found : Correlation or None
        Of a study.
    """
    if found is None:
        return "no reference: the predicted errors could not be compared with actual ones"
    coefficients = ", ".join(
        f"{name} {'-' if value is None else f'{value:.3f}'}"
        for name, value in (
            ("Pearson", found.pearson),
            ("Spearman", found.spearman),
            ("Pearson within slices", found.within_slices),
        )
    )
    ratio = "" if found.mean_ratio is None else f"; predicted is {found.mean_ratio:.2g} of actual"
    return f"predicted against actual NMSE (logarithms, {found.n} points): {coefficients}{ratio}"


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


def render_study(study: MaskStudy, figures: Sequence[Path], facts: dict[str, Any]) -> str:
    """Return a page that needs no network: the ranked table, differences, figures, settings.

    Parameters
    ----------
    study : MaskStudy
        What was found.
    figures : sequence of pathlib.Path
        PNG files that go into it.
    facts : dict
        Settings and versions.
    """
    style = (resources.files("mri_alps.evaluation") / "templates" / "report.css").read_text("utf-8")
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
        f"<title>Masks</title><style>{style}\nimg {{ max-width: 100%; }}</style></head><body>",
        "<h1>Undersampling masks, compared by their posteriors</h1>",
        f"<p class='summary'>{escape(_counted(study))}</p>",
        f"<p class='summary'>{escape(correlation_sentence(study.correlation()))}</p>",
        "<h2>Ranked</h2><p class='note'>Mean ± half of the 95 % interval over slices.</p>",
        _scrolled(table(rows, ("mask", "acceleration", *shown))),
        "<h2>Figures</h2>",
        *(_embedded(path) for path in figures),
        "<h2>Paired differences</h2><p class='note'>Slice by slice; p of the paired t-test after "
        "Holm's correction for all pairs of one acceleration and metric.</p>",
        _scrolled(table(differences, ("metric", "masks", "difference", "p"))),
        "<h2>What the columns are</h2>",
        table([(name, MEANINGS[name]) for name in shown]),
        "<h2>Settings</h2>",
        table([(name, json.dumps(value, default=str)) for name, value in facts.items()]),
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


def _write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream, lineterminator="\n").writerows(rows)


def _slice_rows(study: MaskStudy) -> Iterable[Sequence[Any]]:
    facts = ("scan", "slice", "mask", "acceleration", "achieved_acceleration", "n_measured")
    yield (*facts, *METRICS)
    for result in study.results:
        yield (*(getattr(result, name) for name in facts), *map(_text, result.metrics.values()))


def _summary_rows(study: MaskStudy) -> Iterable[Sequence[Any]]:
    bounds = ("mean", "lower", "upper")
    names = (f"{name}_{bound}" for name in METRICS for bound in bounds)
    yield ("mask", "acceleration", "achieved_acceleration", "n_slices", *names)
    for entry in study.summary():
        values = [
            _text(getattr(entry.metrics[name], bound)) if name in entry.metrics else ""
            for name in METRICS
            for bound in bounds
        ]
        count = max(value.n for value in entry.metrics.values())
        yield (entry.mask, entry.acceleration, entry.achieved_acceleration, count, *values)


def _difference_rows(differences: Iterable[Difference]) -> Iterable[Sequence[Any]]:
    yield (
        *("acceleration", "metric", "mask", "minus", "mean", "lower", "upper"),
        *("n_slices", "p", "p_holm"),
    )
    for entry in differences:
        value = entry.difference
        numbers = (value.mean, value.lower, value.upper)
        yield (
            *(entry.acceleration, entry.metric, entry.mask, entry.other),
            *map(_text, numbers),
            value.n,
            _text(entry.p),
            _text(entry.p_adjusted),
        )


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
