"""Where a reconstruction comes from: configuration, versions, the prior's identity."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import mri_alps
from mri_alps.reconstruction.configuration import ReconstructionConfiguration
from mri_alps.reconstruction.result import SliceReconstruction

_PACKAGES = ("torch", "numpy", "h5py", "sigpy", "fastmri")


def versions() -> dict[str, str]:
    """Return the versions of what made a result."""
    found = {"mri_alps": mri_alps.__version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def attributes_of(
    raw: Any,
    prior: Any,
    configuration: ReconstructionConfiguration,
    first: SliceReconstruction,
) -> dict[str, Any]:
    """Return the attributes of a reconstruction file.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    prior : ScoreModel
        The prior that was used.
    configuration : ReconstructionConfiguration
        The settings.
    first : SliceReconstruction
        For the counted evaluations.
    """
    return {
        "configuration": configuration.to_dict(),
        "seed": configuration.sampler_seed,
        "n_samples": configuration.n_samples,
        "n_evaluations": first.facts["n_evaluations"],
        "setup_evaluations": first.facts["setup_evaluations"],
        "versions": versions(),
        "prior": getattr(prior, "name", type(prior).__name__),
        "checkpoint_sha256": getattr(prior, "checkpoint_sha256", "") or "",
        "source": Path(raw.path).name,
        "source_format": raw.format,
        "acquisition": str(raw.acquisition or ""),
        "interval": "90 % predictive interval, Student t",
        "provenance": raw.provenance,
    }
