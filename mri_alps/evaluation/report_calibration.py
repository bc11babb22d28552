"""How honest the standard deviation is, as figures that can be plotted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
N_BINS = 10


def coverage_curve(
    reference: np.ndarray,
    center: np.ndarray,
    std: np.ndarray,
    region: np.ndarray,
    n_samples: int | np.ndarray,
) -> list[dict[str, float]]:
    """Return nominal and observed coverage of predictive intervals of several levels.

    Parameters
    ----------
    reference, center, std : numpy.ndarray
        The reference, the middle of the interval (the mean of the samples' magnitudes), and the
        samples' standard deviation; one shape, one unit.
    region : numpy.ndarray
        Bool, same shape: the pixels that count. Those with a standard deviation of zero do not.
    n_samples : int or numpy.ndarray
        Samples behind the standard deviation, at least 2; broadcasts to the others.

    Returns
    -------
    list of dict
        "nominal" and "observed", between 0 and 1.
    """
    counted = region & (std > 0)
    if not counted.any():
        return []
    ratio = np.abs(reference - center)[counted] / std[counted]
    n_samples = _where_counted(n_samples, counted)
    curve = []
    for level in LEVELS:
        quantile = stats.t.ppf(0.5 + level / 2, n_samples - 1) * np.sqrt(1 + 1 / n_samples)
        curve.append({"nominal": level, "observed": float(np.mean(ratio <= quantile))})
    return curve


def error_by_std(
    reference: np.ndarray,
    center: np.ndarray,
    std: np.ndarray,
    region: np.ndarray,
    n_samples: int | np.ndarray,
) -> list[dict[str, float]]:
    """Compare the predicted with the actual error in bins of equal pixel counts.

    Parameters
    ----------
    reference, center, std, region, n_samples
        As `coverage_curve` takes them.

    Returns
    -------
    list of dict
        "predicted", the root mean square of std sqrt(1 + 1/n), and "actual", that of the error.
    """
    counted = region & (std > 0)
    if counted.sum() < N_BINS:
        return []
    n_samples = _where_counted(n_samples, counted)
    predicted = std[counted].astype(np.float64) * np.sqrt(1 + 1 / n_samples)
    error = (reference - center)[counted].astype(np.float64)
    bins = np.array_split(np.argsort(predicted), N_BINS)
    return [{"predicted": _rms(predicted[rows]), "actual": _rms(error[rows])} for rows in bins]


def _where_counted(n_samples: int | np.ndarray, counted: np.ndarray) -> Any:
    """One number where all slices have as many samples, else one for each counted pixel."""
    values = np.unique(n_samples)
    return (
        int(values[0]) if len(values) == 1 else np.broadcast_to(n_samples, counted.shape)[counted]
    )


def rank_counts(reference: np.ndarray, samples: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Count how many samples lie below the reference, pixel by pixel.

    Parameters
    ----------
    reference : numpy.ndarray
        (H, W).
    samples : numpy.ndarray
        (n_samples, H, W), in the same units.
    region : numpy.ndarray
        Bool, (H, W).

    Returns
    -------
    numpy.ndarray
        Int, (n_samples + 1,): pixels for each number of samples below; flat if the reference
        is exchangeable with the samples.
    """
    below = (samples < reference).sum(0)[region]
    return np.bincount(below, minlength=len(samples) + 1)


def summary_of_levels(diagnostics: dict[str, Any]) -> list[dict[str, float]]:
    """Return what the sampler said of each noise level, as numbers that can be plotted.

    Parameters
    ----------
    diagnostics : dict
        Of one slice, as stored in a reconstruction file.
    """
    names = ("sigma", "step_size", "data_misfit", "score_energy")
    levels = diagnostics.get("levels")
    rows = [level for level in levels if isinstance(level, dict)] if levels else []
    return [{name: float(row[name]) for name in names if _is_finite(row.get(name))} for row in rows]


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
