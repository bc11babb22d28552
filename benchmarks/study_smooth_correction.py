"""The smooth correction of sensitivity maps with the estimates of a prior, so many times over.

    python benchmarks/study_smooth_correction.py [SET.npz] [--scan RAW.h5 ...] [--turns 0,1,3]
        [--prior anatomy-small] [--scans 2] [--size 320] [--accelerations 8] [--seed 0]
        [--anatomies pelvis,spine] [--slice 0] [--unspread] [--errors 0.05,0.1,0.15]

SET.npz is made by `data_scripts/make_training_set.py`; its scans are those of
`benchmark_anatomies_reconstruction.py`, --scan adds fully sampled raw scans. Each goes the road of
`reconstruct`, with maps that are changed by `correct_smoothly` as often as --turns says, each time
with a new estimate of the image. Prints, for each, PSNR of the posterior mean in dB and, in
brackets, the error of left-out k-space, both against maps of the same turn. --unspread: the same
with an allowance for errors of the maps that each line has of its own signal alone
(`mri_alps.calibration.line_weights.spread_over_lines`). --errors: the same with other errors
allowed for where calibration lines are fewer than 8 (`UNCERTAIN_ERROR`; --size 160 has 6 or 7 at
8x).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from unittest import mock

import torch
from benchmark_anatomies import HELD_OUT, by_anatomy
from benchmark_anatomies_reconstruction import Scan, chosen, low_resolution, prior_of
from reconstruction_case import case_from
from rivals_case import CENTER

from mri_alps.calibration import refinement
from mri_alps.calibration.chain import weighted
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.random import stream_seed
from mri_alps.masks import make_mask
from mri_alps.pipeline import ReconstructionConfiguration, SliceReconstructor
from mri_alps.rawdata import read_raw
from mri_alps.training.images import split
from mri_alps.training.sources import load_images

CORRECT = refinement._Block.correct
SPREAD = weighted.spread_over_lines


def numbers(text: str) -> list[float]:
    """Numbers with commas between."""
    return [float(number) for number in text.split(",")]


def alone(weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Each line as it was."""
    return weights


def repeated(turns: int):
    """What corrects maps so many times."""

    def correct(self, found, estimate):
        for _ in range(turns):
            found = CORRECT(self, found, estimate)
        return found

    return correct


def scans(arguments, acceleration: float) -> Iterator[tuple]:
    """Label, and what makes road, slice and case of settings."""
    if arguments.data:
        parts = by_anatomy(split(load_images([arguments.data]), 0.1, [HELD_OUT], 0)[1])
        for anatomy in arguments.anatomies.split(","):
            for label, record in chosen(parts[anatomy], arguments.scans).items():
                magnitude = low_resolution(record.image, arguments.size)
                seed = stream_seed(arguments.seed, *label.encode())
                scan = Scan(label, magnitude, acceleration, seed)
                yield (
                    label,
                    lambda configuration, scan=scan: Scan.prepared.__wrapped__(scan, configuration),
                )
    for path in arguments.scan:
        yield path.name, lambda configuration, path=path: of_file(path, configuration, arguments)


def of_file(path: Path, configuration: ReconstructionConfiguration, arguments):
    """Road, slice and case of a fully sampled raw scan."""
    raw = read_raw(path)
    prior, device = prior_of(configuration, False)
    acceleration = configuration.acceleration
    seed = tuple(map(ord, path.name))
    mask = make_mask("equispaced", raw.shape, acceleration, CENTER / acceleration, seed=seed)
    road = SliceReconstructor.of_scan(raw, configuration, prior, device, mask)
    loaded = road.load(arguments.slice)
    return road, loaded, case_from(loaded.acquisition, raw, path.name, arguments.slice)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="npz of make_training_set.py")
    parser.add_argument("--scan", type=Path, action="append", default=[], help="repeatable")
    parser.add_argument("--turns", default="0,1", type=lambda t: [int(n) for n in t.split(",")])
    parser.add_argument("--prior", default="anatomy-small")
    parser.add_argument("--anatomies", default="pelvis,spine,head,knee")
    parser.add_argument("--scans", type=int, default=2, help="slices of each anatomy")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--accelerations", default="8")
    parser.add_argument("--slice", type=int, default=0, help="of the raw scans")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unspread", action="store_true")
    parser.add_argument("--errors", default=[weighted.UNCERTAIN_ERROR], type=numbers)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spreads = (False, True)[not arguments.unspread :]
    columns = list(product(spreads, arguments.errors, arguments.turns))
    titles = [f"{n} turns, {e:g}{'' if spread else ', unspread'}" for spread, e, n in columns]
    print("| scan | acceleration |", " | ".join(titles), "|")
    print("|---" * (2 + len(columns)) + "|")
    for acceleration in map(float, arguments.accelerations.split(",")):
        configuration = ReconstructionConfiguration(
            prior=arguments.prior,
            acceleration=acceleration,
            n_samples=arguments.samples,
            n_evaluations=arguments.evaluations,
            seed=arguments.seed,
        )
        for label, prepare in scans(arguments, acceleration):
            cells = []
            for spread, error, turns in columns:
                with (
                    mock.patch.object(refinement._Block, "correct", repeated(turns)),
                    mock.patch.object(weighted, "spread_over_lines", SPREAD if spread else alone),
                    mock.patch.object(weighted, "UNCERTAIN_ERROR", error),
                ):
                    road, loaded, case = prepare(configuration)
                figures = case.figures(road.draw(loaded).result.samples.mean(0))
                cells.append(f"{figures['PSNR']:.2f} ({figures['left_out']:.2f})")
            print(f"| {label} | {acceleration:g}x | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        main()
