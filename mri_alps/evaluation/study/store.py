"""Finished slices of a study on disk, one file for each slice and mask."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np

from mri_alps.evaluation.study.measure import MaskResult
from mri_alps.rawdata.files import atomic_path

FOLDER = "slices"
FORMAT = "mri_alps mask study 1"
_UNSAFE = re.compile(r"[^\w.+-]+")


def result_path(output: Path, slice_name: str, label: str) -> Path:
    """Return the file of a slice and a mask.

    Parameters
    ----------
    output : pathlib.Path
        Folder of the study.
    slice_name, label : str
        Of the slice, and of the mask with its acceleration.
    """
    return output / FOLDER / f"{_UNSAFE.sub('_', f'{slice_name}_{label}')}.npz"


def save_result(path: Path, identity: str, result: MaskResult) -> None:
    """Write a result; it is there whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        From `result_path`.
    identity : str
        Hash of all that it depends on.
    result : MaskResult
        With its images.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = json.dumps({"format": FORMAT, "identity": identity, **result.to_dict()})
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, facts=np.array(facts), **result.images)  # type: ignore[arg-type]


def load_result(path: Path, identity: str) -> MaskResult | None:
    """Return what was saved under the same identity, or None.

    Parameters
    ----------
    path : pathlib.Path
        From `result_path`.
    identity : str
        Of what is wanted.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            facts = json.loads(str(archive["facts"]))
            if facts.pop("format") != FORMAT or facts.pop("identity") != identity:
                return None
            images = {name: archive[name] for name in archive.files if name != "facts"}
        return MaskResult(**facts, images=images)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
