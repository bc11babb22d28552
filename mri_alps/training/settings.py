"""Settings of a training run: the numbers of its recipe, and where and how long it runs."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field

from mri_alps.core.settings import Text, Unbounded, Whole, setting, settings

RECIPE = "Recipe, instead of what the run, --initial or --config says"
MACHINE = "Machine"


@settings
class RecipeSettings:
    """The numbers of a recipe."""

    sigma_data: float = setting(
        "Root mean square of the images, for the preconditioning of the network.",
        default=0.3,
        above=0,
    )
    sigma_min: float = setting("Smallest noise level of the prior.", default=0.01, above=0)
    sigma_max: float = setting("Largest noise level of the prior.", default=12.0, above=0)
    steps: Whole = setting(
        "Length of the learning-rate schedule; a run can be resumed with more.",
        default=100_000,
        group=RECIPE,
        at_least=1,
    )
    warmup_steps: Whole = setting("Steps of linear warm-up.", default=300, group=RECIPE, at_least=0)
    decay_steps: Whole = setting(
        "The last steps, over which the rate falls to zero along a half cosine; it is constant "
        "between. Steps less warm-up give the plain cosine schedule.",
        default=20_000,
        group=RECIPE,
        at_least=0,
    )
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw, or muon, which takes convolutions along orthogonalised gradients.",
        default="adamw",
        group=RECIPE,
    )
    learning_rate: float = setting("The optimizer's.", default=1e-3, group=RECIPE, at_least=0)
    weight_decay: float = setting("The optimizer's.", default=0.0, at_least=0)
    gradient_clip: float = setting("Largest norm of a gradient.", default=1.0, at_least=0)
    ema_exponent: float = setting(
        "Averaged weights follow beta = (1 - 1/step)^(exponent + 1): a window that is a constant "
        "fraction of the run so far (6.94: a relative width of 10 %).",
        default=6.94,
        at_least=0,
    )
    seed: Whole = setting(
        "Initial weights, data order, augmentation and noise follow from it.",
        default=0,
        group=RECIPE,
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = setting(
        "Fabric's: 32-true, bf16-mixed or 16-mixed.", default="32-true", group=RECIPE
    )
    scale_jitter: float = setting(
        "Images are scaled by up to this fraction up or down, beyond their own scale.",
        default=0.3,
        at_least=0,
    )
    count_noise: bool = setting(
        "Images whose noise level is known (raw scans, npz with noise_std) are taken for noisy: "
        "their noise is part of the level and not learnt. They are neither warped nor changed by "
        "effects, which would change their noise.",
        default=False,
    )
    balance_anatomies: bool = setting(
        "Draw every anatomy equally often, however many slices there are of it. Raw scans tell it "
        "by the names of file or folder (brain, knee, ...), npz by an array anatomy.",
        default=False,
    )
    exclude_padding: bool = setting(
        "Score no pixels beyond a slice's edges, where crops show its mirror image; otherwise "
        "zeros are learnt there.",
        default=False,
    )
    validation_fraction: float = setting(
        "Hold out this fraction of patients or volumes, where validation_groups names none.",
        default=0.1,
        group=RECIPE,
        above=0,
        below=1,
    )
    validation_groups: tuple[str, ...] = setting(
        "Patients or volumes to hold out (--validate, repeatable).",
        default=(),
        values="shell patterns",
    )


@settings
class SessionOptions:
    """What does not belong to the recipe: where and how long to run.

    Parameters
    ----------
    changes : dict
        Entries of the recipe that override the file's and the run's own.
    """

    config: Text | None = setting(
        "JSON file with (part of) the recipe.", default=None, metavar="PATH"
    )
    initial: Text | None = setting(
        "Start from these weights (a prior's name or file), not from 0. The recipe's network may "
        "have more levels or blocks: it starts as the same function.",
        default=None,
    )
    two_channel: bool = setting("Ablation: a plain network without equivariance.", default=False)
    validate_minutes: Unbounded = setting("Time between validations.", default=30.0, at_least=0)
    checkpoint_minutes: Unbounded = setting(
        "A killed run loses at most this.", default=5.0, at_least=0
    )
    stop_after_minutes: Unbounded | None = setting(
        "Save and stop after this time.", default=None, at_least=0
    )
    cache: Text | None = setting(
        "Folder for combined raw scans. Left out: cache in the run's folder.",
        default=None,
        metavar="PATH",
    )
    workers: Whole = setting("Processes that make batches.", default=0, group=MACHINE, at_least=0)
    device: Annotated[Text, Field(pattern=r"^[a-z]{2,16}(:[0-9]{1,3})?$")] = setting(
        "auto, cpu, cuda, cuda:i, or another of Fabric's accelerators.",
        default="auto",
        group=MACHINE,
        values="auto, cpu, cuda, cuda:i or another of Fabric's accelerators",
    )
    devices: Annotated[Text, Field(pattern=r"^(auto|[0-9]{1,9})$")] = setting(
        "Count per node, or auto.", default="1", group=MACHINE, values="a number or auto"
    )
    nodes: Whole = setting("Number of machines.", default=1, group=MACHINE, at_least=1)
    strategy: Text = setting("auto, ddp, ...", default="auto", group=MACHINE)
    compile_model: bool = setting(
        "Compile the gates: faster on a GPU.", default=False, group=MACHINE, option="--compile"
    )
    show_progress: bool | None = setting(
        "Draw a progress bar. Left out: on a terminal only.",
        default=None,
        option="--progress/--no-progress",
    )
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def fabric(self) -> dict[str, Any]:
        """Arguments of `lightning.fabric.Fabric`."""
        accelerator, _, index = self.device.partition(":")
        count = self.devices if self.devices == "auto" else int(self.devices)
        return {
            "accelerator": accelerator,
            "devices": [int(index)] if index else count,
            "num_nodes": self.nodes,
            "strategy": self.strategy,
        }
