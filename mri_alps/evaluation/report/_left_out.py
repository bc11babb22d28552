"""What a report shows of samples that were left out and predicted."""

from __future__ import annotations

from typing import Any

from mri_alps.evaluation.report._data import ReportData, is_finite
from mri_alps.pipeline import SELF_CALIBRATION
from mri_alps.uncertainty import UncertaintyFactors

_BAND = ("radius", "factor", "factor_error")
_LEVEL = ("nominal", "observed_before", "observed_after")
_SINGLE = ("overall", "overall_error", "coverage_before", "coverage_after", "n_left_out")


def read_factors(diagnostics: dict[str, Any]) -> UncertaintyFactors | None:
    """Return by what a slice's deviations were scaled, None where the file does not say it.

    Parameters
    ----------
    diagnostics : dict
        Of one slice, as stored in a reconstruction file.
    """
    record = diagnostics.get(SELF_CALIBRATION)
    if not isinstance(record, dict):
        return None
    try:
        found = UncertaintyFactors.from_record(record)
        groups = [tuple(getattr(found, name) for name in names) for names in (_BAND, _LEVEL)]
        rows = [row for group in groups for row in zip(*group, strict=True)]
    except (TypeError, ValueError):
        return None
    single = [getattr(found, name) for name in _SINGLE]
    values = [*single, *found.slices, *(value for row in rows for value in row)]
    return found if all(is_finite(value) for value in values) else None


def left_out_plots(diagnostics: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the page draws of a slice's left-out samples, None where there are none.

    Parameters
    ----------
    diagnostics : dict
        Of one slice.

    Returns
    -------
    dict or None
        "overall"; "bands", a list of (|k|, factor, its error); "before" and "after", lists of
        (nominal, observed) coverage.
    """
    found = read_factors(diagnostics)
    if found is None:
        return None
    pairs = {
        "before": zip(found.nominal, found.observed_before, strict=True),
        "after": zip(found.nominal, found.observed_after, strict=True),
        "bands": zip(found.radius, found.factor, found.factor_error, strict=True),
    }
    curves = {name: [list(map(float, row)) for row in rows] for name, rows in pairs.items()}
    return {"overall": float(found.overall), **curves}


def left_out_sentence(data: ReportData) -> str:
    """Return what left-out samples say of the uncertainty, in words.

    Parameters
    ----------
    data : ReportData
        What was read.
    """
    known = [found for each in data.result.diagnostics if (found := read_factors(each))]
    if not known:
        return (
            "No samples were left out and predicted: it was not asked for, the prior is not a "
            "learned one, or too little was measured outside of the centre of k-space. The "
            "standard deviation is the prior's own."
        )
    distinct = list(dict.fromkeys(known))
    lines = data.result.mask is not None and data.result.mask.shape[1] == 1
    kind = "lines" if lines else "points"
    if len(distinct) > 1:
        factors, before, after = (
            _span([getattr(one, name) for one in distinct])
            for name in ("overall", "coverage_before", "coverage_after")
        )
        subject = f"Measured {kind} of each slice"
    else:
        one = distinct[0]
        factors = f"{one.overall:.2f} +/- {one.overall_error:.2f}"
        before, after = f"{100 * one.coverage_before:.0f} %", f"{100 * one.coverage_after:.0f} %"
        places = ", ".join(str(index) for index in one.slices)
        where = f" of slice{'s' if len(one.slices) > 1 else ''} {places}" if places else ""
        subject = f"{one.n_left_out} measured {kind}{where}"
    return (
        f"{subject} were left out, some at a time, and predicted from the others. They lie "
        f"{factors} times as far from their prediction as the prior's samples say; the "
        "deviations of all samples from their mean are scaled by this, band by band of k-space, "
        "where the data leave them open. "
        f"90 % intervals of the prediction held {before} of what had been measured before, and "
        f"hold {after} now."
    )


def _span(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
