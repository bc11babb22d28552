"""A reconstruction as one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from mri_alps.errors import ConfigurationError
from mri_alps.evaluation.report_convergence import convergence_notes, convergence_table
from mri_alps.evaluation.report_data import ReportData, page_data, read_report_data
from mri_alps.evaluation.report_tables import (
    acquisition_table,
    provenance_tables,
    score_table,
    summary_line,
    warning_list,
)
from mri_alps.rawdata.files import atomic_path
from mri_alps.values import PATH, check, number

_RULES = {
    "reconstruction": PATH,
    "output": PATH.or_none(),
    "target": PATH.or_none(),
    "max_megabytes": number(),
}

SCRIPTS = ("decode.js", "viewer.js", "plots.js", "page.js")
DEFAULT_MEGABYTES = 8.0


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
    text = render(data, max_megabytes * 1e6)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page


def render(data: ReportData, max_bytes: float) -> str:
    """Return the page as text.

    Parameters
    ----------
    data : ReportData
        What was read.
    max_bytes : float
        About the size of the images in it.
    """
    content = page_data(data, max_bytes) | {"magma": magma()}
    indices = [entry["index"] for entry in content["slices"]]
    script = "\n".join(_template(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    style = _template("report.css")
    name = escape(str(data.result.attributes.get("source", data.path.name)))
    # Everything from the file is escaped or is JSON that the script puts into text nodes; only
    # the script with this hash runs, and it can load nothing.
    return Template(_template("report.html")).substitute(
        title=name,
        summary=escape(summary_line(data)),
        warnings=warning_list(data),
        shown=escape(_shown(indices, content["n_slices"])),
        scores=score_table(data),
        convergence=convergence_table(data),
        convergence_notes=convergence_notes(data),
        acquisition=acquisition_table(data),
        provenance=provenance_tables(data),
        reference=escape(data.reference_name),
        script=script,
        script_hash=_hash(script),
        style=style,
        data=_json(content),
    )


def magma() -> str:
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


def _template(name: str) -> str:
    source = resources.files("mri_alps.evaluation") / "templates" / name
    return source.read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
