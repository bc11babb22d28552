"""Everything that defines a training run, JSON-able, stored in its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import settings_text
from mri_alps.priors.unet import UNetConfig


@dataclass(frozen=True)
class CropPlan:
    """One kind of training step: crops of one size at a range of noise levels.

    Small crops are cheap and enough for small noise levels; large noise levels need crops that
    show the anatomy. A step takes one plan, drawn with probability proportional to `share`.

    Attributes
    ----------
    size : int
        Edge of the square crops in pixels.
    batch_size : int
        Crops per step and process.
    sigma_min, sigma_max : float
        Noise levels, drawn log-uniformly and stratified over the batch.
    share : float
        Relative frequency of the plan.
    coarse : bool
        Reduce the slice to about the crop's matrix first, by leaving out the periphery of its
        k-space, as a scan of that resolution does: so small crops show whole heads.
    """

    size: int
    batch_size: int
    sigma_min: float
    sigma_max: float
    share: float = 1.0
    coarse: bool = False

    def __post_init__(self) -> None:
        if min(self.size, self.batch_size) < 1 or not 0 < self.sigma_min < self.sigma_max:
            raise ConfigurationError(f"a crop plan needs positive sizes and levels, found {self}")
        if not self.share > 0:
            raise ConfigurationError(f"a crop plan's share must be positive, found {self.share}")


DEFAULT_PLANS = (
    CropPlan(size=96, batch_size=8, sigma_min=0.008, sigma_max=1.0, share=0.4),
    CropPlan(size=160, batch_size=3, sigma_min=0.03, sigma_max=4.0, share=0.3),
    CropPlan(size=256, batch_size=2, sigma_min=0.1, sigma_max=16.0, share=0.3),
)


@dataclass(frozen=True)
class TrainingConfig:
    """Recipe of a training run.

    Attributes
    ----------
    unet : UNetConfig
        Layout of the network.
    plans : tuple of CropPlan
        Kinds of training steps.
    sigma_data, sigma_min, sigma_max : float
        Preconditioning and range of the prior (see `NetworkPrior`).
    steps : int
        Length of the learning-rate schedule. A run can be resumed with more.
    warmup_steps : int
        Linear warm-up.
    decay_steps : int
        The last steps, over which the rate falls to zero along a half cosine; the rate is
        constant between. `steps - warmup_steps` gives the plain cosine schedule.
    learning_rate, weight_decay, gradient_clip : float
        AdamW's and the largest gradient norm.
    ema_exponent : float
        Averaged weights follow beta = (1 - 1/step)^(exponent + 1): a window that is a constant
        fraction of the run so far (6.94: a relative width of 10 %).
    seed : int
        Initial weights, data order, augmentation and noise follow from it.
    precision : str
        Fabric's: "32-true", "bf16-mixed", "16-mixed".
    scale_jitter : float
        Images are scaled by up to this fraction up or down, beyond their own scale.
    validation_fraction : float
        Fraction of patients or volumes held out, where `validation_groups` names none.
    validation_groups : tuple of str
        Shell patterns of groups to hold out.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    plans: tuple[CropPlan, ...] = DEFAULT_PLANS
    sigma_data: float = 0.3
    sigma_min: float = 0.01
    sigma_max: float = 12.0
    steps: int = 100_000
    warmup_steps: int = 300
    decay_steps: int = 20_000
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    ema_exponent: float = 6.94
    seed: int = 0
    precision: str = "32-true"
    scale_jitter: float = 0.3
    validation_fraction: float = 0.1
    validation_groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.plans:
            raise ConfigurationError("a training needs at least one crop plan")
        if self.steps < 1 or self.warmup_steps < 0 or self.decay_steps < 0:
            raise ConfigurationError(
                f"steps must be positive and warmup_steps, decay_steps not negative, found "
                f"{self.steps}, {self.warmup_steps}, {self.decay_steps}"
            )
        if not 0 < self.validation_fraction < 1:
            raise ConfigurationError(
                f"validation_fraction must lie between 0 and 1, found {self.validation_fraction}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values that `from_dict` reads."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Read what `to_dict` returned; missing entries take their defaults.

        Parameters
        ----------
        values : dict
            JSON-able.

        Raises
        ------
        ConfigurationError
            If an entry is unknown or makes no sense.
        """
        values = dict(values)
        try:
            if "unet" in values:
                values["unet"] = UNetConfig(**values["unet"])
            if "plans" in values:
                values["plans"] = tuple(CropPlan(**plan) for plan in values["plans"])
            if "validation_groups" in values:
                values["validation_groups"] = tuple(values["validation_groups"])
            return cls(**values)
        except TypeError as error:
            raise ConfigurationError(
                f"unknown entry in a training configuration: {error}"
            ) from error

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
        cls.from_dict(values)
        return values
