"""What half and double of each tuned constant of sampling and calibration do.

    python benchmarks/benchmark_constants.py [--only solved_step,maps] [--seeds 2]

Constants are varied one at a time on the problems of `constant_beds`, whose truth is known; all
figures are means over the seeds, the same for each variant. Prints one table per problem, which
`docs/pages/reference/constants.md` is filled from; what is given "once more", with other noise,
tells how much is chance. Thresholds whose neutral value is 1 are varied in their distance from 1,
shares in what they can be.
"""

from __future__ import annotations

import argparse
import platform
import time
from typing import Any, NamedTuple

import constant_beds as beds
import numpy as np
import torch

import mri_alps
from mri_alps.core.errors import MriAlpsError
from tests.docs.constants_page import replaced, value_of


class Trial(NamedTuple):
    """A constant and two other values for it."""

    name: str
    half: Any
    double: Any


def trial(name: str, half: Any = None, double: Any = None) -> Trial:
    """A trial at half and double, where nothing else is said."""
    value = value_of(name)
    if half is None:
        half = value // 2 if isinstance(value, int) else value / 2
    return Trial(name, half, 2 * value if double is None else double)


ALPS = "sampling.path.AlpsConfiguration"
NOISE = "calibration.noise_estimate"
MAPS = "calibration.sensitivity.estimate_sensitivity_maps"
FIT = "calibration.maps_error"
REFINE = "calibration.refinement"
SOLVE = "inverse_problem.covariance"
SLOW = (beds.network, beds.dense_seconds)  # one seed


def large_path() -> list[Trial]:
    """What only learned scores need, and solvers."""
    names = ("sampling.alps.HANDOVER", "sampling.alps.FINISH", "sampling.alps.DATA_NOISE")
    return [
        *(trial(name) for name in names),
        trial(f"{ALPS}.guided_share"),
        *(trial(f"{SOLVE}.{n}") for n in ("TOLERANCE", "FINAL_TOLERANCE", "RELAXED", "HIDDEN")),
    ]


def every_path() -> list[Trial]:
    """What all problems have."""
    return [
        trial(f"{ALPS}.largest_step"),
        trial(f"{ALPS}.stable_curvature"),
        trial(f"{ALPS}.data_variance", 0.5, 1.0),
        trial(f"{ALPS}.start_excess"),
        trial(f"{ALPS}.rho"),
        trial(f"{ALPS}.score_energy_limit"),
    ]


def plan() -> dict[Any, list[Trial]]:
    """Problems, and the constants that each tells of."""
    curvature = [trial(f"priors.curvature.{n}") for n in ("N_ITERATIONS", "STEP", "SHIFT")]
    estimate = [trial(f"sampling.spectrum_estimate.{n}") for n in ("N_LEVELS", "N_ODE_STEPS")]
    only_exact = [trial("sampling.alps.DATA_NOISE_OF_DENSITY"), trial(f"{ALPS}.final_share")]
    quiet = [trial(f"{NOISE}.QUIET_LINES", double=1.0), trial(f"{NOISE}.ENOUGH_SAMPLES")]
    level = trial(f"{NOISE}.LEVEL_LIMIT", 1.25, 2.0)
    fit = ("SMALLEST_ERROR", "_ROUNDS", "_ITERATIONS", "_FITS", "_AMPLITUDE", "_KNEE", "_EXPONENT")
    return {
        beds.exact_step: every_path() + only_exact,
        beds.solved_step: large_path(),
        beds.network: [*large_path(), trial(f"{ALPS}.largest_step"), trial(f"{ALPS}.rho")],
        beds.estimated_spectrum: estimate + curvature,
        beds.dense_seconds: [trial("inverse_problem.covariance.DENSE_LIMIT")],
        beds.quiet_noise: quiet,
        beds.filtered_noise: [trial(f"{NOISE}.EDGE_MARGIN")],
        beds.periphery_noise: [trial(f"{NOISE}.PERIPHERY_LINES"), level],
        beds.sharp_periphery: [trial(f"{NOISE}.PERIPHERY_LINES"), level],
        beds.point_noise: [trial(f"{NOISE}.PERIPHERY_POINTS")],
        beds.warnings_of_noise: [trial(f"{NOISE}.SIGNAL_LIMIT", 1.125, 1.5)],
        beds.maps: [
            trial(f"{MAPS}.threshold"),
            trial(f"{MAPS}.crop", 0.9, 0.6),
            trial("calibration._espirit.dominant_eigenvectors.n_iterations"),
        ],
        beds.maps_of_many_lines: [trial("calibration.sensitivity.MAXIMUM_REGION")],
        beds.refined_maps: [
            *(trial(f"{REFINE}.{n}") for n in ("_ROUNDS", "_ITERATIONS", "_COIL_WIDTH")),
            trial(f"{REFINE}._LINES", ((16, 12), (6, 4)), ((64, 48), (6, 4))),
            trial(f"{FIT}.HIGHEST_MISFIT", 1.025, 1.1),
            trial(f"{FIT}.STRICT_ERROR"),
        ],
        beds.refined_maps_of_five_coils: [trial(f"{REFINE}._LARGEST_RANK")],
        beds.maps_error: [
            *(trial(f"{FIT}.{n}") for n in fit),
            trial(f"{FIT}._PROGRESS", 0.985, 0.94),
            trial(f"{FIT}._FLOOR"),
        ],
        beds.weighted_image: [trial("calibration.line_weights.MAPS_ERROR")],
        beds.scale: [trial("calibration.scale.BLOCK")],
    }


def measure(bed: Any, seeds: range) -> str:
    """Mean figures over the seeds, in words; an error is a figure too."""
    try:
        found = [beds.quietly(bed, seed) for seed in seeds]
    except MriAlpsError as error:
        return f"{type(error).__name__}"
    return ", ".join(f"{name} {np.mean([f[name] for f in found]):.3g}" for name in found[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", help="names of problems, separated by commas")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else None
    print(
        f"{platform.machine()}, {platform.system()}, torch {torch.__version__}, "
        f"numpy {np.__version__}, mri_alps {mri_alps.__version__}; one thread"
    )
    torch.set_num_threads(1)
    for bed, trials in plan().items():
        if wanted is not None and bed.__name__ not in wanted:
            continue
        started = time.process_time()
        seeds = range(1 if bed in SLOW else options.seeds * (1 + (bed is beds.exact_step)))
        others = range(100, 100 + len(seeds))
        print(f"\n**{bed.__name__}** ({len(seeds)} seeds): {bed.__doc__}")
        print(f"\nAs it is: {measure(bed, seeds)}; once more: {measure(bed, others)}")
        print("\n| constant | value | at half | at double |\n|---|---|---|---|")
        for name, *values in trials:
            cells = []
            for value in values:
                with replaced(name, value):
                    cells.append(f"({value}) {measure(bed, seeds)}")
            print(f"| `{name}` | `{value_of(name)}` | {cells[0]} | {cells[1]} |", flush=True)
        print(f"\n{time.process_time() - started:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
