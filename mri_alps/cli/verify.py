"""``mri-alps verify``."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from mri_alps.cli.check_device import device_properties
from mri_alps.cli.terminal import out, spinner
from mri_alps.core.errors import MriAlpsError
from mri_alps.diagnostics import Verification, verify_exactness
from mri_alps.pipeline import ReconstructionConfiguration


def run_verify(device: str = "auto", seed: int = 0, as_json: bool = False) -> None:
    """Check the sampler against known answers and print what was found.

    Parameters
    ----------
    device : str
        As `ReconstructionConfiguration` has it.
    seed : int
        Of truths, noise and samples.
    as_json : bool
        Print a JSON object instead of a table.

    Raises
    ------
    MriAlpsError
        If a figure lies outside its bounds.
    """
    chosen = ReconstructionConfiguration(device=device, seed=seed).torch_device()
    found: list[Verification] = []
    with spinner() as progress:
        task = progress.add_task("sampling problems whose answer is known", total=None)
        for verification in verify_exactness(chosen, seed):
            found.append(verification)
            progress.update(task, description=f"{verification.name}: done")
    properties = device_properties(chosen) | {"seed": seed}
    if as_json:
        print(json.dumps(properties | {"problems": [_as_json(v) for v in found]}, indent=2))
    else:
        out().print(", ".join(f"{k} {v}" for k, v in properties.items()), soft_wrap=True)
        out().print(_table(found))
    _judge(str(chosen), found)


def _judge(device: str, found: list[Verification]) -> None:
    beyond = [
        f"{figure.name} {figure.value:.3f}, not {figure.low:.3f} to {figure.high:.3f} ({v.name})"
        for v in found
        for figure in v.figures
        if not figure.passed
    ]
    if beyond:
        raise MriAlpsError(
            f"samples drawn on {device} are not those of the posterior: {'; '.join(beyond)}; try "
            "--device cpu and another --seed, and report it with the output of --json"
        )


def _table(found: list[Verification]) -> Table:
    table = Table("problem", "figure", "found", "bounds", "")
    for v in found:
        lines = [
            v.name,
            f"{v.n_samples} samples, {v.n_evaluations} evaluations each,",
            f"{v.normals:.1f} applications of A^H A per evaluation,",
            f"{v.seconds:.1f} seconds; the known answer {v.reference_seconds:.1f}",
        ]
        lines += [""] * (len(v.figures) - len(lines))
        for line, figure in zip(lines, v.figures, strict=True):
            table.add_row(
                line,
                figure.name,
                f"{figure.value:.3f}",
                f"{figure.low:.3f} to {figure.high:.3f}",
                "pass" if figure.passed else "[red]FAIL[/red]",
            )
        table.add_section()
    return table


def _as_json(v: Verification) -> dict[str, Any]:
    figures = [{**figure._asdict(), "passed": figure.passed} for figure in v.figures]
    return {**v._asdict(), "figures": figures, "passed": v.passed}
