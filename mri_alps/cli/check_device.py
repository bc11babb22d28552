"""``mri-alps check-device``."""

from __future__ import annotations

import json
import math
import platform
from typing import Any

import torch
from rich.table import Table

from mri_alps.cli.terminal import out, spinner
from mri_alps.core.errors import MriAlpsError
from mri_alps.diagnostics import (
    Comparison,
    Timing,
    compare_with_cpu,
    find_host_traffic,
    time_device,
)
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.priors import DEFAULT_PRIOR, NetworkPrior, load_prior

# Sizes that are through in a moment, to try the command out.
_QUICK: dict[str, Any] = {"shapes": ((64, 48),), "n_coils": 4, "batches": (1, 2), "n_repeats": 3}


def run_check_device(
    device: str = "auto", prior: str | None = None, quick: bool = False, as_json: bool = False
) -> None:
    """Check a device and print what was found.

    Parameters
    ----------
    device : str
        As `ReconstructionConfiguration` has it.
    prior : str or None
        Name or checkpoint; None for the default prior.
    quick : bool
        Time small images only.
    as_json : bool
        Print a JSON object instead of tables.

    Raises
    ------
    MriAlpsError
        If the device computes something else than the CPU, or the host has to wait for it.
    """
    chosen = ReconstructionConfiguration(device=device).torch_device()
    name = prior or DEFAULT_PRIOR
    with spinner() as progress:
        task = progress.add_task("loading the prior", total=None)
        here, there = load_prior(name), load_prior(name, device=chosen)
        for each in (here, there):
            if isinstance(each, NetworkPrior):  # compared to the rounding of single precision
                each.convolution_dtype = torch.float32
        progress.update(task, description="comparing with the CPU")
        comparisons = compare_with_cpu(here, there, chosen)
        progress.update(task, description="watching for host synchronisation")
        waits = {kind: find_host_traffic(there, chosen, kind) for kind in ("lines", "points")}
        timings = []
        for timing in time_device(there, chosen, **(_QUICK if quick else {})):
            timings.append(timing)
            progress.update(task, description=timing.name)
    places = list(dict.fromkeys(place for found in waits.values() for place in found))
    properties = device_properties(chosen)
    if chosen.type == "cpu":
        properties["note"] = (
            "no device: the code that a GPU takes runs on the CPU and is compared with the "
            "compiled network"
        )
    if as_json:
        print(json.dumps(_as_json(properties, comparisons, places, timings), indent=2))
    else:
        _print_tables(properties, comparisons, places, timings)
    _judge(chosen, comparisons, places)


def device_properties(device: torch.device) -> dict[str, Any]:
    """Return what the device is, and what it is driven by.

    Parameters
    ----------
    device : torch.device
        CPU or CUDA.
    """
    properties: dict[str, Any] = {"device": str(device), "torch": torch.__version__}
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        properties |= {
            "name": gpu.name,
            "memory_bytes": gpu.total_memory,
            "compute_capability": f"{gpu.major}.{gpu.minor}",
            "cuda": torch.version.cuda,
        }
    else:
        properties |= {
            "name": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
        }
    return properties


def _judge(device: torch.device, comparisons: list[Comparison], places: list[str]) -> None:
    differing = [f"{c.name} ({c.difference:.1e})" for c in comparisons if not c.equal]
    reasons = []
    if differing:
        reasons.append(f"differs from the CPU in {', '.join(differing)}")
    if places:
        reasons.append(f"makes the host wait in every step, at {len(places)} places")
    if reasons:
        raise MriAlpsError(f"{device} {' and '.join(reasons)}: see what was printed")


def _print_tables(
    properties: dict[str, Any],
    comparisons: list[Comparison],
    places: list[str],
    timings: list[Timing],
) -> None:
    console = out()
    console.print(", ".join(f"{key} {value}" for key, value in properties.items()), soft_wrap=True)
    table = Table("compared with the CPU", "relative difference", "", title_justify="left")
    for comparison in comparisons:
        verdict = "equal" if comparison.equal else f"[red]above {comparison.bound:g}[/red]"
        shown = "for information" if math.isinf(comparison.bound) else verdict
        table.add_row(comparison.name, f"{comparison.difference:.1e}", shown)
    console.print(table)
    if places:
        console.print("the host waits for the device in a step of the sampler:")
        for place in places:
            console.print(f"  {place}", soft_wrap=True, markup=False, highlight=False)
    else:
        console.print("no host synchronisation in a step of the sampler")
    with_memory = any(timing.peak_bytes is not None for timing in timings)
    table = Table("timed, median", "ms", *(["peak MB"] if with_memory else []))
    for timing in timings:
        memory = [] if timing.peak_bytes is None else [f"{timing.peak_bytes / 1e6:.0f}"]
        table.add_row(timing.name, f"{timing.milliseconds:.3g}", *memory)
    console.print(table)


def _as_json(
    properties: dict[str, Any],
    comparisons: list[Comparison],
    places: list[str],
    timings: list[Timing],
) -> dict[str, Any]:
    return {
        **properties,
        "comparisons": [
            {
                "name": c.name,
                "difference": c.difference,
                "bound": None if math.isinf(c.bound) else c.bound,
                "equal": c.equal,
            }
            for c in comparisons
        ],
        "host_synchronisation": places,
        "timings": [timing._asdict() for timing in timings],
    }
