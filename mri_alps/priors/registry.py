"""Priors by name or path."""

from __future__ import annotations

from pathlib import Path

import torch

from mri_alps.errors import InputFileError
from mri_alps.priors.checkpoint import load_prior_file
from mri_alps.priors.gaussian import GaussianPrior
from mri_alps.priors.network import NetworkPrior

DEFAULT_PRIOR = "brain-small"
GAUSSIAN = "gaussian"
_WEIGHTS = Path(__file__).parent / "weights"
_SUFFIX = ".safetensors"


def available_priors() -> list[str]:
    """List the names of the priors inside the package."""
    return sorted(path.stem for path in _WEIGHTS.glob(f"*{_SUFFIX}"))


def load_prior(
    name_or_path: str | Path = DEFAULT_PRIOR, device: torch.device | str = "cpu"
) -> NetworkPrior | GaussianPrior:
    """Load a score model.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a prior inside the package, "gaussian" (power-law spectrum, closed form), a
        weights file, or the folder of a training run (its averaged weights).
    device : torch.device or str
        Where it shall run.

    Returns
    -------
    NetworkPrior or GaussianPrior
        A `ScoreModel` in evaluation mode; `prior_spectrum` is set if the weights carry one.

    Raises
    ------
    InputFileError
        If there is no such prior or its file cannot be used.
    """
    if str(name_or_path) == GAUSSIAN:
        # Wider at high frequencies than brains alone would have it: a real 8-coil brain, the
        # demo and a phantom with sharp edges all came out with a data misfit near 1.
        return GaussianPrior.power_law(exponent=2.5)
    packaged = _WEIGHTS / f"{name_or_path}{_SUFFIX}"
    if str(name_or_path) in available_priors():
        return load_prior_file(packaged, device)
    path = Path(name_or_path)
    if path.is_dir():
        path = path / "prior.safetensors"
    if not path.is_file():
        names = ", ".join([*available_priors(), GAUSSIAN])
        raise InputFileError(
            f"no prior called {str(name_or_path)!r}: expected a weights file, the folder of a "
            f"training run, or one of the packaged priors ({names})"
        )
    return load_prior_file(path, device)
