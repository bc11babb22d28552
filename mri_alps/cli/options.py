"""Options that several sub-commands share, and how their outputs describe a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mri_alps.cli.settings_options import takes_settings
from mri_alps.pipeline import SAMPLER_GROUP, SELECTING, ReconstructionConfiguration

if TYPE_CHECKING:
    from mri_alps.rawdata import RawKSpace

PriorOption = Annotated[
    Optional[str],  # noqa: UP045 - typer resolves this at run time
    typer.Option(
        "--prior",
        help="Built-in prior (anatomy-small, brain-small, gaussian), a checkpoint, hf:owner/name, "
        "or a name that an installed package registers.",
        rich_help_panel=SAMPLER_GROUP,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda or cuda:i.", rich_help_panel=SAMPLER_GROUP),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

SAMPLING_SETTINGS = (
    *("prior", "method", "n_samples", "n_evaluations", "seed", "device"),
    *("center_fraction", "slices", "field_of_view", *SELECTING),
)
takes_sampling_settings = takes_settings(
    ReconstructionConfiguration,
    only=SAMPLING_SETTINGS,
    defaults={"n_evaluations": 50},  # many posteriors are sampled, and only compared
)
"""For commands that sample posteriors with masks of their own."""


def each(configuration: ReconstructionConfiguration) -> str:
    """Return of what a posterior is made, in words.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        As it will be used.
    """
    samples, evaluations = configuration.n_samples, configuration.n_evaluations
    return f"{samples} samples of {evaluations} evaluations each"


def tell_notes(scans: Iterable[RawKSpace]) -> None:
    """Print what readers did to scans, but for what calibration warns of.

    Parameters
    ----------
    scans : iterable of RawKSpace
        The scans.
    """
    from mri_alps.cli.terminal import print_message
    from mri_alps.rawdata import notes_of

    for raw in scans:
        for note in notes_of(raw, with_warnings=False):
            print_message(f"{raw.path}: {note}")


def describe_run(
    inputs: Sequence[Path], configuration: ReconstructionConfiguration, **own: Any
) -> dict[str, Any]:
    """Return what was asked for, and by what it was done, for JSON and pages.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        As the user gave them.
    configuration : ReconstructionConfiguration
        As it was used.
    **own
        What the command alone has.
    """
    from mri_alps.pipeline import versions

    return {
        "inputs": [str(path) for path in inputs],
        **own,
        "configuration": configuration.to_dict(),
        "versions": versions(),
    }
