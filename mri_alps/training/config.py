"""Everything that defines a training run, JSON-able, stored in its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import field
from pathlib import Path
from typing import Any

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import Whole, setting, settings, settings_text
from mri_alps.priors import UNetConfig
from mri_alps.training.settings import RecipeSettings


@settings
class CropPlan:
    """One kind of training step: crops of one size at a range of noise levels.

    Small crops are cheap and enough for small noise levels; large noise levels need crops that
    show the anatomy. A step takes one plan, drawn with probability proportional to `share`.
    """

    size: Whole = setting("Edge of the square crops in pixels.", at_least=1)
    batch_size: Whole = setting("Crops per step and process.", at_least=1)
    sigma_min: float = setting(
        "Smallest noise level; they are drawn log-uniformly and stratified over the batch.", above=0
    )
    sigma_max: float = setting("Largest noise level.", above=0)
    share: float = setting("Relative frequency of the plan.", default=1.0, above=0)
    coarse: bool = setting(
        "Reduce the slice to about the crop's matrix first, by leaving out the periphery of its "
        "k-space, as a scan of that resolution does: so small crops show whole heads.",
        default=False,
    )

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ConfigurationError(f"a crop plan needs sigma_min < sigma_max, found {self}")


@settings
class ScannerEffects:
    """What real scans have and collections of magnitude images lack, simulated in training.

    Each strength or share is 0, which leaves the effect out, or more.
    """

    contrast: float = setting(
        "Strength of a random monotone change of contrast, largest change of its slope.",
        default=0.0,
        at_least=0,
        below=1,
    )
    phase_edges: float = setting(
        "Share of crops whose phase has edges: bright tissue turned as fat is, and dipole fields "
        "around air.",
        default=0.0,
        at_least=0,
        at_most=1,
    )
    lost_periphery: float = setting(
        "Share of crops from slices whose k-space was filled up with zeros, or partly on one side "
        "(partial Fourier).",
        default=0.0,
        at_least=0,
        at_most=1,
    )


DEFAULT_PLANS = (
    CropPlan(size=96, batch_size=8, sigma_min=0.008, sigma_max=1.0, share=0.4),
    CropPlan(size=160, batch_size=3, sigma_min=0.03, sigma_max=4.0, share=0.3),
    CropPlan(size=256, batch_size=2, sigma_min=0.1, sigma_max=16.0, share=0.3),
)


@settings
class TrainingConfig(RecipeSettings):
    """Recipe of a training run.

    Parameters
    ----------
    unet : UNetConfig
        Layout of the network.
    plans : tuple of CropPlan
        Kinds of training steps.
    effects : ScannerEffects
        Simulated on the training images.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    plans: tuple[CropPlan, ...] = DEFAULT_PLANS
    effects: ScannerEffects = field(default_factory=ScannerEffects)

    def __post_init__(self) -> None:
        if not self.plans:
            raise ConfigurationError("a training needs at least one crop plan")
        if self.optimizer == "muon" and not self.unet.equivariant:
            raise ConfigurationError(
                "the optimizer muon is for complex convolutions, of which a two-channel network "
                "has none: choose adamw"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values that make the same again."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def entries(cls, path: Path) -> dict[str, Any]:
        """Read a JSON file with some or all of the attributes.

        Parameters
        ----------
        path : Path
            JSON object.

        Raises
        ------
        ConfigurationError
            If the file is not a JSON object or an entry is unknown.
        """
        try:
            values = json.loads(settings_text(Path(path)))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"cannot read the configuration {path}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigurationError(
                f"{path} must hold a JSON object, found {type(values).__name__}"
            )
        cls(**values)
        return values
