"""What a file has several of: every part that can be opened for itself."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import MriAlpsError
from mri_alps.core.hdf5 import open_hdf5
from mri_alps.rawdata.choices import COUNTERS
from mri_alps.rawdata.ismrmrd.reader import find_groups
from mri_alps.rawdata.ismrmrd.scan import Selection
from mri_alps.rawdata.ismrmrd.store import Hdf5Acquisitions
from mri_alps.rawdata.ismrmrd.stream import open_mrd_stream
from mri_alps.rawdata.open import kind_of, read_raw

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.heads import Heads

Part = dict[str, Any]
"""Values by what can be chosen: "dataset" a text, the others whole numbers."""
_IN_LINES = ("repetition", "contrast", "phase", "set")


def list_parts(path: Path | str, asked: Mapping[str, Any] | None = None) -> list[Part]:
    """Return all parts of a file; no sample of ISMRMRD files and streams is read.

    Parameters
    ----------
    path : Path or str
        A raw file.
    asked : mapping, optional
        What was asked for. Of measurements that are no HDF5 groups the reader's own choice is the
        only part, unless a dataset is asked for.

    Returns
    -------
    list of dict
        At least one. What a kind of file does not have is left out of each; what cannot be listed
        is left to the reader, which says why.
    """
    path = Path(path)
    try:
        return _parts(path, dict(asked or {})) or [{}]
    except MriAlpsError:
        return [{}]


def _parts(path: Path, asked: dict[str, Any]) -> list[Part]:
    kind = kind_of(path)
    if kind == "ismrmrd":
        with open_hdf5(path) as file:
            names = find_groups(file)
        return [part for name in names for part in _of_group(path, name)]
    if kind == "stream":
        return _of_lines(open_mrd_stream(path)[0].heads())
    if kind in ("bart", "npz") or (kind == "fastmri" and not _has_repetitions(path)):
        return [{}]
    return _of_choices(path, asked)


def _of_group(path: Path, name: str) -> list[Part]:
    try:
        parts = _of_lines(Hdf5Acquisitions(path, name).heads())
    except (MriAlpsError, KeyError):
        parts = []
    return [{"dataset": name, **part} for part in parts or [{}]]


def _of_lines(heads: Heads) -> list[Part]:
    """Every combination of counters that lines of an image have."""
    lines = heads.take(~heads.is_noise & ~heads.is_excluded & ~heads.is_calibration_only)
    columns = [lines.encoding_space_ref, *(getattr(lines, name) for name in _IN_LINES)]
    found = np.unique(np.stack(columns, axis=1).astype(np.int64), axis=0)
    names = ("encoding", *_IN_LINES)
    return [dict(zip(names, row, strict=True)) for row in found.tolist()]


def _has_repetitions(path: Path) -> bool:
    with open_hdf5(path) as file:
        return file["kspace"].ndim > 4


def _of_choices(path: Path, asked: dict[str, Any]) -> list[Part]:
    """Every combination of what the reader says that it has a choice of."""
    first: Sequence[str] | str | None = asked.get("dataset")
    datasets: list[str | None] = [None]
    if first is not None:
        available = _choices(path, None).get("dataset", [])
        datasets = [name for name in available if first == "all" or name in first] or [None]
    parts = []
    for dataset in datasets:
        choices = _choices(path, dataset)
        if dataset is not None:
            choices["dataset"] = [dataset]
        else:
            choices.pop("dataset", None)  # the reader's choice among them is no accident
        names = [name for name in COUNTERS if name in choices]
        for values in itertools.product(*(choices[name] for name in names)):
            parts.append(dict(zip(names, values, strict=True)))
    return parts


def _choices(path: Path, dataset: str | None) -> dict[str, list[Any]]:
    raw = read_raw(path, selection=Selection(dataset=dataset))
    counters = raw.provenance.get("counters", {})
    return {name: list(choice["available"]) for name, choice in counters.items()}
