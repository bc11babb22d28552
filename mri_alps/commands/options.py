"""Options that several sub-commands share, and the configuration that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from mri_alps.reconstruction import ReconstructionConfiguration

SCAN_PANEL = "Scan and sampling"
SAMPLER_PANEL = "Prior and sampler"
OUTPUT_PANEL = "Output"
MANY_PANEL = "Many scans, many machines"

PriorOption = Annotated[
    Optional[str],  # noqa: UP045 - typer resolves this at run time
    typer.Option(
        "--prior",
        help="Built-in prior (brain-small, gaussian), a checkpoint, or a name that an installed "
        "package registers.",
        rich_help_panel=SAMPLER_PANEL,
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        help="Sampler: alps, xgp1, xgp2, xgp3, csgm, dps, or a name that an installed package "
        "registers.",
        rich_help_panel=SAMPLER_PANEL,
    ),
]
SamplesOption = Annotated[
    int,
    typer.Option("--n-samples", help="Posterior samples per slice.", rich_help_panel=SAMPLER_PANEL),
]
EvaluationsOption = Annotated[
    int,
    typer.Option(
        "--n-evaluations",
        help="Evaluations of the prior per sample.",
        rich_help_panel=SAMPLER_PANEL,
    ),
]
SeedOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--seed",
        help="Of sampler and mask. Left out: 0, and the mask by file name as in fastMRI.",
        rich_help_panel=SAMPLER_PANEL,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda or cuda:i.", rich_help_panel=SAMPLER_PANEL),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
CenterFractionOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--center-fraction",
        help="Fully sampled centre of masks. Left out: 0.32 / acceleration.",
        rich_help_panel=SCAN_PANEL,
    ),
]
SlicesOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--slices",
        help="For example 3 or 0,2,5-7. Left out: all.",
        rich_help_panel=SCAN_PANEL,
    ),
]


def make_shared_configuration(
    prior: str | None,
    method: str,
    n_samples: int,
    n_evaluations: int,
    seed: int | None,
    device: str,
    center_fraction: float | None,
    slices: str | None,
) -> ReconstructionConfiguration:
    """Put the shared options together.

    Parameters
    ----------
    prior, method, n_samples, n_evaluations, seed, device, center_fraction
        As `ReconstructionConfiguration` has them.
    slices : str or None
        As the user wrote it.
    """
    from mri_alps.reconstruction import ReconstructionConfiguration

    return ReconstructionConfiguration(
        prior=prior,
        method=method,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        seed=seed,
        device=device,
        center_fraction=center_fraction,
        slices=slices,  # type: ignore[arg-type]
    )
