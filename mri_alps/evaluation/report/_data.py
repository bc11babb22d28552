"""What a report shows, read from a reconstruction file, and how honest its uncertainty is."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtr

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import InputFileError
from mri_alps.evaluation.coverage import head_mask, interval_coverage, predictive_std
from mri_alps.evaluation.folder import read_target
from mri_alps.evaluation.metrics import image_metrics
from mri_alps.pipeline import IMAGE_DATASETS, OPTIONAL_DATASETS, Reconstruction, load_reconstruction

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
N_BINS = 10


@dataclasses.dataclass(frozen=True)
class ReportData:
    """The content of a report.

    Parameters
    ----------
    path : pathlib.Path
        The reconstruction file.
    result : Reconstruction
        What it holds, without samples and sensitivity maps, which may be large.
    reference : numpy.ndarray or None
        float32, (n_slices, H, W).
    reference_name : str
        Where the reference comes from.
    region : numpy.ndarray or None
        Bool, where the reference shows the object; None without a reference.
    failed : dict
        Slices that failed and are left out of `result`, with their reasons.
    rows : numpy.ndarray
        Int, (n_slices,): where in the file the slices of `result` are.
    """

    path: Path
    result: Reconstruction
    reference: np.ndarray | None
    reference_name: str
    region: np.ndarray | None
    failed: dict[int, str]
    rows: np.ndarray

    @property
    def n_samples(self) -> int:
        """Number of posterior samples that were asked for."""
        return int(self.result.attributes.get("n_samples", 0))

    @property
    def degrees_of_freedom(self) -> np.ndarray:
        """Those of the intervals of each slice, int (n_slices, 1, 1)."""
        given = self.result.scalars.get("degrees_of_freedom")  # older files have not got them
        return self.n_used - 1 if given is None else np.asarray(given, int).reshape(-1, 1, 1)

    @property
    def predictive_std(self) -> np.ndarray:
        """Standard deviation of the truth around `center`."""
        bounds = (self.result.reconstruction_lower, self.result.reconstruction_upper)
        return predictive_std(*bounds, self.degrees_of_freedom)

    @property
    def n_used(self) -> np.ndarray:
        """Number of samples behind the statistics of each slice, int (n_slices, 1, 1)."""
        shape = (len(self.result.slices), 1, 1)
        given = self.result.scalars.get("n_samples", np.full(shape, self.n_samples))
        return np.asarray(given, int).reshape(shape)

    @property
    def center(self) -> np.ndarray:
        """Middle of the interval: the mean of the samples' magnitudes."""
        return (self.result.reconstruction_lower + self.result.reconstruction_upper) / 2

    def coverage(self) -> list[float]:
        """Coverage of the 90 % interval slice by slice; empty without a reference."""
        if self.reference is None or self.region is None:
            return []
        slices = zip(
            self.reference,
            self.result.reconstruction_lower,
            self.result.reconstruction_upper,
            self.region,
            strict=True,
        )
        return [interval_coverage(*images) for images in slices]

    def scores(self) -> dict[str, dict[str, float]]:
        """Return metrics of mean and zero-filled image; empty without a reference."""
        if self.reference is None:
            return {}
        images = {
            "posterior mean": self.result.reconstruction,
            "zero-filled": self.result.zero_filled,
        }
        return {name: image_metrics(self.reference, image) for name, image in images.items()}


def read_report_data(path: Path, target: Path | None = None) -> ReportData:
    """Read a reconstruction and, where there is one, the reference.

    Parameters
    ----------
    path : pathlib.Path
        A file of `reconstruct`.
    target : pathlib.Path, optional
        File with ``reconstruction_rss`` or ``reconstruction_esc``; left out, the reference
        inside the reconstruction file is used, if there is one.

    Raises
    ------
    InputFileError
        If a file cannot be used; the message says why.
    """
    result = load_reconstruction(path, large=False)
    result, failed, rows = _without_failed(result)
    for name in IMAGE_DATASETS:
        image = getattr(result, name)
        if image.ndim != 3 or image.shape != result.reconstruction.shape or not image.size:
            raise InputFileError(
                f"{path}: the dataset {name} has the shape {image.shape}, expected "
                "(slices, H, W) as the reconstruction: make the file anew"
            )
        if not np.isfinite(image).all():
            raise InputFileError(
                f"{path}: the dataset {name} contains NaN or Inf: make the file anew"
            )
    reference, name = result.reference, "the reference in the scan"
    if target is not None:
        reference, name = _target_image(target, result), f"the reference in {target.name}"
    if reference is not None and not np.isfinite(reference).all():
        raise InputFileError(f"{name} contains NaN or Inf: give another --target")
    region = None if reference is None else head_mask(reference)
    name = name if reference is not None else ""
    return ReportData(path, result, reference, name, region, failed, rows)


def _without_failed(result: Reconstruction) -> tuple[Reconstruction, dict[int, str], np.ndarray]:
    """Return what did not fail, what did, and which rows of the file the former are."""
    failed = result.failed_slices
    rows = np.array([i for i, index in enumerate(result.slices.tolist()) if index not in failed])
    if not failed or not rows.size:
        return result, failed, np.arange(len(result.slices))
    names = ("slices", *IMAGE_DATASETS, "posterior_mean", *OPTIONAL_DATASETS)
    arrays = {name: getattr(result, name) for name in names}
    kept = {name: array[rows] for name, array in arrays.items() if array is not None}
    return (
        dataclasses.replace(
            result,
            scalars={name: values[rows] for name, values in result.scalars.items()},
            diagnostics=tuple(result.diagnostics[row] for row in rows),
            **kept,
        ),
        failed,
        rows,
    )


def _target_image(target: Path, result: Reconstruction) -> np.ndarray:
    images, _ = read_target(target)
    if len(result.slices) and result.slices.max() >= len(images):
        raise InputFileError(
            f"{target} has {len(images)} slices and the reconstruction holds slice "
            f"{result.slices.max()}: it belongs to another scan"
        )
    chosen = np.asarray(images[result.slices], dtype=np.float32)
    size = result.reconstruction.shape[1:]
    if chosen.ndim == 3 and chosen.shape[1] >= size[0] and chosen.shape[2] >= size[1]:
        chosen = center_crop(chosen, size)  # k-space narrower than the recon matrix
    if chosen.shape != result.reconstruction.shape:
        raise InputFileError(
            f"the reference in {target} has the shape {chosen.shape} and the reconstruction "
            f"{result.reconstruction.shape}: give the target that belongs to it"
        )
    return chosen


def coverage_curve(
    reference: np.ndarray,
    center: np.ndarray,
    std: np.ndarray,
    region: np.ndarray,
    degrees: int | np.ndarray,
) -> list[dict[str, float]]:
    """Return nominal and observed coverage of predictive intervals of several levels.

    Parameters
    ----------
    reference, center, std : numpy.ndarray
        The reference, the middle of the interval (the mean of the samples' magnitudes), and the
        standard deviation of the truth around it (`predictive_std`); one shape, one unit.
    region : numpy.ndarray
        Bool, same shape: the pixels that count. Those with a standard deviation of zero do not.
    degrees : int or numpy.ndarray
        Degrees of freedom of the intervals, at least 1; broadcasts to the others.

    Returns
    -------
    list of dict
        "nominal" and "observed", between 0 and 1.
    """
    position = _positions(reference, center, std, region, degrees)
    if not position.size:
        return []
    smallest = np.abs(2 * position - 1)  # the level of the interval that just holds the pixel
    return [{"nominal": p, "observed": float(np.mean(smallest <= p))} for p in LEVELS]


def error_by_std(
    reference: np.ndarray, center: np.ndarray, std: np.ndarray, region: np.ndarray
) -> list[dict[str, float]]:
    """Compare the predicted with the actual error in bins of equal pixel counts.

    Parameters
    ----------
    reference, center, std, region
        As `coverage_curve` takes them.

    Returns
    -------
    list of dict
        "predicted", the root mean square of std, and "actual", that of the error.
    """
    counted = region & (std > 0)
    if counted.sum() < N_BINS:
        return []
    predicted = std[counted].astype(np.float64)
    error = (reference - center)[counted].astype(np.float64)
    bins = np.array_split(np.argsort(predicted), N_BINS)
    return [{"predicted": _rms(predicted[rows]), "actual": _rms(error[rows])} for rows in bins]


def position_counts(
    reference: np.ndarray,
    center: np.ndarray,
    std: np.ndarray,
    region: np.ndarray,
    degrees: int | np.ndarray,
) -> list[int]:
    """Count pixels by where the reference lies in its predictive distribution.

    The histogram of the probability integral transform (Dawid, J R Stat Soc A 147:278, 1984):
    flat if the reference is one more draw of the posterior.

    Parameters
    ----------
    reference, center, std, region, degrees
        As `coverage_curve` takes them.

    Returns
    -------
    list of int
        Pixels of each tenth, from the lowest to the highest; empty where none counts.
    """
    position = _positions(reference, center, std, region, degrees)
    counts, _ = np.histogram(position, N_BINS, (0, 1))
    return counts.tolist() if position.size else []


def _positions(
    reference: np.ndarray,
    center: np.ndarray,
    std: np.ndarray,
    region: np.ndarray,
    degrees: int | np.ndarray,
) -> np.ndarray:
    """Return P(a draw lies below the reference) of the pixels that count."""
    counted = region & (std > 0)
    ratio = (reference - center)[counted] / std[counted]
    return np.asarray(stdtr(np.broadcast_to(degrees, counted.shape)[counted], ratio))


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
    return [{name: float(row[name]) for name in names if is_finite(row.get(name))} for row in rows]


def is_finite(value: object) -> bool:
    """Return whether what a file holds is a number that can be shown.

    Parameters
    ----------
    value : object
        From JSON.
    """
    return isinstance(value, (int, float)) and math.isfinite(value)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
