"""Priors by name or path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.devices import find_device
from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsError
from mri_alps.core.plugins import PRIORS, load_plugin, plugin_names
from mri_alps.core.values import PATH, check
from mri_alps.priors._hub import HUB, load_hub_prior
from mri_alps.priors._packaged import packaged_weights
from mri_alps.priors.checkpoint import load_prior_file
from mri_alps.priors.gaussian import GaussianPrior
from mri_alps.priors.protocol import ScoreModel

if TYPE_CHECKING:
    import torch

DEFAULT_PRIOR = "anatomy-small"
"""What `reconstruct` takes where no prior is named."""
GAUSSIAN = "gaussian"


def available_priors() -> list[str]:
    """List the names of the priors inside the package."""
    return list(packaged_weights())


def load_prior(
    name_or_path: str | Path = DEFAULT_PRIOR, device: torch.device | str = "cpu"
) -> ScoreModel:
    """Load a score model.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a prior inside the package, "gaussian" (power-law spectrum, closed form), a
        weights file, the folder of a training run (its averaged weights), a name that an
        installed package registers in the entry-point group ``mri_alps.priors`` (see
        `mri_alps.core.plugins`), or ``hf:owner/name`` for the file ``prior.safetensors`` of a
        repository on the Hugging Face Hub, ``hf:owner/name/file.safetensors`` for another file,
        either with ``@revision`` (a branch, a tag or a commit) behind.
    device : torch.device or str
        Where it shall run.

    Returns
    -------
    ScoreModel
        In evaluation mode; `prior_spectrum` is set if the weights carry one. The `name` of one
        from the hub tells the commit.

    Raises
    ------
    InputFileError
        If there is no such prior, the hub cannot be reached, or the file cannot be used or has
        another hash than the package's registry or the hub tell.
    MissingDependencyError
        If huggingface_hub is needed and not installed.
    ConfigurationError
        If the package that registers the name does not deliver a score model, or there is no such
        device.
    """
    check("load_prior", {"name_or_path": PATH}, locals())
    find_device(device)  # a plug-in is handed what was given
    if str(name_or_path) == GAUSSIAN:
        # Wider at high frequencies than brains alone would have it: a real 8-coil brain, the
        # demo and a phantom with sharp edges all came out with a data misfit near 1.
        return GaussianPrior.power_law(exponent=2.5)
    if str(name_or_path).startswith(HUB):
        return load_hub_prior(str(name_or_path), device)
    packaged = packaged_weights().get(str(name_or_path))
    if packaged is not None:
        return packaged.load(device)
    path = Path(name_or_path)
    if path.is_dir():
        path = path / "prior.safetensors"
    if path.is_file():
        return load_prior_file(path, device)
    registered = plugin_names(PRIORS)
    if str(name_or_path) in registered:
        return _plugin_prior(str(name_or_path), device)
    names = ", ".join([*available_priors(), GAUSSIAN, *registered])
    raise InputFileError(
        f"no prior called {str(name_or_path)!r}: expected a weights file, the folder of a "
        f"training run, hf:owner/name, or one of the priors known by name ({names})"
    )


def _plugin_prior(name: str, device: torch.device | str) -> ScoreModel:
    """A registered score model, or what a registered function of the device makes."""
    made = load_plugin(PRIORS, name)
    if isinstance(made, type) or not isinstance(made, ScoreModel):
        if not callable(made):
            raise _no_score_model(name, made)
        made = _call(name, made, device)
    if not isinstance(made, ScoreModel):
        raise _no_score_model(name, made)
    return made


def _call(name: str, function: Callable[..., object], device: torch.device | str) -> object:
    try:
        return function(device=device)
    except MriAlpsError:
        raise
    except Exception as error:  # whatever a foreign function does
        raise ConfigurationError(
            f"the prior {name!r}, registered in the entry-point group {PRIORS}, cannot be made "
            f"({type(error).__name__}: {error}): it is called with the keyword device"
        ) from error


def _no_score_model(name: str, made: object) -> ConfigurationError:
    return ConfigurationError(
        f"the prior {name!r}, registered in the entry-point group {PRIORS}, is a "
        f"{type(made).__name__}: expected a score model (denoise, score, sigma_min, sigma_max) or "
        "a function (device) that returns one"
    )
