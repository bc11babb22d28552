"""Whether the sampler arrived: its figures slice by slice, and how to read them, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from mri_alps.evaluation.report_calibration import summary_of_levels
from mri_alps.evaluation.report_data import ReportData
from mri_alps.evaluation.report_tables import table
from mri_alps.priors.novelty import LIMIT

_COLUMNS = {
    "data_misfit": "data misfit",
    "score_energy": "score energy",
    "split_r_hat": "split R-hat",
    "n_restarts": "restarts",
    "n_evaluations": "evaluations",
    "novelty": "foreignness",
    "noise_std": "noise of the image scale",
    "seconds": "seconds",
}


def convergence_table(data: ReportData) -> str:
    """Return the sampler's figures slice by slice, those at the end of its path.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    known = _known_figures(data)
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
    return table(rows, ("slice", *labels, *(["90 % coverage"] if coverage else [])))


def convergence_notes(data: ReportData) -> str:
    """Return how to read the figures, and why R-hat is not among them where it is not.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    known = _known_figures(data)
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
    if "novelty" in known:
        notes.append(
            "<b>Foreignness</b> says how much worse the prior denoises the image than held-out "
            f"images of its own kind, in their standard deviations: above {LIMIT:g} do not rely "
            "on the result."
        )
    notes.append(
        "None of these proves that the samples are right: the coverage against a reference says "
        "more, where there is one."
    )
    return "".join(f'<p class="note">{note}</p>' for note in notes)


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
    found = [each.get("n_final_steps") for each in data.result.diagnostics]
    same = bool(found) and all(value == found[0] for value in found)
    return found[0] if same and isinstance(found[0], int) else None


def _known_figures(data: ReportData) -> dict[str, np.ndarray]:
    """Figures that at least one slice has, in the order of the columns."""
    facts: dict[str, Any] = dict(data.result.facts)
    if data.result.diagnostics:
        facts["score_energy"] = [_last_energy(each) for each in data.result.diagnostics]
    found = {
        name: np.asarray(facts[name], dtype=float).reshape(-1) for name in _COLUMNS if name in facts
    }
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def _last_energy(diagnostics: dict[str, Any]) -> float:
    levels: Sequence[dict[str, float]] = summary_of_levels(diagnostics)
    return levels[-1].get("score_energy", np.nan) if levels else np.nan


def _figure(value: Any) -> str:
    number = float(value)
    return f"{number:.4g}" if np.isfinite(number) else "-"
