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
    progress, data = _counters(path, metadata)
    known = metadata["config"].get("optimizer", "adamw")
    if known != optimizer_name:
        raise ConfigurationError(
            f"{path} belongs to the optimizer {known}, whose moments are of no use to "
            f"{optimizer_name}: leave out --optimizer {optimizer_name}, or begin another run with "
            f"--initial {path.parent}"
        )
    averaged = _part(tensors, _AVERAGE)
    if _shapes(averaged) != _shapes(average.weights):
        raise _damaged(path, "averaged weights")
    for name, value in averaged.items():
        average.weights[name].copy_(value)
    state = optimizer.state_dict()
    state["state"] = _moments(path, model, _part(tensors, _OPTIMIZER))
    optimizer.load_state_dict(state)
    return progress, data


def _counters(path: Path, metadata: dict[str, Any]) -> tuple[Progress, dict[str, Any]]:
    """Return progress and description of the training set, which must be whole."""
    try:
        progress, data = Progress(**metadata["progress"]), metadata["data"]
        is_whole = isinstance(metadata["config"], dict) and bool(data["fingerprint"])
        is_whole &= type(progress.step) is int and progress.step >= 0
    except (KeyError, TypeError) as error:
        raise _damaged(path, "counters") from error
    if not is_whole:
        raise _damaged(path, "counters")
    return progress, data


def _moments(
    path: Path, model: nn.Module, moments: dict[str, torch.Tensor]
) -> dict[int, dict[str, torch.Tensor]]:
    """Return the optimizer's state of each parameter; none at all where no step was taken."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for index, (name, parameter) in enumerate(model.named_parameters()):
        entry = {
            key.removesuffix(f".{name}"): value
            for key, value in moments.items()
            if key.endswith(f".{name}")
        }
        step = {"step": entry.pop("step")} if "step" in entry else {}
        if any(value.shape != parameter.shape for value in entry.values()):
            raise _damaged(path, f"moments of {name}")
        entry = {key: value.to(parameter.device) for key, value in entry.items()}
        state[index] = step | entry
    kinds = {frozenset(entry) for entry in state.values()}
    if any(kind < other for kind in kinds for other in kinds):
        raise _damaged(path, "moments")
    return {index: entry for index, entry in state.items() if entry}


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def _damaged(path: Path, what: str) -> InputFileError:
    return InputFileError(
        f"{path} is damaged: its {what} are not those of a training run; copy it again, or begin "
        f"another run with --initial {path.parent / PRIOR}"
    )


def read_config(path: Path) -> TrainingConfig:
    """Return the recipe inside a run's checkpoint.

    Parameters
    ----------
    path : pathlib.Path
        The checkpoint.
    """
    _, metadata = load_tensors(path)
    try:
        return TrainingConfig(**metadata["config"])
    except (KeyError, TypeError) as error:
        raise _damaged(path, "settings") from error


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
