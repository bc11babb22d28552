"""Weights on disk: one safetensors file with its configuration inside, written atomically."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import InputFileError
from mri_alps.priors.network import NetworkPrior
from mri_alps.priors.spectrum import PriorSpectrum
from mri_alps.priors.unet import UNetConfig

FORMAT = "mri_alps.prior/1"
_KEY = "mri_alps"
_BLOCKS = ("encoder_blocks", "decoder_blocks")
_READ_AT_A_TIME = 2**20
SPECTRUM_PREFIX = "spectrum."


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON-able metadata to a safetensors file, all or nothing.

    Parameters
    ----------
    path : Path
        Replaced in one step: a killed process leaves the old file or the new one.
    tensors : dict of str to torch.Tensor
        Any devices.
    metadata : dict
        JSON-able.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Copies: safetensors refuses tensors that share memory.
    ready = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }
    with atomic_path(path) as temporary:
        save_file(ready, temporary, metadata={_KEY: json.dumps(metadata)})


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Parameters
    ----------
    path : Path
        A safetensors file.

    Returns
    -------
    tensors : dict of str to torch.Tensor
        On the CPU.
    metadata : dict
        As given to `save_tensors`.

    Raises
    ------
    InputFileError
        If the file is missing, damaged, or was not written by this package.
    """
    path = Path(path)
    if not path.is_file():
        raise InputFileError(f"no weights file at {path}: check the name, or train a prior first")
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = json.loads(text) if text is not None else None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputFileError(
            f"{path} is not a readable safetensors file ({error}): copy or download it again"
        ) from error
    if not isinstance(metadata, dict):
        raise InputFileError(
            f"{path} carries no mri_alps configuration: only files written by `mri-alps train` "
            "can be loaded by name; wrap another network with mri_alps.priors.adapters"
        )
    return tensors, metadata


def save_prior(
    path: Path,
    model: NetworkPrior,
    weights: dict[str, torch.Tensor] | None = None,
    spectrum: PriorSpectrum | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a network prior's weights with everything that `load_prior_file` needs.

    Parameters
    ----------
    path : Path
        Target, replaced atomically.
    model : NetworkPrior
        Gives configuration, and the weights unless `weights` does.
    weights : dict of str to torch.Tensor, optional
        For example averaged weights, named like `model.state_dict()`.
    spectrum : PriorSpectrum, optional
        For example of `mri_alps.training._spectrum.radial_spectrum`.
    provenance : dict, optional
        Training facts, JSON-able.
    """
    tensors = dict(weights if weights is not None else model.state_dict())
    if spectrum is not None:
        tensors |= {SPECTRUM_PREFIX + n: value for n, value in spectrum.tensors().items()}
    metadata = {"format": FORMAT, "prior": describe(model), "provenance": provenance or {}}
    save_tensors(path, tensors, metadata)


def load_prior_file(
    path: Path,
    device: torch.device | str = "cpu",
    sha256: str | None = None,
    expected: str = "the one that was asked for: copy or download it again",
) -> NetworkPrior:
    """Read a prior written by `save_prior`, ready for evaluation.

    Parameters
    ----------
    path : Path
        A safetensors file.
    device : torch.device or str
        Where the network shall run.
    sha256 : str, optional
        What the file's SHA-256 has to be, lower-case hexadecimal.
    expected : str
        Whose hash that is and what to do if it is not, for the message.

    Returns
    -------
    NetworkPrior
        In evaluation mode, without gradients, `prior_spectrum` attached if the file has one;
        `name` is the file's without its suffix, `checkpoint_sha256` its hash.

    Raises
    ------
    InputFileError
        If the file is missing, damaged, of another format or hash, or its weights do not fit or are
        not finite.
    """
    digest = _sha256(Path(path)) if Path(path).is_file() else ""
    if digest and sha256 is not None and digest != sha256:
        raise InputFileError(f"{path} has the SHA-256 {digest}, expected {sha256}, {expected}")
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputFileError(
            f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}: "
            "load the weights file (`prior.safetensors`) of a training run"
        )
    spectrum = {
        name.removeprefix(SPECTRUM_PREFIX): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(SPECTRUM_PREFIX)
    }
    try:
        model = _build_for(tensors, metadata.get("prior"), path)
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputFileError(
            f"the weights in {path} do not fit the configuration in the same file: {error}"
        ) from error
    if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
        raise InputFileError(
            f"weights in {path} are not finite: the training has diverged, so take an earlier "
            "file, or train again with a lower --learning-rate"
        )
    model.provenance = dict(metadata.get("provenance", {}))
    model.name = Path(path).stem
    model.checkpoint_sha256 = digest
    model.to(device).eval().requires_grad_(False)
    if spectrum:
        model.prior_spectrum = PriorSpectrum.from_tensors(spectrum)
    return model


def _build_for(tensors: dict[str, torch.Tensor], description: Any, path: Path) -> NetworkPrior:
    """Make the network that a file describes, if its tensors are those of that network.

    Compared first without memory for the weights: a description of a few bytes may ask for any
    amount of it.
    """
    unet = description.get("unet") if isinstance(description, dict) else None
    for name in _BLOCKS:
        counts = unet.get(name) if isinstance(unet, dict) else None
        n_blocks = sum(n for n in counts if isinstance(n, int)) if isinstance(counts, list) else 0
        if n_blocks > len(tensors):
            raise RuntimeError(f"{name} of {n_blocks} in all, and {len(tensors)} tensors for them")
    with torch.device("meta"):
        state = build_prior(description, path).state_dict()
    wanted = {name: tuple(value.shape) for name, value in state.items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted != found:
        name = next(n for n in sorted(wanted | found) if wanted.get(n) != found.get(n))
        raise RuntimeError(
            f"{name} has shape {found.get(name, 'none')}, expected {wanted.get(name, 'none')}"
        )
    return build_prior(description, path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_AT_A_TIME):
            digest.update(block)
    return digest.hexdigest()


def describe(model: NetworkPrior) -> dict[str, Any]:
    """Return what `build_prior` needs, JSON-able.

    Parameters
    ----------
    model : NetworkPrior
        The prior.
    """
    return {
        "unet": model.config.to_dict(),
        "sigma_data": model.sigma_data,
        "sigma_min": model.sigma_min,
        "sigma_max": model.sigma_max,
    }


def build_prior(description: Any, path: Path) -> NetworkPrior:
    """Make an untrained network from what `describe` returned; `path` is named in errors.

    Parameters
    ----------
    description : dict
        From `describe`, as it was read from a file.
    path : pathlib.Path
        The file.
    """
    try:
        values = dict(description)
        return NetworkPrior(UNetConfig(**values.pop("unet")), **values)
    except (TypeError, KeyError, ValueError) as error:
        raise InputFileError(f"the configuration inside {path} makes no sense: {error}") from error
