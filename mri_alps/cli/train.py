"""The command `mri-alps train`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from mri_alps.cli.settings_options import takes_settings
from mri_alps.core.settings import description
from mri_alps.expectation_maximisation import UNDERSAMPLED, RoundSettings
from mri_alps.training import RECIPE, RecipeSettings, SessionOptions

_SCHEDULE = ("steps", "decay_steps", "warmup_steps")
_RECIPE = (*_SCHEDULE, "optimizer", "learning_rate", "seed", "precision")


@takes_settings(
    *(RecipeSettings, SessionOptions, RoundSettings),
    only=(
        *_RECIPE,
        "validation_fraction",
        *description(SessionOptions),
        *description(RoundSettings),
    ),
)
def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders: fully sampled fastMRI, ISMRMRD or BART scans, NIfTI, npz, npy. "
            "With --from-undersampled: raw scans."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the run; a run that is there is resumed."),
    ],
    recipe: Annotated[dict[str, Any], RecipeSettings],
    options: SessionOptions,
    rounds: RoundSettings,
    validate: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer resolves this at run time
        typer.Option(
            help="Patients or volumes to hold out (shell pattern), repeatable.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    from_undersampled: Annotated[
        bool,
        typer.Option(
            help="Train from undersampled scans alone: on their posterior samples, round by round.",
            rich_help_panel=UNDERSAMPLED,
        ),
    ] = False,
) -> None:
    """Train a prior by denoising score matching; repeat the command to resume."""
    from mri_alps.expectation_maximisation import train_from_undersampled
    from mri_alps.training import run_session

    if validate:
        recipe["validation_groups"] = validate
    options = dataclasses.replace(options, changes=recipe)
    if from_undersampled:
        train_from_undersampled(data, output, options, rounds)
    else:
        run_session(data, output, options)
