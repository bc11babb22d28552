"""What a report shows, read from a reconstruction file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from mri_alps.errors import InputFileError
from mri_alps.evaluation.coverage import head_mask, interval_coverage
from mri_alps.evaluation.folder import read_target
from mri_alps.evaluation.metrics import image_metrics
from mri_alps.evaluation.pictures import evenly_chosen
from mri_alps.evaluation.report_calibration import (
    coverage_curve,
    error_by_std,
    rank_counts,
    summary_of_levels,
)
from mri_alps.evaluation.report_images import LOOP_STEPS, encode_image, encode_mask
from mri_alps.hdf5 import File, open_hdf5
from mri_alps.reconstruction.images import center_crop_or_pad
from mri_alps.reconstruction.result import (
    IMAGE_DATASETS,
    OPTIONAL_DATASETS,
    Reconstruction,
    load_reconstruction,
)

MAX_SAMPLES = 8
_WINDOW_PERCENTILE = 99.5
_OBJECT_THRESHOLD = 0.1
# Names that the page uses, in the order in which it shows them.
_IMAGES = {
    "mean": "reconstruction",
    "std": "reconstruction_std",
    "zero_filled": "zero_filled",
    "lower": "reconstruction_lower",
    "upper": "reconstruction_upper",
}


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
    def n_used(self) -> np.ndarray:
        """Number of samples behind the statistics of each slice, int (n_slices, 1, 1)."""
        shape = (len(self.result.slices), 1, 1)
        given = self.result.facts.get("n_samples", np.full(shape, self.n_samples))
        return np.asarray(given, int).reshape(shape)

    @property
    def center(self) -> np.ndarray:
        """Middle of the interval: the mean of the samples' magnitudes."""
        return (self.result.reconstruction_lower + self.result.reconstruction_upper) / 2

    def coverage(self) -> list[float]:
        """Coverage of the 90 % interval slice by slice; empty without a reference."""
        if self.reference is None or self.region is None:
            return []
        found = zip(
            self.reference,
            self.result.reconstruction_lower,
            self.result.reconstruction_upper,
            self.region,
            strict=True,
        )
        return [interval_coverage(*images) for images in found]

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
            facts={name: values[rows] for name, values in result.facts.items()},
            diagnostics=tuple(result.diagnostics[row] for row in rows),
            **kept,
        ),
        failed,
        rows,
    )


def page_data(data: ReportData, max_bytes: float) -> dict[str, Any]:
    """Return everything that the page's script needs, as JSON can hold it.

    Parameters
    ----------
    data : ReportData
        What was read.
    max_bytes : float
        Slices are chosen evenly until they fit into this; one is always there.
    """
    shape = data.result.reconstruction.shape
    with open_hdf5(data.path) as file:
        samples = _SampleReader(file, data)
        middle = _slice_entry(data, samples, shape[0] // 2)
        rows = evenly_chosen(shape[0], max(1, int(max_bytes // _size(middle))))
        slices = [_slice_entry(data, samples, row) for row in rows]
        ranks = _ranks(data, samples, rows)
    return {
        "shape": list(shape[1:]),
        "aspect": _aspect(data.result.attributes.get("pixel_aspect", 1.0)),
        "n_slices": shape[0],
        "slices": slices,
        "windows": _windows(data),
        "n_samples": data.n_samples,
        "calibration": _calibration(data) | {"ranks": ranks},
    }


class _SampleReader:
    """Magnitudes of the samples in the units of the reconstruction, slice by slice."""

    def __init__(self, file: File, data: ReportData):
        found = file.get("samples")
        usable = found is not None and found.ndim == 4 and len(found) == len(file["slices"])
        self._samples = found if usable else None
        self._data = data

    def read(self, row: int) -> np.ndarray | None:
        """Return (n_samples, H, W), float32, or None where the file holds no samples."""
        if self._samples is None:
            return None
        result = self._data.result
        crop = result.reconstruction.shape[1:]
        mean = np.abs(center_crop_or_pad(result.posterior_mean[row], crop))
        # Both images show the same mean, so their ratio is the weight between the two units.
        weight = np.divide(
            result.reconstruction[row], mean, out=np.zeros_like(mean), where=mean > 0
        )
        magnitudes = np.abs(center_crop_or_pad(self._samples[self._data.rows[row]], crop))
        there = np.isfinite(magnitudes).all((1, 2))  # a chain that was lost is NaN
        return (magnitudes[there] * weight).astype(np.float32)


def _slice_entry(data: ReportData, samples: _SampleReader, row: int) -> dict[str, Any]:
    result = data.result
    images = {name: encode_image(getattr(result, field)[row]) for name, field in _IMAGES.items()}
    if data.reference is not None:
        images["reference"] = encode_image(data.reference[row])
    found = samples.read(row)
    loop = [] if found is None else [encode_image(s, LOOP_STEPS) for s in found[:MAX_SAMPLES]]
    facts = {name: _number(values[row]) for name, values in result.facts.items()}
    entry: dict[str, Any] = {
        "index": int(result.slices[row]),
        "images": images,
        "samples": loop,
        "facts": facts,
        "levels": summary_of_levels(result.diagnostics[row]) if result.diagnostics else [],
    }
    if result.mask is not None:
        mask = result.mask[row]
        entry["mask"] = {"shape": list(mask.shape), "data": encode_mask(mask)}
    return entry


def _size(entry: dict[str, Any]) -> int:
    encoded = [*entry["images"].values(), *entry["samples"], entry.get("mask", {"data": ""})]
    return sum(len(image["data"]) for image in encoded) + 500


def _windows(data: ReportData) -> dict[str, list[float]]:
    """Return lowest and highest value shown at first: of images, and of spread and error."""
    mean, std = data.result.reconstruction, data.result.reconstruction_std
    shown = mean if data.reference is None else data.reference
    unit = float(np.percentile(shown, _WINDOW_PERCENTILE)) or 1.0
    inside = mean > _OBJECT_THRESHOLD * unit
    spread = [std] if data.reference is None else [std, np.abs(mean - data.reference)]
    top = max(
        float(np.percentile(i[inside] if inside.any() else i, _WINDOW_PERCENTILE)) for i in spread
    )
    return {"image": [0.0, unit], "spread": [0.0, top or unit]}


def _calibration(data: ReportData) -> dict[str, Any]:
    if data.reference is None or data.region is None or data.n_used.min() < 2:
        return {"curve": [], "errors": []}
    arrays = (data.reference, data.center, data.result.reconstruction_std, data.region)
    return {
        "curve": coverage_curve(*arrays, data.n_used),
        "errors": error_by_std(*arrays, data.n_used),
    }


def _ranks(data: ReportData, samples: _SampleReader, rows: list[int]) -> list[int]:
    if data.reference is None or data.region is None:
        return []
    total: np.ndarray | int = 0
    for row in rows:
        found = samples.read(row)
        if found is None:
            return []
        if len(found) < data.n_samples:  # ranks among fewer are no ranks among all
            continue
        total = total + rank_counts(data.reference[row], found, data.region[row])
    return np.asarray(total).tolist()


def _target_image(target: Path, result: Reconstruction) -> np.ndarray:
    images, _ = read_target(target)
    if len(result.slices) and result.slices.max() >= len(images):
        raise InputFileError(
            f"{target} has {len(images)} slices and the reconstruction holds slice "
            f"{result.slices.max()}: it belongs to another scan"
        )
    chosen = np.asarray(images[result.slices], dtype=np.float32)
    if chosen.shape != result.reconstruction.shape:
        raise InputFileError(
            f"the reference in {target} has the shape {chosen.shape} and the reconstruction "
            f"{result.reconstruction.shape}: give the target that belongs to it"
        )
    return chosen


def _aspect(value: Any) -> float:
    try:
        aspect = float(value)
    except (TypeError, ValueError):
        return 1.0
    return aspect if 0.05 < aspect < 20 else 1.0


def _number(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None
