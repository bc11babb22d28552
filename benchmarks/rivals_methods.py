"""Names, grids and calls of everything in the table of `benchmark_rivals.py`."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from reconstruction_case import Case
from reconstruction_rivals import BART_WEIGHTS, bart_wavelets, cg_sense, zero_filled
from rivals_case import case_problem
from rivals_points import sigpy_version, sigpy_wavelets
from rivals_samplers import sample_dds, sample_diffpir, sample_pigdm, sample_score_mri

from mri_alps import sample_posterior
from mri_alps.sampling import plug_and_play
from mri_alps.sampling.baselines import sample_csgm, sample_dps

OURS = "mri_alps"


@dataclass(frozen=True)
class Method:
    """One row: how it is run, and the grid of settings that it is tuned over.

    `run` takes case, prior, n_samples, n_evaluations, seed and a setting; it returns images
    (n, H, W), evaluations of the network for all of them together, and a remark. `run_independent`
    does the same where samples of `run` are antithetic.
    """

    run: Callable
    grid: dict[str, tuple] = field(default_factory=dict)
    is_sampler: bool = False
    run_independent: Callable | None = None
    divided_by: int = 1  # of a run over a grid of weights, the time of one is told

    def settings(self) -> list[dict[str, Any]]:
        """All combinations of the grid; one empty one of an empty grid."""
        values = itertools.product(*self.grid.values())
        return [dict(zip(self.grid, chosen, strict=True)) for chosen in values]


def of_image(make) -> Callable:
    """A method that knows nothing of the network."""

    def run(case, prior, n_samples, n_evaluations, seed):
        found = make(case)
        image, note = found if isinstance(found, tuple) else (found, "")
        return image[None], 0, note

    return run


def run_dpir(case, prior, n_samples, n_evaluations, seed, **setting):
    image, count = plug_and_play(prior, case_problem(case), **setting)
    return image[None], count, ""


WITHOUT_WEIGHTS = ("DDS", "score-MRI", "csgm")
"""Samplers that do better without the weights which calibration gives the lines: by 1, 12 and 13 dB
on `brain_axial_16ch_96.h5` at 4x, where maps err most; the others do better with them."""


def of_sampler(name: str, method, antithetic: bool = False) -> Callable:
    """A method of `sample_posterior`."""

    def run(case: Case, prior, n_samples, n_evaluations, seed, **setting):
        acquisition = case.acquisition
        if name in WITHOUT_WEIGHTS:
            acquisition = dataclasses.replace(acquisition, weights=None)
        result = sample_posterior(
            prior,
            acquisition.operator(),
            acquisition.data(),
            case.noise_std,
            n_samples=n_samples,
            n_evaluations=n_evaluations,
            method=functools.partial(method, **setting) if callable(method) else method,
            generator=torch.Generator().manual_seed(seed),
            antithetic=antithetic,
        )
        return result.samples, n_samples * result.n_evaluations, ""

    return run


def methods() -> dict[str, Method]:
    """Everything that can be run here, in the order of the table."""
    found = {"zero-filled": Method(of_image(zero_filled)), "CG-SENSE": Method(of_image(cg_sense))}
    if shutil.which("bart"):
        found["BART L1-wavelet"] = Method(of_image(bart_wavelets), divided_by=len(BART_WEIGHTS))
    if sigpy_version():
        found["sigpy L1-wavelet"] = Method(of_image(sigpy_wavelets), divided_by=len(BART_WEIGHTS))
    grid = {"n_steps": (8, 24), "weight": (0.1, 0.23, 0.5, 1.0), "start": (49 / 255, 1.0)}
    found["DPIR, stock"] = Method(run_dpir)
    found["DPIR"] = Method(run_dpir, grid)
    samplers = {
        "DPS": (sample_dps, {"scale": (1.0, 3.0, 10.0, 30.0)}),
        "PiGDM": (sample_pigdm, {"scale": (0.5, 1.0), "prior_std": (1.0, 0.3)}),
        "DiffPIR": (sample_diffpir, {"weight": (1.0, 3.0, 10.0), "zeta": (0.3, 0.7, 1.0)}),
        "DDS": (sample_dds, {"gamma": (1.0, 5.0, 25.0), "eta": (0.15, 0.5, 0.85)}),
        "score-MRI": (sample_score_mri, {"snr": (0.08, 0.16, 0.32), "sigma_start": (None, 4.0)}),
        "csgm": (sample_csgm, {"step": (0.12, 0.25, 0.5, 0.8)}),
    }
    for name, (method, its_grid) in samplers.items():
        found[name] = Method(of_sampler(name, method), its_grid, is_sampler=True)
    ours = of_sampler(OURS, "alps", antithetic=True)
    found[OURS] = Method(ours, is_sampler=True, run_independent=of_sampler(OURS, "alps"))
    return found


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
