"""What a reconstruction would cost: sizes, memory, time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from mri_alps.commands.terminal import out
from mri_alps.operators import SenseOperator, achieved_acceleration
from mri_alps.rawdata import RawKSpace
from mri_alps.reconstruction import ReconstructionConfiguration
from mri_alps.reconstruction.resources import memory_bytes
from mri_alps.reconstruction.undersampling import undersampling_mask
from mri_alps.reconstruction.volume import chosen_slices

# Applications of the normal operator per evaluation: what the sampler's solves take on scans.
_NORMALS_PER_EVALUATION = 5


def print_plan(
    raw: RawKSpace, prior: Any, configuration: ReconstructionConfiguration, device: torch.device
) -> None:
    """Print sizes, memory and estimated time of one reconstruction; write nothing.

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
    """
    n_slices = len(chosen_slices(raw, configuration))
    mask = undersampling_mask(raw, configuration)
    sampled = raw.slice_mask(0) if mask is None else raw.slice_mask(0) & mask
    seconds = n_slices * seconds_per_slice(raw, prior, configuration, device)
    table = Table(title=f"{Path(raw.path).name}: nothing is written", show_header=False)
    table.add_row("slices", f"{n_slices} of {raw.n_slices}")
    table.add_row("k-space of a slice", f"{raw.n_coils} coils, {raw.shape[0]} x {raw.shape[1]}")
    table.add_row("final image", f"{raw.crop[0]} x {raw.crop[1]}")
    table.add_row("acceleration", f"{achieved_acceleration(sampled):.2f}")
    table.add_row(
        "samples x evaluations", f"{configuration.n_samples} x {configuration.n_evaluations}"
    )
    table.add_row("output file", _bytes(n_slices * output_bytes_per_slice(raw, configuration)))
    memory = memory_bytes(raw.shape, raw.n_coils, configuration.n_samples)
    table.add_row("memory, about", _bytes(memory))
    table.add_row(f"time on {device}, about", _duration(seconds))
    out().print(table)


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
    complex_images = 1 + configuration.n_samples * configuration.save_samples
    complex_images += raw.n_coils * configuration.save_maps
    return 5 * 4 * cropped + 8 * pixels * complex_images


def seconds_per_slice(
    raw: RawKSpace, prior: Any, configuration: ReconstructionConfiguration, device: torch.device
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
    mask = torch.from_numpy(raw.slice_mask(0)).to(device)
    operator = SenseOperator(maps, mask)
    sigma = float(prior.sigma_max)
    evaluation = _seconds(lambda: prior.denoise(image, sigma), device)
    normal = _seconds(lambda: operator.normal(image), device)
    per_step = (evaluation + _NORMALS_PER_EVALUATION * normal) / batch
    return per_step * configuration.n_samples * configuration.n_evaluations


def _seconds(work: Any, device: torch.device) -> float:
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
