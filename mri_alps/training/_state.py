"""A run's state on disk: everything that the next step depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.priors import load_tensors, save_tensors
from mri_alps.training.config import TrainingConfig

if TYPE_CHECKING:
    from mri_alps.training.schedule import AveragedWeights

FORMAT = "mri_alps.training/1"
CHECKPOINT = "checkpoint.safetensors"
PRIOR = "prior.safetensors"
_MODEL, _AVERAGE, _OPTIMIZER = "model.", "average.", "optimizer."


@dataclass
class Progress:
    """What a run has done so far.

    Attributes
    ----------
    step : int
        Steps taken; the next one has this number.
    images_seen : int
        Crops that went through the network, all processes together.
    seconds : float
        Time spent in training, over all sessions.
    """

    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0


def save_state(
    path: Path,
    model: nn.Module,
    average: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: TrainingConfig,
    data: dict[str, Any],
) -> None:
    """Write a run's state atomically.

    Parameters
    ----------
    path : Path
        Checkpoint file.
    model : nn.Module
        The bare network (no wrapper).
    average : AveragedWeights
        Averaged weights.
    optimizer : torch.optim.Optimizer
        AdamW or Muon over `model.parameters()` in order.
    progress : Progress
        Counters.
    config : TrainingConfig
        Recipe.
    data : dict
        JSON-able description of the training set with its hash under `fingerprint`.
    """
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    tensors |= {_AVERAGE + name: value for name, value in average.weights.items()}
    names = [name for name, _ in model.named_parameters()]
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            tensors[f"{_OPTIMIZER}{key}.{names[index]}"] = torch.as_tensor(value)
    metadata = {
        "format": FORMAT,
        "config": config.to_dict(),
        "progress": vars(progress),
        "data": data,
    }
    save_tensors(path, tensors, metadata)


def load_state(
    path: Path,
    model: nn.Module,
    average: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    optimizer_name: str,
) -> tuple[Progress, dict[str, Any]]:
    """Read what `save_state` wrote into model, average and optimizer.

    Parameters
    ----------
    path : Path
        Checkpoint file.
    model, average, optimizer
        As given to `save_state`, freshly made.
    optimizer_name : str
        Its name in recipes.

    Returns
    -------
    progress : Progress
        Counters.
    data : dict
        Description of the training set.

    Raises
    ------
    InputFileError
        If the file is damaged or is no run's checkpoint.
    ConfigurationError
        If it belongs to another network or another optimizer.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputFileError(
            f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}: resume from the "
            f"{CHECKPOINT} of a training run"
        )
    try:
        model.load_state_dict(_part(tensors, _MODEL))
    except RuntimeError as error:
        raise ConfigurationError(
            f"{path} belongs to a network of another layout: {error}"
        ) from error
    known = metadata["config"].get("optimizer", "adamw")
    if known != optimizer_name:
        raise ConfigurationError(
            f"{path} belongs to the optimizer {known}, whose moments are of no use to "
            f"{optimizer_name}: leave out --optimizer {optimizer_name}, or begin another run with "
            f"--initial {path.parent}"
        )
    device = next(model.parameters()).device
    for name, value in _part(tensors, _AVERAGE).items():
        average.weights[name].copy_(value)
    moments = _part(tensors, _OPTIMIZER)
    state = optimizer.state_dict()
    state["state"] = {}
    for index, (name, _) in enumerate(model.named_parameters()):
        entry = {
            key.removesuffix(f".{name}"): value
            for key, value in moments.items()
            if key.endswith(f".{name}")
        }
        if entry:
            state["state"][index] = {
                key: value if key == "step" else value.to(device) for key, value in entry.items()
            }
    optimizer.load_state_dict(state)
    return Progress(**metadata["progress"]), metadata["data"]


def read_config(path: Path) -> TrainingConfig:
    """Return the recipe inside a run's checkpoint.

    Parameters
    ----------
    path : pathlib.Path
        The checkpoint.
    """
    _, metadata = load_tensors(path)
    return TrainingConfig(**metadata["config"])


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
