"""Where a reconstruction comes from: configuration, versions, the prior's identity."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mri_alps
from mri_alps.pipeline.configuration import COMPUTED_STARTS
from mri_alps.pipeline.conformal import calibration_attributes
from mri_alps.pipeline.identity import initial_identity
from mri_alps.pipeline.interpolation import (
    image_size,
    image_spacing,
    interpolation_attributes,
)
from mri_alps.pipeline.result import NOT_CALIBRATED, NOT_POSSIBLE, SELF_CALIBRATION
from mri_alps.pipeline.self_calibration import is_calibrated
from mri_alps.priors import DEFAULT_PRIOR, GAUSSIAN, HUB, GaussianPrior

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.pipeline.result import SliceReconstruction
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace

_PACKAGES = ("torch", "numpy", "h5py", "sigpy", "fastmri")


def versions() -> dict[str, str]:
    """Return the versions of what made a result."""
    found = {"mri_alps": mri_alps.__version__, "python": platform.python_version()}
    return found | {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    """Version of a package; a copy without its metadata is no reason to lose a result."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def attributes_of(
    raw: RawKSpace,
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    first: SliceReconstruction,
    prior_name: str | None = None,
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
        For the counted evaluations, and how unlike the training images it is.
    prior_name : str, optional
        Name or file under which the prior was loaded.
    """
    size = image_size(raw, configuration)
    uncalibrated = NOT_POSSIBLE if is_calibrated(configuration, prior) else NOT_CALIBRATED
    start = configuration.initial
    initial = {} if start is None else {"initial": Path(start).name}
    if start is not None and start not in COMPUTED_STARTS:
        initial["initial_sha256"] = initial_identity(start)
    return initial | {
        "configuration": configuration.to_dict(),
        "seed": configuration.sampler_seed,
        "n_samples": configuration.n_samples,
        "n_evaluations": first.scalars["n_evaluations"],
        "setup_evaluations": first.scalars["setup_evaluations"],
        "maps_evaluations": first.scalars["maps_evaluations"],
        "novelty": first.scalars["novelty"],
        "versions": versions(),
        "prior": prior_label(prior, prior_name),
        "checkpoint_sha256": getattr(prior, "checkpoint_sha256", "") or "",
        "network_dtype": str(getattr(prior, "running_dtype", "")).removeprefix("torch."),
        "source": Path(raw.path).name,
        "source_format": raw.format,
        "acquisition": str(raw.acquisition or ""),
        "n_coils": raw.n_coils,
        "kspace_shape": " x ".join(str(size) for size in raw.shape),
        "pixel_aspect": pixel_aspect(raw, size),
        "interval": "90 % predictive interval, Student t",
        SELF_CALIBRATION: first.diagnostics.get(SELF_CALIBRATION, uncalibrated),
        "provenance": raw.provenance | {"geometry": geometry_of(raw, size)},
        **interpolation_attributes(raw, configuration),
        **calibration_attributes(configuration),
    }


def prior_label(prior: ScoreModel, name: str | None = None) -> str:
    """Return what people call a prior.

    Parameters
    ----------
    prior : ScoreModel
        The prior.
    name : str, optional
        Name or file under which it was loaded.
    """
    if name == DEFAULT_PRIOR and isinstance(prior, GaussianPrior):
        return GAUSSIAN  # which stands in where the weights are not installed
    if name and not name.startswith(HUB):
        return Path(name).name
    return str(getattr(prior, "name", type(prior).__name__))  # one from the hub tells its commit


def geometry_of(raw: RawKSpace, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Return size and place of the image's pixels, as JSON can hold it.

    Parameters
    ----------
    raw : RawKSpace
        The scan. Positions are those of the central pixel, index N // 2 along both axes, of
        each of its slices, in mm and in the patient's coordinates (left, posterior, superior).
    size : tuple of int, optional
        Of the final image, where it is interpolated.
    """
    geometry = raw.geometry
    return {
        "pixel_spacing": list(raw.pixel_spacing if size is None else image_spacing(raw, size)),
        "slice_thickness": raw.slice_thickness,
        "size_is_known": raw.size_is_known,
        "slice_positions": np.asarray(geometry.slice_positions, float).tolist(),
        "readout_direction": np.asarray(geometry.readout_direction, float).tolist(),
        "phase_direction": np.asarray(geometry.phase_direction, float).tolist(),
        "slice_direction": np.asarray(geometry.slice_direction, float).tolist(),
        "is_nominal": bool(geometry.is_nominal),
    }


def pixel_aspect(raw: RawKSpace, size: tuple[int, int] | None = None) -> float:
    """Return the height of an image pixel over its width; 1 where that cannot be.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    size : tuple of int, optional
        Of the final image, where it is interpolated.
    """
    sizes = raw.pixel_spacing if size is None else image_spacing(raw, size)
    aspect = sizes[0] / sizes[1] if min(sizes) > 0 else 1.0
    return float(aspect) if np.isfinite(aspect) and 0.05 < aspect < 20 else 1.0
