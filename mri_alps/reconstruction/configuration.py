"""Everything that decides what a reconstruction comes out as, in one place."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import torch

from mri_alps.devices import find_device
from mri_alps.errors import ConfigurationError
from mri_alps.values import FLAG, MOST, PATH, TEXT, check, number, several, whole

DEFAULT_SEED = 0
_MOST_DRAWN = 2**31 - 1
_RULES = {
    "prior": PATH.or_none(),
    "method": TEXT,
    "n_samples": whole(-MOST, _MOST_DRAWN),  # too few of them: see below
    "n_evaluations": whole(-MOST, _MOST_DRAWN),
    "mask": PATH.or_none(),
    "acceleration": number(),
    "center_fraction": number().or_none(),
    "seed": whole(0).or_none(),
    "device": TEXT,
    "slices": several(whole(-MOST)).or_none(),
    "sensitivity_maps": PATH.or_none(),
    "coil_compression_tolerance": number().or_none(),
    "save_samples": FLAG,
    "save_maps": FLAG,
}


@dataclasses.dataclass(frozen=True)
class ReconstructionConfiguration:
    """The settings of a reconstruction.

    Parameters
    ----------
    prior : str or None
        Name of a built-in prior, path of a checkpoint, or None for the default prior.
    method : str
        Sampler, as `sample_posterior` names them.
    n_samples : int
        Posterior samples per slice, at least 2: a standard deviation needs two.
    n_evaluations : int
        Evaluations of the score network per sample.
    mask : str or None
        Retrospective undersampling: a kind of mask or a file; None keeps what was measured.
    acceleration : float
        Of the retrospective mask.
    center_fraction : float or None
        Fully sampled fraction at the centre of a retrospective mask; None for 0.32 divided by
        the acceleration, which gives fastMRI's 0.08 at 4x and 0.04 at 8x.
    seed : int or None
        Of the sampler and of the mask. None: the sampler uses 0, and the mask is seeded by the
        file's name, as fastMRI's evaluation does.
    device : str
        "auto", "cpu", "cuda" or "cuda:i".
    slices : tuple of int or None
        Slices to reconstruct; None for all.
    sensitivity_maps : str or None
        File with sensitivity maps, BART cfl or HDF5; None to estimate them from the scan.
    coil_compression_tolerance : float or None
        Compress the coils at each readout position until this fraction of a pixel's sensitivity
        is lost, 1e-2 for example; None keeps all coils.
    save_samples, save_maps : bool
        Whether the file holds the samples, and the sensitivity maps.

    Raises
    ------
    ConfigurationError
        If a setting makes no sense; the message says which and what would.
    """

    prior: str | None = None
    method: str = "alps"
    n_samples: int = 8
    n_evaluations: int = 100
    mask: str | None = None
    acceleration: float = 4.0
    center_fraction: float | None = None
    seed: int | None = None
    device: str = "auto"
    slices: tuple[int, ...] | None = None
    sensitivity_maps: str | None = None
    coil_compression_tolerance: float | None = None
    save_samples: bool = False
    save_maps: bool = False

    def __post_init__(self) -> None:
        check("the settings of a reconstruction", _RULES, vars(self))
        for name, value in list(vars(self).items()):  # kept as JSON can hold it
            if isinstance(value, os.PathLike):
                object.__setattr__(self, name, os.fspath(value))
            elif hasattr(value, "item"):  # a number of numpy's
                object.__setattr__(self, name, value.item())
        if self.slices is not None:
            object.__setattr__(self, "slices", tuple(map(int, self.slices)))
        if self.n_samples < 2:
            raise ConfigurationError(
                f"a standard deviation needs at least 2 samples, found {self.n_samples}: "
                "raise --n-samples (n_samples)"
            )
        if self.n_evaluations < 1:
            raise ConfigurationError(
                f"n_evaluations must be at least 1, found {self.n_evaluations}: "
                "raise --n-evaluations (n_evaluations)"
            )
        if not self.acceleration >= 1:
            raise ConfigurationError(
                f"an acceleration is at least 1, found {self.acceleration}: "
                "raise --acceleration (acceleration)"
            )
        tolerance = self.coil_compression_tolerance
        if tolerance is not None and not 0 < tolerance < 1:
            raise ConfigurationError(
                f"the tolerance of coil compression lies between 0 and 1, found {tolerance}: "
                "change --coil-compression-tolerance (coil_compression_tolerance)"
            )
        if self.center_fraction is not None and not 0 < self.center_fraction <= 1:
            raise ConfigurationError(
                f"the centre fraction lies between 0 and 1, found {self.center_fraction}: "
                "change --center-fraction (center_fraction)"
            )

    @property
    def effective_center_fraction(self) -> float:
        """Centre fraction of a retrospective mask after the default is filled in."""
        if self.center_fraction is not None:
            return self.center_fraction
        return min(1.0, 0.32 / self.acceleration)

    @property
    def sampler_seed(self) -> int:
        """Seed of the sampler's noise streams."""
        return DEFAULT_SEED if self.seed is None else self.seed

    def torch_device(self) -> torch.device:
        """Return the device that the `device` setting stands for on this machine.

        Raises
        ------
        ConfigurationError
            If the device is unknown or this machine does not have it.
        """
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = find_device(self.device)
        if device.type not in ("cpu", "cuda"):
            raise ConfigurationError(
                f"unknown device {self.device!r}: use auto, cpu, cuda or cuda:0"
            )
        return device

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(self.to_dict(), sort_keys=True)
