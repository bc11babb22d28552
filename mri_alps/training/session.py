"""From data and options to a trained prior: what the command line calls."""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.core.errors import ConfigurationError, MissingDependencyError, MriAlpsWarning
from mri_alps.priors import NetworkPrior, load_prior
from mri_alps.training._local_processes import meet_on_loopback
from mri_alps.training._logs import RunLog
from mri_alps.training._loop import StepReport, Trainer
from mri_alps.training._monitor import Monitor
from mri_alps.training._state import CHECKPOINT, read_config
from mri_alps.training.config import TrainingConfig
from mri_alps.training.images import ImageSet, balanced, split
from mri_alps.training.sources import load_images

if TYPE_CHECKING:
    from mri_alps.training.settings import SessionOptions


def choose_recipe(output: Path, options: SessionOptions) -> TrainingConfig:
    """Combine defaults or the run's own recipe, the file and the changes, the last one wins.

    Parameters
    ----------
    output : Path
        Folder of the run; the recipe inside its checkpoint is taken up if there is one.
    options : SessionOptions
        The rest.
    """
    checkpoint = Path(output) / CHECKPOINT
    if checkpoint.exists():
        recipe = read_config(checkpoint)
    elif options.initial is not None:
        recipe = TrainingConfig(**load_initial(options.initial).provenance["config"])
    else:
        recipe = TrainingConfig()
    values = recipe.to_dict()
    if options.config is not None:
        values |= TrainingConfig.entries(Path(options.config))
    recipe = TrainingConfig(**values | options.changes)
    if options.two_channel:
        recipe = dataclasses.replace(
            recipe, unet=dataclasses.replace(recipe.unet, equivariant=False)
        )
    return recipe


def run_session(data: Sequence[Path], output: Path, options: SessionOptions) -> bool:
    """Train until the recipe's steps are done or this session's time is up.

    Parameters
    ----------
    data : sequence of Path
        See `load_images`.
    output : Path
        Folder of the run.
    options : SessionOptions
        Where and how long.

    Returns
    -------
    bool
        True if the run is finished.
    """
    try:
        from lightning.fabric import Fabric
    except ImportError as error:
        raise MissingDependencyError(
            "training needs Lightning: pip install 'mri-alps[train]'"
        ) from error
    output = Path(output)
    recipe = choose_recipe(output, options)
    if recipe.precision == "16-mixed" and options.device == "cpu":
        raise ConfigurationError("16-mixed precision needs a GPU: choose bf16-mixed or 32-true")
    cache = Path(options.cache) if options.cache else output / "cache"
    with warnings.catch_warnings():
        # Lightning suggests more workers; batches are cheap here.
        warnings.filterwarnings("ignore", module="lightning")
        meet_on_loopback(options.fabric)
        fabric = Fabric(**options.fabric, precision=recipe.precision)
        fabric.launch()
    if fabric.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        load_images(data, cache)  # fills the cache once
    fabric.barrier()
    images = load_images(data, cache)
    training, held_out = split(
        images, recipe.validation_fraction, recipe.validation_groups, recipe.seed
    )
    if recipe.balance_anatomies:
        training = balanced(training)
    initial = None if options.initial is None else load_initial(options.initial)
    trainer = Trainer(
        fabric,
        recipe,
        training,
        output,
        _describe(training, held_out),
        options.compile_model,
        initial,
    )
    monitor = None
    if fabric.is_global_zero:
        monitor = _make_monitor(trainer, held_out, options)
    last: list[StepReport] = []

    def on_step(report: StepReport) -> None:
        if monitor is not None:
            last[:] = [report]
            monitor.step(report)

    minutes = options.stop_after_minutes
    finished = trainer.run(
        recipe.steps,
        workers=options.workers,
        on_step=on_step,
        checkpoint_seconds=options.checkpoint_minutes * 60,
        session_seconds=60 * (math.inf if minutes is None else minutes),
    )
    if monitor is not None:
        monitor.finish(last[0] if last else None)
    return finished


def held_out_groups(data: Sequence[Path], cache: Path, recipe: TrainingConfig) -> set[str]:
    """Return the patients or volumes that a run holds out.

    Parameters
    ----------
    data : sequence of Path
        See `load_images`.
    cache : Path
        Folder of combined raw scans.
    recipe : TrainingConfig
        Of the run.
    """
    images = load_images(data, cache)
    held_out = split(images, recipe.validation_fraction, recipe.validation_groups, recipe.seed)[1]
    return set(held_out.groups)


def load_initial(name_or_path: str | Path) -> NetworkPrior:
    """Load the weights to start from; an exact prior has none, which is an error.

    Parameters
    ----------
    name_or_path : str or pathlib.Path
        As `load_prior` takes it.
    """
    prior = load_prior(name_or_path)
    if not isinstance(prior, NetworkPrior):
        raise ConfigurationError(
            f"{name_or_path} is not a network: it has no weights to go on from"
        )
    return prior


def _make_monitor(trainer: Trainer, held_out: ImageSet, options: SessionOptions) -> Monitor:
    first, last = trainer.progress.step, trainer.config.steps
    if first >= last:
        warnings.warn(
            f"the run in {trainer.output} has taken all of its {last} steps (its weights are of "
            f"step {first}, those of --initial counted in): give more --steps to go on",
            MriAlpsWarning,
            stacklevel=3,
        )
    show_progress = options.show_progress
    if show_progress is None:
        level = logging.getLogger("mri_alps").getEffectiveLevel()
        show_progress = sys.stderr.isatty() and level <= logging.INFO
    log = RunLog(trainer.output, first, last, 50, show_progress)
    size = max(plan.size for plan in trainer.config.plans)
    return Monitor(trainer, held_out, log, options.validate_minutes, sample_shape=(4, size, size))


def _describe(training: ImageSet, held_out: ImageSet) -> dict[str, Any]:
    return {
        "fingerprint": training.fingerprint(),
        "n_images": len(training),
        "n_held_out": len(held_out),
        "held_out_groups": held_out.groups,
        "anatomies": dict(sorted(Counter(record.anatomy for record in training.records).items())),
    }
