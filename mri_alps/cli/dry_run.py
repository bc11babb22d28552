"""What a reconstruction would cost: sizes, memory, time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from mri_alps.core.plugins import guarded
from mri_alps.masks.kinds import achieved_acceleration
from mri_alps.operators import LinearOperator, NonCartesianSenseOperator, SenseOperator
from mri_alps.pipeline import (
    ReconstructionConfiguration,
    check_warm_start,
    choose_batch,
    chosen_slices,
    evaluation_bytes,
    memory_bytes,
    part_name,
    undersampling_mask,
)
from mri_alps.priors import ScoreModel
from mri_alps.rawdata import RawKSpace, RawTrajectoryData, acceleration

# Applications of the normal operator per evaluation: what the sampler's solves take on scans.
_NORMALS_PER_EVALUATION = 5


def plan(
    raw: RawKSpace,
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    device: torch.device,
) -> dict[str, Any]:
    """Return sizes, memory and estimated time of one reconstruction; write nothing.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    prior : ScoreModel
        The loaded prior, timed on one evaluation.
    configuration : ReconstructionConfiguration
        The settings.
    device : torch.device
        Where the work would be done.

    Returns
    -------
    dict
        As JSON can hold it; bytes and seconds where the name says so.
    """
    check_warm_start(raw, configuration)
    n_slices = len(chosen_slices(raw, configuration))
    mask = undersampling_mask(raw, configuration)
    if isinstance(raw, RawTrajectoryData):
        sampled = raw.mask[0]
        factor = acceleration(raw.trajectory(0), raw.shape, raw.kind)
    else:
        sampled = raw.slice_mask(0) if mask is None else raw.slice_mask(0) & mask
        factor = float(achieved_acceleration(sampled))
    seconds = n_slices * seconds_per_slice(raw, prior, configuration, device)
    lines = bool((sampled == sampled[:1]).all() or (sampled == sampled[:, :1]).all())
    evaluation = evaluation_bytes(prior, raw.shape, device) if device.type == "cpu" else None
    batch = choose_batch(prior, raw.shape, raw.n_coils, configuration.n_samples, device)
    return {
        "source": str(raw.path),
        "part": part_name(configuration)[1:],
        "n_slices": n_slices,
        "n_slices_in_file": raw.n_slices,
        "n_coils": raw.n_coils,
        "shape": list(raw.shape),
        "crop": list(raw.crop),
        "acceleration": factor,
        "n_samples": configuration.most_samples,
        "n_evaluations": configuration.n_evaluations,
        "output_bytes": n_slices * output_bytes_per_slice(raw, configuration),
        "batch": batch,
        "memory_bytes": int(
            memory_bytes(raw.shape, raw.n_coils, batch, evaluation, raw.crop, lines)
        ),
        "device": str(device),
        "seconds": seconds,
    }


def plan_table(planned: dict[str, Any]) -> Table:
    """Return a plan as a table for people.

    Parameters
    ----------
    planned : dict
        From `plan`.
    """
    name = f"{Path(planned['source']).name} {planned['part']}".strip()
    table = Table(title=f"{name}: nothing is written", show_header=False)
    table.add_row("slices", f"{planned['n_slices']} of {planned['n_slices_in_file']}")
    readout, phase_encode = planned["shape"]
    table.add_row("k-space of a slice", f"{planned['n_coils']} coils, {readout} x {phase_encode}")
    table.add_row("final image", " x ".join(map(str, planned["crop"])))
    table.add_row("acceleration", f"{planned['acceleration']:.2f}")
    table.add_row("samples x evaluations", f"{planned['n_samples']} x {planned['n_evaluations']}")
    table.add_row("output file", _bytes(planned["output_bytes"]))
    table.add_row("samples at a time", str(planned["batch"]))
    table.add_row("memory, about", _bytes(planned["memory_bytes"]))
    table.add_row(f"time on {planned['device']}, about", _duration(planned["seconds"]))
    return table


def output_bytes_per_slice(raw: RawKSpace, configuration: ReconstructionConfiguration) -> int:
    """Return the size that one slice takes in the output file.

    Parameters
    ----------
    raw : RawKSpace
        For the sizes.
    configuration : ReconstructionConfiguration
        For what is saved.
    """
    pixels, cropped = raw.shape[0] * raw.shape[1], raw.crop[0] * raw.crop[1]
    complex_images = 1 + configuration.most_samples * configuration.save_samples
    complex_images += raw.n_coils * configuration.save_maps
    return 5 * 4 * cropped + 8 * pixels * complex_images


def seconds_per_slice(
    raw: RawKSpace,
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    device: torch.device,
) -> float:
    """Estimate the time of a slice from one evaluation of the prior and of `normal`.

    Parameters
    ----------
    raw : RawKSpace
        For the sizes.
    prior : ScoreModel
        Evaluated on a batch of zeros.
    configuration : ReconstructionConfiguration
        For the number of samples and evaluations.
    device : torch.device
        Where the work would be done.
    """
    batch = min(configuration.n_samples, 2)
    image = torch.zeros((batch, *raw.shape), dtype=torch.complex64, device=device)
    maps = torch.ones((raw.n_coils, *raw.shape), dtype=torch.complex64, device=device)
    operator: LinearOperator
    if isinstance(raw, RawTrajectoryData):
        operator = NonCartesianSenseOperator(
            maps, torch.as_tensor(raw.trajectory(0)[:2])
        )  # as fast as with all
    else:
        operator = SenseOperator(maps, torch.from_numpy(raw.slice_mask(0)).to(device))
    sigma = float(prior.sigma_max)
    with guarded("the prior", prior):
        evaluation = _seconds(lambda: prior.denoise(image, sigma), device)
    normal = _seconds(lambda: operator.normal(image), device)
    per_step = (evaluation + _NORMALS_PER_EVALUATION * normal) / batch
    return per_step * configuration.most_samples * configuration.n_evaluations


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    with torch.no_grad():
        work()  # the first call allocates
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
