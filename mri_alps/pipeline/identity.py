"""When are two reconstructions the same work? The hashes that skipping and resuming rest on."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mri_alps.pipeline.configuration import COMPUTED_STARTS
from mri_alps.pipeline.selection import SELECTING
from mri_alps.pipeline.trajectories import TRAJECTORY_SETTINGS
from mri_alps.rawdata import RawTrajectoryData, bart_base

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace

# Where and how the work is done; the result is the same up to rounding.
EXECUTION_SETTINGS = frozenset({"device"})
_BLOCK = 4096
_BLOCKS = 64
_LENGTH = 32
_READ_AT_A_TIME = 2**20


def settings_identity(
    configuration: ReconstructionConfiguration, prior: ScoreModel, prior_name: str | None = None
) -> dict[str, Any]:
    """Return what decides a reconstruction apart from the scan, as JSON holds it.

    The prior stands for itself by the hash of its weights, a mask file by the hash of its
    content, so that neither a moved file nor another name for the same prior changes anything.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    prior : ScoreModel
        The loaded prior.
    prior_name : str, optional
        The name by which it was loaded, if it was.
    """
    settings = {
        name: value
        for name, value in configuration.to_dict().items()
        if name not in EXECUTION_SETTINGS
    }
    settings["prior"] = prior_identity(prior, prior_name)
    # Not to go on with what earlier versions drew: other samples, through other maps.
    settings["drawn"] = "antithetic samples, maps of few lines by the prior"
    settings["acceleration"] = configuration.effective_acceleration
    settings["center_fraction"] = configuration.effective_center_fraction
    if configuration.mask is None:
        # Without a retrospective mask these two mean nothing.
        settings["acceleration"] = settings["center_fraction"] = None
    else:
        settings["mask"] = file_identity(configuration.mask)
    if configuration.sensitivity_maps is None:
        del settings["sensitivity_maps"]
    else:
        settings["sensitivity_maps"] = file_identity(configuration.sensitivity_maps)
    if configuration.coil_compression_tolerance is None:
        del settings["coil_compression_tolerance"]
    for name in SELECTING:  # the scan's identity says which part of the file it is
        del settings[name]
    for name in TRAJECTORY_SETTINGS:
        del settings[name]
    if configuration.shots is None:
        del settings["shots"]
    if not configuration.correct_delays:
        del settings["correct_delays"]
    if configuration.n_maps is None:
        del settings["n_maps"]
    if configuration.noise_std is None:
        del settings["noise_std"]
    if configuration.tolerance is None:
        del settings["tolerance"], settings["max_samples"]
    if not configuration.interpolate:
        del settings["interpolate"]
    if configuration.calibration is None:
        del settings["calibration"]
    else:
        settings["calibration"] = file_identity(configuration.calibration)
    if configuration.initial is None:
        settings = {k: v for k, v in settings.items() if not k.startswith("initial")}
    else:
        settings["initial"] = initial_identity(configuration.initial)
    return json.loads(json.dumps(settings, sort_keys=True, default=str))


def initial_identity(initial: str) -> str:
    """Return the hash of the file that a reconstruction starts from; a computed one's name.

    Parameters
    ----------
    initial : str
        As `ReconstructionConfiguration` has it.
    """
    return initial if initial in COMPUTED_STARTS else file_identity(initial)


def settings_hash(identity: dict[str, Any]) -> str:
    """Return the hash of what `settings_identity` returned.

    Parameters
    ----------
    identity : dict
        JSON can hold it.
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def changed_settings(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say which settings differ, for a message.

    Parameters
    ----------
    before, now : dict
        From `settings_identity`.
    """
    names = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    shown = [f"{name} {_short(before.get(name))} -> {_short(now.get(name))}" for name in names]
    return ", ".join(shown) or "something that it does not name"


def prior_identity(prior: ScoreModel, name: str | None = None) -> str:
    """Return a text that is the same for the same prior and differs for others.

    Parameters
    ----------
    prior : ScoreModel
        A network is known by its weights, another prior by its class and its spectrum.
    name : str, optional
        Under which `load_prior` found it: enough where neither weights nor spectrum are there.

    Returns
    -------
    str
        For a prior that cannot be recognised, a text that never comes again.
    """
    digest = hashlib.sha256(type(prior).__qualname__.encode())
    for limit in ("sigma_min", "sigma_max", "sigma_data"):
        digest.update(f"{limit}={getattr(prior, limit, None)}".encode())
    tensors: dict[str, Any] = {}
    if isinstance(prior, torch.nn.Module):
        tensors |= prior.state_dict()
    spectrum = getattr(prior, "prior_spectrum", None)
    if spectrum is not None and hasattr(spectrum, "tensors"):
        tensors |= {f"spectrum.{key}": value for key, value in spectrum.tensors().items()}
    mean = getattr(prior, "mean", None)
    if isinstance(mean, torch.Tensor):
        tensors["mean"] = mean
    if not tensors and name is None:
        return f"unknown-{uuid.uuid4().hex}"
    if not tensors:
        digest.update(str(name).encode())
    for key in sorted(tensors):
        value = tensors[key]
        if not isinstance(value, torch.Tensor):
            continue
        digest.update(f"{key} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_LENGTH]


def scan_identity(raw: RawKSpace) -> str:
    """Return a hash of a scan that is cheap for large files.

    The size of its file and 64 blocks of it, spread evenly, and what the reader makes of it: a
    file that was exchanged or written anew is found out, one changed at a single number may not
    be. Neither name nor date count.

    Parameters
    ----------
    raw : RawKSpace
        The opened scan.
    """
    found = files_of(raw.path)
    if not found:  # an array that never was a file
        return f"unknown-{uuid.uuid4().hex}"
    digest = hashlib.sha256()
    for file in found:
        digest.update(_sample_of(file))
    description = (raw.format, raw.n_slices, raw.n_coils, raw.shape, raw.crop, raw.axes)
    digest.update(repr(description).encode())
    for name, choice in sorted(raw.provenance.get("counters", {}).items()):
        if len(choice["available"]) > 1:  # which part of its file the scan is
            digest.update(f"{name}={choice['chosen']}".encode())
    digest.update(raw.mask.tobytes())
    if isinstance(raw, RawTrajectoryData):
        digest.update(repr((raw.chosen, raw.units)).encode())
        digest.update(np.ascontiguousarray(raw.trajectory(0)).tobytes())
    if raw.noise_covariance is not None:
        digest.update(raw.noise_covariance.tobytes())
    return digest.hexdigest()[:_LENGTH]


def files_of(path: Path | str) -> list[Path]:
    """Return the files behind a name: one, the two of a BART pair, or none where there is none.

    Parameters
    ----------
    path : pathlib.Path or str
        A file, or x, x.cfl or x.hdr of a pair; x may have dots in it.
    """
    path = Path(path)
    base = bart_base(path)
    if base is None or (path.is_file() and path.suffix not in (".cfl", ".hdr")):
        return [path] if path.is_file() else []
    pair = (base.with_name(base.name + suffix) for suffix in (".cfl", ".hdr"))
    return [file for file in pair if file.is_file()]


def _sample_of(file: Path) -> bytes:
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    step = max(_BLOCK, size // _BLOCKS)
    with file.open("rb") as stream:
        for start in range(0, size, step):
            stream.seek(start)
            digest.update(stream.read(_BLOCK))
        stream.seek(max(0, size - _BLOCK))
        digest.update(stream.read(_BLOCK))
    return digest.digest()


def file_identity(name: str) -> str:
    """Return the hash of a file's content; its name where there is no such file.

    Parameters
    ----------
    name : str
        Of the file, or of a BART pair.
    """
    files = files_of(name)
    if not files:
        return name
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_READ_AT_A_TIME):
                digest.update(block)
    return digest.hexdigest()[:_LENGTH]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else text[:8] + "..."
