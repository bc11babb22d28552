"""The tables and notes of a report, as HTML; all text from files is escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np

from mri_alps.calibration import LARGEST_ERROR, CalibrationPortrait
from mri_alps.evaluation.calibration_figure import draw_calibration
from mri_alps.evaluation.pictures import evenly_chosen
from mri_alps.evaluation.report._data import ReportData, summary_of_levels
from mri_alps.evaluation.report._left_out import left_out_sentence
from mri_alps.evaluation.report._misfit import misfit_notes, span
from mri_alps.evaluation.report._shots import path_facts, rows_of_shots, sampling_of_shots
from mri_alps.evaluation.uncertainty_factor import calibrated_factors
from mri_alps.pipeline import CALIBRATION, SELF_CALIBRATION, UNKNOWN_IMAGE
from mri_alps.priors import NOVELTY_LIMIT

MAX_CALIBRATIONS = 3
_STUDY = "study"
"""Key of the provenance with the patient and the examination: pages are handed on, it is not."""
_COLUMNS = {
    "data_misfit": "data misfit",
    "score_energy": "score energy",
    "split_r_hat": "split R-hat",
    "n_restarts": "restarts",
    "n_evaluations": "evaluations",
    "novelty": "foreignness",
    "calibration_misfit": "centre unexplained",
    "uncertainty_factor": "factor of the deviation",
    "noise_std": "noise of the image scale",
    "seconds": "seconds",
}


def html_table(rows: Iterable[Sequence[Any]], head: Sequence[Any] = ()) -> str:
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


def page_parts(data: ReportData) -> dict[str, str]:
    """Return what the page says, by the names of the places in its frame.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    return {
        "summary": _text(_summary_line(data)),
        "warnings": _warning_list(data),
        "left_out": _text(left_out_sentence(data)),
        "scores": _score_table(data),
        "convergence": _convergence_table(data),
        "convergence_notes": _convergence_notes(data),
        "acquisition": _acquisition_table(data),
        "provenance": _provenance_tables(data),
        "calibration_pictures": _calibration_pictures(data),
        "reference": _text(data.reference_name),
    }


def _summary_line(data: ReportData) -> str:
    """Return one sentence on what the page shows."""
    attributes = data.result.attributes
    prior, evaluations = attributes.get("prior", "?"), attributes.get("n_evaluations", "?")
    sampling = _acceleration_text(data)
    return (
        f"{sampling}; {data.n_samples} posterior samples with the prior {prior}, {evaluations} "
        "evaluations each."
    )


def _acceleration_text(data: ReportData) -> str:
    """Return how much of k-space was used, in words."""
    facts = path_facts(data.result.diagnostics)
    if facts:
        return sampling_of_shots(facts, _attributes_of(data, "configuration").get("shots"))
    mask = data.result.mask
    if mask is None or not mask.any():
        return "Sampling unknown"
    acceleration = mask[0].size / max(int(mask[0].sum()), 1)
    if acceleration == 1:
        return "Fully sampled"
    kind = "lines" if mask[0].shape[0] == 1 else "points"
    configuration = _attributes_of(data, "configuration")
    retrospective = configuration.get("mask")
    how = f"left out afterwards, mask {retrospective}" if retrospective else "as the scanner did"
    return f"{acceleration:.2f}-fold undersampled {kind}, {how}"


def _warning_list(data: ReportData) -> str:
    """Return what a reader has to know before looking at the images."""
    scalars = data.result.scalars
    notes = [str(note) for note in _attributes_of(data, "provenance").get("warnings") or []]
    notes += [f"Slice {index} failed: {reason}" for index, reason in data.failed.items()]
    few = data.n_used.ravel() < data.n_samples
    if few.any():
        notes.append(
            f"Chains diverged in {few.sum()} of {len(few)} slices, whose statistics rest on fewer "
            f"samples: at least {data.n_used.min()} of {data.n_samples}."
        )
    misfit = np.asarray(scalars.get("data_misfit", []), dtype=float)
    notes += misfit_notes(misfit)
    unexplained = np.asarray(scalars.get("calibration_misfit", []), dtype=float) > LARGEST_ERROR
    if unexplained.any():
        notes.append(
            f"The image of {unexplained.sum()} of {len(unexplained)} slices leaves more than "
            f"{100 * LARGEST_ERROR:.0f} % of the centre of k-space unexplained: the sensitivity "
            "maps, the centre of k-space or the noise are wrong, and so is the image."
        )
    foreign = np.asarray(scalars.get("novelty", []), dtype=float) > NOVELTY_LIMIT
    if foreign.any():
        notes.append(
            f"{foreign.sum()} of {len(foreign)} slices look unlike the images that the prior was "
            "trained on: do not rely on them, nor on their standard deviation."
        )
    factor = np.max(np.nan_to_num(calibrated_factors(scalars)), initial=0.0)
    if factor > UNKNOWN_IMAGE:
        notes.append(
            "The image is not what the prior knows, or the sensitivity maps do not fit: samples "
            f"that were left out are {factor:.2f} times farther from their prediction than the "
            "posterior says. The standard deviation has been made larger by that; more calibration "
            "lines, or a prior trained on such images, would serve better."
        )
    restarts = int(np.sum(scalars.get("n_restarts", 0)))
    if restarts:
        notes.append(
            f"The sampler had to restart {restarts} times with smaller steps: see its diagnostics."
        )
    return "".join(f"<li>{_text(note)}</li>" for note in notes)


def _score_table(data: ReportData) -> str:
    """Return metrics against the reference, or why there are none."""
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
    return html_table(rows, ("", *names))


def _convergence_table(data: ReportData) -> str:
    """Return the sampler's figures slice by slice, those at the end of its path."""
    known = _available_figures(data)
    coverage = data.coverage()
    rows = [
        (
            index,
            *(_figure(values[row]) for values in known.values()),
            *(_figure(value) for value in coverage[row : row + 1]),
        )
        for row, index in enumerate(data.result.slices.tolist())
    ]
    labels = [_COLUMNS[name] for name in known]
    return html_table(rows, ("slice", *labels, *(["90 % coverage"] if coverage else [])))


def _convergence_notes(data: ReportData) -> str:
    """Return how to read the figures, and why R-hat is not among them where it is not."""
    known = _available_figures(data)
    notes = [_r_hat_note(data, known.get("split_r_hat"))]
    if "data_misfit" in known:
        notes.append(
            "<b>Data misfit</b> is the squared distance of the samples to the measurement over "
            "its noise, which with several coils includes an allowance for inexact sensitivity "
            "maps: about 1 at the end. Above, the images do not explain the measurement; below, "
            "they explain its noise as well, or the maps are better than allowed for."
        )
    if "score_energy" in known:
        notes.append(
            "<b>Score energy</b> is the squared score of the prior at the samples over what it is "
            "on the prior's own images: about 1 at the end. Well above, the chains are where the "
            "prior does not expect images, and its score is not to be trusted."
        )
    if "calibration_misfit" in known:
        notes.append(
            "<b>Centre unexplained</b> is the part of the low-resolution coil images, by its norm, "
            "that the posterior mean leaves over: a few hundredths at most where noise, maps and "
            "the centre of k-space are right."
        )
    if "novelty" in known:
        notes.append(
            "<b>Foreignness</b> says how much worse the prior denoises the image than held-out "
            f"images of its own kind, in their standard deviations: above {NOVELTY_LIMIT:g} do not "
            "rely on the result."
        )
    if "uncertainty_factor" in known:
        notes.append(
            "<b>Factor of the deviation</b> is how much farther than the prior says samples that "
            "were left out are from their prediction: the standard deviation has been scaled by it."
        )
    notes.append(
        "None of these proves that the samples are right: the coverage against a reference says "
        "more, where there is one."
    )
    return "".join(f'<p class="note">{note}</p>' for note in notes)


def _acquisition_table(data: ReportData) -> str:
    """Return what was measured and how much of it was used."""
    attributes = data.result.attributes
    shape = data.result.reconstruction.shape[1:]
    scale = np.asarray(data.result.scalars.get("scale", []), dtype=float)
    noise = np.asarray(data.result.scalars.get("noise_std", []), dtype=float)
    rows = [
        ("scan", attributes.get("source", "")),
        ("format", attributes.get("source_format", "")),
        ("acquisition", attributes.get("acquisition", "")),
        ("k-space of a slice", attributes.get("kspace_shape", "")),
        ("image", f"{shape[0]} x {shape[1]}"),
        ("coils", attributes.get("n_coils", "")),
        ("sampling", _acceleration_text(data)),
        ("noise, per real component", f"{span(noise)} of the image scale" if noise.size else ""),
        ("image scale after whitening", span(scale) if scale.size else ""),
        *rows_of_shots(path_facts(data.result.diagnostics)),
    ]
    return html_table([row for row in rows if str(row[1])])


def _calibration_pictures(data: ReportData) -> str:
    """Return pictures of the calibration of a few slices, those there are."""
    diagnostics = data.result.diagnostics
    known = [row for row, each in enumerate(diagnostics) if CALIBRATION in each]
    chosen = [known[place] for place in evenly_chosen(len(known), MAX_CALIBRATIONS)]
    pictures = [_calibration_picture(data, row) for row in chosen]
    if not any(pictures):
        return '<p class="note">This file holds no calibration: reconstruct the scan anew.</p>'
    return "".join(pictures)


def _calibration_picture(data: ReportData, row: int) -> str:
    title = f"slice {int(data.result.slices[row])}"
    aspect = image_aspect(data.result.attributes.get("pixel_aspect", 1.0))
    stream = BytesIO()
    try:
        portrait = CalibrationPortrait.from_plain(data.result.diagnostics[row][CALIBRATION])
        draw_calibration(portrait, title, aspect).savefig(stream, dpi=80, format="png")
    except (ValueError, TypeError, KeyError):  # of what others wrote: a page without the picture
        return ""
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<figure><img class="calibration" alt="Calibration of {title}: coil images, sensitivity '
        f'maps, eigenvalues, noise, centre of k-space, weights, trajectory" '
        f'src="data:image/png;base64,{encoded}"></figure>'
    )


def image_aspect(value: Any) -> float:
    """Return the height of a pixel over its width as a file states it; 1 if that is no such thing.

    Parameters
    ----------
    value : any
        From the file.
    """
    try:
        aspect = float(value)
    except (TypeError, ValueError):
        return 1.0
    return aspect if 0.05 < aspect < 20 else 1.0


def _provenance_tables(data: ReportData) -> str:
    """Return where the result comes from: settings, versions, the scan's own facts."""
    attributes = data.result.attributes
    names = ("configuration", "execution", "versions", SELF_CALIBRATION, "provenance")
    nested = [name for name in (*names, "failed_slices") if isinstance(attributes.get(name), dict)]
    plain = [
        (key, _value(value))
        for key, value in sorted(attributes.items())
        if key not in nested and str(value)
    ]
    parts = [f"<h3>Result</h3>{html_table([*plain, ('file', data.path.name)])}"]
    for key in nested:
        rows = [
            (name, _value(value))
            for name, value in _attributes_of(data, key).items()
            if name != _STUDY
        ]
        title = key.replace("_", " ").capitalize()
        parts.append(f"<h3>{title}</h3>{html_table(rows)}" if rows else "")
    return "".join(parts)


def _attributes_of(data: ReportData, key: str) -> dict[str, Any]:
    """Return a nested attribute, empty where the file does not hold it."""
    value = data.result.attributes.get(key)
    return value if isinstance(value, dict) else {}


def _r_hat_note(data: ReportData, r_hat: np.ndarray | None) -> str:
    steps = _final_steps(data)
    count = "one final step" if steps == 1 else f"{steps} final steps"
    if r_hat is None:
        why = "for this run" if steps is None else f"with {count}"
        independent = (
            "R-hat compares stretches of the chains after they have arrived, which takes at "
            "least four steps there. Each sample is the end of a chain of its own, independent "
            "of the others from its start on; whether the chains arrived is for the figures at "
            "their end to say."
        )
        return f"<b>R-hat: not available</b> {escape(why)}, chains are independent. {independent}"
    missing = int((~np.isfinite(r_hat)).sum())
    parts = [
        "<b>Split R-hat</b> compares the chains in their "
        f"{'final steps' if steps is None else count}: near 1 when they agree, and large and "
        "noisy where these are few or follow each other closely, though the chains are "
        "independent from the start."
    ]
    if missing:
        parts.append(f"It is not available (-) in {missing} of {len(r_hat)} slices.")
    return " ".join(parts)


def _final_steps(data: ReportData) -> int | None:
    """Steps after arrival that R-hat had, where all slices say the same."""
    counts = [each.get("n_final_steps") for each in data.result.diagnostics]
    same = bool(counts) and all(value == counts[0] for value in counts)
    return counts[0] if same and isinstance(counts[0], int) else None


def _available_figures(data: ReportData) -> dict[str, np.ndarray]:
    """Figures that at least one slice has, in the order of the columns."""
    figures: dict[str, Any] = dict(data.result.scalars)
    figures["uncertainty_factor"] = calibrated_factors(data.result.scalars)
    if data.result.diagnostics:
        figures["score_energy"] = [_last_energy(each) for each in data.result.diagnostics]
    columns = {
        name: np.asarray(figures[name], dtype=float).reshape(-1)
        for name in _COLUMNS
        if name in figures
    }
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}


def _last_energy(diagnostics: dict[str, Any]) -> float:
    levels = summary_of_levels(diagnostics)
    return levels[-1].get("score_energy", np.nan) if levels else np.nan


def _figure(value: Any) -> str:
    number = float(value)
    return f"{number:.4g}" if np.isfinite(number) else "-"


def _text(value: object) -> str:
    return escape(str(value))


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_value(each)}" for key, each in value.items())
    return value if isinstance(value, str) else json.dumps(value, default=str)
