"""The command `mri-alps train`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mri_alps.core.errors import ConfigurationError, MissingDependencyError

Option = typer.Option


def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders: fully sampled fastMRI, ISMRMRD or BART scans, NIfTI, npz, npy."
        ),
    ],
    output: Annotated[
        Path, Option("--output", "-o", help="Folder of the run; a run that is there is resumed.")
    ],
    config: Annotated[
        Path | None, Option("--config", help="JSON file with (part of) the recipe.")
    ] = None,
    steps: Annotated[int | None, Option("--steps", min=1, help="Length of the run.")] = None,
    decay_steps: Annotated[
        int | None, Option("--decay-steps", min=0, help="Steps of cosine decay at the end.")
    ] = None,
    warmup_steps: Annotated[int | None, Option("--warmup-steps", min=0)] = None,
    learning_rate: Annotated[float | None, Option("--learning-rate", min=0.0)] = None,
    initial: Annotated[
        Path | None,
        Option(
            "--initial",
            help="Start from these weights (a prior's name or file), not from 0. The recipe's "
            "network may have more levels or blocks: it starts as the same function.",
        ),
    ] = None,
    seed: Annotated[int | None, Option("--seed", help="Everything random follows from it.")] = None,
    two_channel: Annotated[
        bool, Option("--two-channel", help="Ablation: a plain network without equivariance.")
    ] = False,
    validate: Annotated[
        list[str] | None,
        Option("--validate", help="Patients or volumes to hold out (shell pattern), repeatable."),
    ] = None,
    validation_fraction: Annotated[
        float | None, Option("--validation-fraction", help="Or hold out this fraction of them.")
    ] = None,
    validate_minutes: Annotated[
        float, Option("--validate-minutes", help="Time between validations.")
    ] = 30.0,
    checkpoint_minutes: Annotated[
        float, Option("--checkpoint-minutes", help="A killed run loses at most this.")
    ] = 5.0,
    stop_after_minutes: Annotated[
        float | None, Option("--stop-after-minutes", help="Save and stop after this time.")
    ] = None,
    cache: Annotated[
        Path | None,
        Option("--cache", help="Folder for combined raw scans (default: OUTPUT/cache)."),
    ] = None,
    workers: Annotated[int, Option("--workers", min=0, help="Processes that make batches.")] = 0,
    accelerator: Annotated[str, Option("--accelerator", help="auto, cpu, cuda, ...")] = "auto",
    devices: Annotated[str, Option("--devices", help="Count per node, or auto.")] = "1",
    nodes: Annotated[int, Option("--nodes", min=1, help="Number of machines.")] = 1,
    strategy: Annotated[str, Option("--strategy", help="auto, ddp, ...")] = "auto",
    precision: Annotated[
        str | None, Option("--precision", help="32-true, bf16-mixed or 16-mixed.")
    ] = None,
    compile_model: Annotated[
        bool, Option("--compile", help="Compile the gates: faster on a GPU.")
    ] = False,
    show_progress: Annotated[
        bool | None, Option("--progress/--no-progress", help="Default: on a terminal only.")
    ] = None,
) -> None:
    """Train a prior by denoising score matching; repeat the command to resume."""
    changes = {
        "steps": steps,
        "decay_steps": decay_steps,
        "warmup_steps": warmup_steps,
        "learning_rate": learning_rate,
        "seed": seed,
        "precision": precision,
        "validation_groups": list(validate) if validate else None,
        "validation_fraction": validation_fraction,
    }
    from mri_alps.training.session import SessionOptions, run_session

    try:
        import lightning.fabric  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "training needs Lightning: pip install 'mri-alps[train]'"
        ) from error
    if precision == "16-mixed" and accelerator == "cpu":
        raise ConfigurationError("16-mixed precision needs a GPU: choose bf16-mixed or 32-true")
    run_session(
        data,
        output,
        SessionOptions(
            config_file=config,
            changes={name: value for name, value in changes.items() if value is not None},
            two_channel=two_channel,
            validate_minutes=validate_minutes,
            checkpoint_minutes=checkpoint_minutes,
            stop_after_minutes=stop_after_minutes,
            cache=cache,
            initial=initial,
            workers=workers,
            fabric=_fabric_options(accelerator, devices, nodes, strategy),
            compile_model=compile_model,
            show_progress=_bar_is_wanted() if show_progress is None else show_progress,
        ),
    )


def _bar_is_wanted() -> bool:
    return sys.stderr.isatty() and logging.getLogger("mri_alps").getEffectiveLevel() <= logging.INFO


def _fabric_options(accelerator: str, devices: str, nodes: int, strategy: str) -> dict[str, Any]:
    if devices != "auto":
        try:
            count = int(devices)
        except ValueError as error:
            raise ConfigurationError(
                f"--devices must be a number or auto, found {devices!r}"
            ) from error
        return {
            "accelerator": accelerator,
            "devices": count,
            "num_nodes": nodes,
            "strategy": strategy,
        }
    return {
        "accelerator": accelerator,
        "devices": "auto",
        "num_nodes": nodes,
        "strategy": strategy,
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    typer.run(train)
