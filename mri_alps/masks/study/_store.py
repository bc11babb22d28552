"""Finished slices of a study on disk, one file for each slice and mask."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.evaluation import stored_content
from mri_alps.masks.study._slices import slice_name
from mri_alps.masks.study.measure import MaskResult
from mri_alps.pipeline import scan_identity, scan_name, settings_hash

if TYPE_CHECKING:
    from mri_alps.masks.study.candidates import Candidate
    from mri_alps.rawdata import RawKSpace

FOLDER = "slices"
FORMAT = "mri_alps mask study 3"
_UNSAFE = re.compile(r"[^\w.+-]+")


class ResultStore:
    """Results of one scan, each kept under the hash of all that it depends on.

    Parameters
    ----------
    folder : pathlib.Path
        Of the study.
    raw : RawKSpace
        The scan.
    settings : dict
        From `settings_identity`.
    """

    def __init__(self, folder: Path, raw: RawKSpace, settings: dict[str, Any]):
        self._folder, self._raw = folder / FOLDER, raw
        own = {"scan": scan_identity(raw), "seed": settings.get("seed") or 0}
        self._settings = {**settings, **own}
        self._settings.pop("slices", None)

    def load(self, index: int, candidate: Candidate, mask: np.ndarray) -> MaskResult | None:
        """Return what an earlier run kept, or None."""
        identity = self._identity(index, candidate, mask)
        try:
            with np.load(self._path(index, candidate), allow_pickle=False) as archive:
                content = stored_content(str(archive["facts"]), FORMAT, identity)
                if content is None:
                    return None
                images = {name: archive[name] for name in archive.files if name != "facts"}
            return MaskResult(**content, images=images)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError,
                zipfile.BadZipFile):  # fmt: skip
            return None  # missing or damaged: measure it

    def save(self, index: int, candidate: Candidate, mask: np.ndarray, result: MaskResult) -> None:
        """Write a result with its images; it is there whole or not at all."""
        marks = {"format": FORMAT, "identity": self._identity(index, candidate, mask)}
        content = np.array(json.dumps({**marks, **result.to_dict()}))
        path = self._path(index, candidate)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, facts=content, **result.images)  # type: ignore[arg-type]

    def _path(self, index: int, candidate: Candidate) -> Path:
        name = f"{slice_name(scan_name(self._raw), index)}_{candidate.label}"
        return self._folder / f"{_UNSAFE.sub('_', name)}.npz"

    def _identity(self, index: int, candidate: Candidate, mask: np.ndarray) -> str:
        drawn = hashlib.sha256(f"{mask.shape}".encode() + np.packbits(mask).tobytes()).hexdigest()
        own = {"slice": index, "drawn": drawn, "group": candidate.acceleration}
        return settings_hash({**self._settings, **own, "name": candidate.name})
