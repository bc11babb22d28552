"""A reconstruction as one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from mri_alps.core.crop import center_crop_or_pad
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.hdf5 import File, open_hdf5
from mri_alps.core.values import PATH, check, number
from mri_alps.evaluation.figures import window_tops
from mri_alps.evaluation.files import write_text
from mri_alps.evaluation.pictures import evenly_chosen
from mri_alps.evaluation.report._data import (
    ReportData,
    coverage_curve,
    error_by_std,
    position_counts,
    read_report_data,
    summary_of_levels,
)
from mri_alps.evaluation.report._left_out import left_out_plots
from mri_alps.evaluation.report.tables import image_aspect, page_parts

_RULES = {
    "reconstruction": PATH,
    "output": PATH.or_none(),
    "target": PATH.or_none(),
    "max_megabytes": number(),
}

SCRIPTS = ("decode.js", "viewer.js", "plots.js", "page.js")
DEFAULT_MEGABYTES = 8.0
MAX_SAMPLES = 8
IMAGE_STEPS = 2**16 - 1
LOOP_STEPS = 2**10 - 1
# Names that the page uses, in the order in which it shows them.
_IMAGES = {
    "mean": "reconstruction",
    "std": "reconstruction_std",
    "zero_filled": "zero_filled",
    "lower": "reconstruction_lower",
    "upper": "reconstruction_upper",
}


def write_report(
    reconstruction: str | Path,
    output: str | Path | None = None,
    target: str | Path | None = None,
    max_megabytes: float = DEFAULT_MEGABYTES,
) -> Path:
    """Write a page that shows a reconstruction, its uncertainty and where it comes from.

    The page needs no network and no server. Images are stored in 65535 equal steps between their
    extremes, so that every value it reads out is that of the file to half a step.

    Parameters
    ----------
    reconstruction : str or pathlib.Path
        A file of `reconstruct`. With samples in it the page plays them.
    output : str or pathlib.Path, optional
        The page; left out, it stands beside the reconstruction under the same name.
    target : str or pathlib.Path, optional
        File with a reference image; left out, the scan's own is used, if it had one.
    max_megabytes : float
        About the size of the page; where a volume needs more, slices are chosen evenly.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    InputFileError
        If a file cannot be used.
    ConfigurationError
        If the page would overwrite one of its inputs.
    """
    check("write_report", _RULES, locals())
    reconstruction = Path(reconstruction)
    page = reconstruction.with_suffix(".html") if output is None else Path(output)
    inputs = [reconstruction, *([] if target is None else [Path(target)])]
    if any(page.exists() and given.exists() and page.samefile(given) for given in inputs):
        raise ConfigurationError(f"the page would overwrite {page}: give --output another name")
    data = read_report_data(reconstruction, None if target is None else Path(target))
    text = _render(data, max_megabytes * 1e6)
    write_text(page, text)
    return page


def _render(data: ReportData, max_bytes: float) -> str:
    """Return the page as text."""
    content = _page_data(data, max_bytes) | {"magma": _magma()}
    indices = [entry["index"] for entry in content["slices"]]
    script = "\n".join(template_text(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    name = escape(str(data.result.attributes.get("source", data.path.name)))
    # Everything from the file is escaped or is JSON that the script puts into text nodes; only
    # the script with this hash runs, and it can load nothing.
    return Template(template_text("report.html")).substitute(
        page_parts(data),
        title=name,
        shown=escape(_shown(indices, content["n_slices"])),
        script=script,
        script_hash=_hash(script),
        style=template_text("report.css"),
        data=_json(content),
    )


def _page_data(data: ReportData, max_bytes: float) -> dict[str, Any]:
    """Return everything that the page's script needs, as JSON can hold it."""
    shape = data.result.reconstruction.shape
    with open_hdf5(data.path) as file:
        samples = _SampleReader(file, data)
        middle = _slice_entry(data, samples, shape[0] // 2)
        rows = evenly_chosen(shape[0], max(1, int(max_bytes // _size(middle))))
        slices = [_slice_entry(data, samples, row) for row in rows]
    unit, top = window_tops(
        data.result.reconstruction, data.result.reconstruction_std, data.reference
    )
    return {
        "shape": list(shape[1:]),
        "aspect": image_aspect(data.result.attributes.get("pixel_aspect", 1.0)),
        "n_slices": shape[0],
        "slices": slices,
        "windows": {"image": [0.0, unit], "spread": [0.0, top]},
        "n_samples": data.n_samples,
        "calibration": _calibration(data),
    }


class _SampleReader:
    """Magnitudes of the samples in the units of the reconstruction, slice by slice."""

    def __init__(self, file: File, data: ReportData):
        stored = file.get("samples")
        usable = stored is not None and stored.ndim == 4 and len(stored) == len(file["slices"])
        self._samples = stored if usable else None
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
    played = samples.read(row)
    diagnostics = result.diagnostics[row] if result.diagnostics else {}
    loop = [] if played is None else [encode_image(s, LOOP_STEPS) for s in played[:MAX_SAMPLES]]
    entry: dict[str, Any] = {
        "index": int(result.slices[row]),
        "images": images,
        "samples": loop,
        "facts": {name: _number(values[row]) for name, values in result.scalars.items()},
        "levels": summary_of_levels(diagnostics),
        "left_out": left_out_plots(diagnostics),
    }
    if result.mask is not None:
        mask = result.mask[row]
        entry["mask"] = {"shape": list(mask.shape), "data": _encode_mask(mask)}
    return entry


def _size(entry: dict[str, Any]) -> int:
    encoded = [*entry["images"].values(), *entry["samples"], entry.get("mask", {"data": ""})]
    return sum(len(image["data"]) for image in encoded) + 500


def _calibration(data: ReportData) -> dict[str, Any]:
    if data.reference is None or data.region is None or data.n_used.min() < 2:
        return {"curve": [], "errors": [], "positions": []}
    arrays = (data.reference, data.center, data.predictive_std, data.region)
    return {
        "curve": coverage_curve(*arrays, data.degrees_of_freedom),
        "errors": error_by_std(*arrays),
        "positions": position_counts(*arrays, data.degrees_of_freedom),
    }


def _number(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def encode_image(image: np.ndarray, n_steps: int = IMAGE_STEPS) -> dict[str, Any]:
    """Quantise an image to equal steps between its extremes and deflate it.

    Parameters
    ----------
    image : numpy.ndarray
        Real and finite, (H, W).
    n_steps : int
        At most 65535. A decoded value differs from the true one by at most half a step,
        (maximum - minimum) / (2 n_steps).

    Returns
    -------
    dict
        "low" and "step": a pixel is low + step * q; "data": base64 of the zlib-deflated
        differences of q along each row, high bytes first, then low bytes.
    """
    low, high = float(image.min()), float(image.max())
    step = (high - low) / n_steps or abs(high) / n_steps or 1.0
    quantised = np.rint((image.astype(np.float64) - low) / step).astype(np.uint16)
    return {"low": low, "step": step, "data": _deflate(quantised)}


def _encode_mask(mask: np.ndarray) -> str:
    """Return a mask as base64 of deflated bytes, one per point."""
    return _base64(np.ascontiguousarray(mask, dtype=np.uint8).tobytes())


def _deflate(quantised: np.ndarray) -> str:
    # Differences are small where the image is smooth, and their high bytes nearly all zero.
    differences = np.diff(quantised, axis=1, prepend=np.uint16(0))
    high, low = differences >> 8, differences & 255
    return _base64(np.stack([high, low]).astype(np.uint8).tobytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def _magma() -> str:
    """Return 256 colours from black over red to light yellow as hexadecimal text."""
    from matplotlib import colormaps

    colours = (colormaps["magma"](range(256))[:, :3] * 255).round().astype("uint8")
    return colours.tobytes().hex()


def _shown(indices: list[int], n_slices: int) -> str:
    if len(indices) == n_slices:
        return f"all {n_slices} reconstructed slices" if n_slices > 1 else "one slice"
    return (
        f"{len(indices)} of {n_slices} reconstructed slices, chosen evenly so that the page "
        "stays small (--max-megabytes)"
    )


def _json(content: Mapping[str, Any]) -> str:
    # A script element ends at "</", and HTML comments begin with "<!": neither may occur.
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def template_text(name: str) -> str:
    """Return a part of a page: style, script or frame.

    Parameters
    ----------
    name : str
        A file of the folder `templates`.
    """
    source = resources.files("mri_alps.evaluation") / "templates" / name
    return source.read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
