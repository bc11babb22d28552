"""The tables of a report, as HTML; all text from files is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from mri_alps.evaluation.report_data import ReportData
from mri_alps.priors.novelty import LIMIT

_GOOD_MISFIT = (0.8, 1.25)


def table(rows: Iterable[Sequence[Any]], head: Sequence[Any] = ()) -> str:
    """Return an HTML table of texts; the first cell of a row is its heading.

    Parameters
    ----------
    rows : iterable of sequence
        Cells, turned into text and escaped.
    head : sequence, optional
        Headings of the columns.
    """
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in others)
        + "</tr>"
        for first, *others in rows
    )
    if not body:
        return ""
    top = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
    return f"<table>{f'<thead><tr>{top}</tr></thead>' if top else ''}<tbody>{body}</tbody></table>"


def summary_line(data: ReportData) -> str:
    """Return one sentence on what the page shows.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    attributes = data.result.attributes
    prior, evaluations = attributes.get("prior", "?"), attributes.get("n_evaluations", "?")
    sampling = acceleration_text(data)
    return (
        f"{sampling}; {data.n_samples} posterior samples with the prior {prior}, {evaluations} "
        "evaluations each."
    )


def acceleration_text(data: ReportData) -> str:
    """Return how much of k-space was used, in words.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    mask = data.result.mask
    if mask is None or not mask.any():
        return "Sampling unknown"
    acceleration = mask[0].size / max(int(mask[0].sum()), 1)
    if acceleration == 1:
        return "Fully sampled"
    kind = "lines" if mask[0].shape[0] == 1 else "points"
    configuration = attributes_of(data, "configuration")
    retrospective = configuration.get("mask")
    how = f"left out afterwards, mask {retrospective}" if retrospective else "as the scanner did"
    return f"{acceleration:.2f}-fold undersampled {kind}, {how}"


def warning_list(data: ReportData) -> str:
    """Return what a reader has to know before looking at the images.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    facts = data.result.facts
    notes = [str(note) for note in attributes_of(data, "provenance").get("warnings") or []]
    notes += [f"Slice {index} failed: {reason}" for index, reason in data.failed.items()]
    few = data.n_used.ravel() < data.n_samples
    if few.any():
        notes.append(
            f"Chains diverged in {few.sum()} of {len(few)} slices, whose statistics rest on fewer "
            f"samples: at least {data.n_used.min()} of {data.n_samples}."
        )
    misfit = np.asarray(facts.get("data_misfit", []), dtype=float)
    outside = (misfit < _GOOD_MISFIT[0]) | (misfit > _GOOD_MISFIT[1])
    if outside.any():
        notes.append(
            f"The images do not explain the measurement to within its noise in {outside.sum()} "
            f"of {len(misfit)} slices (data misfit {_span(misfit)} where 1 is expected): the "
            "noise, the sensitivity maps or the sampler's length may be wrong, and with them "
            "the standard deviation."
        )
    foreign = np.asarray(facts.get("novelty", []), dtype=float) > LIMIT
    if foreign.any():
        notes.append(
            f"{foreign.sum()} of {len(foreign)} slices look unlike the images that the prior was "
            "trained on: do not rely on them, nor on their standard deviation."
        )
    restarts = int(np.sum(facts.get("n_restarts", 0)))
    if restarts:
        notes.append(
            f"The sampler had to restart {restarts} times with smaller steps: see its diagnostics."
        )
    return "".join(f"<li>{_text(note)}</li>" for note in notes)


def score_table(data: ReportData) -> str:
    """Return metrics against the reference, or why there are none.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    scores = data.scores()
    if not scores:
        return (
            "<p>No reference image is known for this scan, so errors and coverage cannot be "
            "counted; <code>mri-alps report --target FILE</code> takes one.</p>"
        )
    names = list(scores)
    labels = {"NMSE": "NMSE", "PSNR": "PSNR, dB", "SSIM": "SSIM"}
    rows = [
        (label, *(f"{scores[name][key]:.4g}" for name in names)) for key, label in labels.items()
    ]
    coverage = data.coverage()
    rows.append(("coverage of the 90 % interval", f"{np.nanmean(coverage):.3f}", ""))
    return table(rows, ("", *names))


def acquisition_table(data: ReportData) -> str:
    """Return what was measured and how much of it was used.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    attributes = data.result.attributes
    shape = data.result.reconstruction.shape[1:]
    scale = np.asarray(data.result.facts.get("scale", []), dtype=float)
    noise = np.asarray(data.result.facts.get("noise_std", []), dtype=float)
    rows = [
        ("scan", attributes.get("source", "")),
        ("format", attributes.get("source_format", "")),
        ("acquisition", attributes.get("acquisition", "")),
        ("k-space of a slice", attributes.get("kspace_shape", "")),
        ("image", f"{shape[0]} x {shape[1]}"),
        ("coils", attributes.get("n_coils", "")),
        ("sampling", acceleration_text(data)),
        ("noise, per real component", f"{_span(noise)} of the image scale" if noise.size else ""),
        ("image scale after whitening", _span(scale) if scale.size else ""),
    ]
    return table([row for row in rows if str(row[1])])


def provenance_tables(data: ReportData) -> str:
    """Return where the result comes from: settings, versions, the scan's own facts.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    attributes = data.result.attributes
    nested = ("configuration", "execution", "versions", "provenance", "failed_slices")
    plain = [
        (key, _value(value))
        for key, value in sorted(attributes.items())
        if key not in nested and str(value)
    ]
    parts = [f"<h3>Result</h3>{table([*plain, ('file', data.path.name)])}"]
    for key in nested:
        rows = [(name, _value(value)) for name, value in attributes_of(data, key).items()]
        title = key.replace("_", " ").capitalize()
        parts.append(f"<h3>{title}</h3>{table(rows)}" if rows else "")
    return "".join(parts)


def attributes_of(data: ReportData, key: str) -> dict[str, Any]:
    """Return a nested attribute, empty where the file does not hold it.

    Parameters
    ----------
    data : ReportData
        What was read.
    key : str
        "configuration", "execution", "versions" or "provenance".
    """
    value = data.result.attributes.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return escape(str(value))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_value(each)}" for key, each in value.items())
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _span(values: np.ndarray) -> str:
    if np.isnan(values).all():
        return "unknown"
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{low:.3g}" if np.isclose(low, high, rtol=0.01) else f"{low:.3g} to {high:.3g}"
