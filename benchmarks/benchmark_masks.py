"""Designed population masks against random, regular, variable-density and learned masks.

    python benchmarks/benchmark_masks.py --output FOLDER --stage rivals
    python benchmarks/benchmark_masks.py --output FOLDER --stage design
    python benchmarks/benchmark_masks.py --output FOLDER --stage designed
    python benchmarks/benchmark_masks.py --output FOLDER --stage tables

All at 96 x 96 with 8 central lines in every mask. Masks are designed on 40 slices of 20 heads,
and evaluated on slices of 8 other heads, of 8 spines (which neither design nor prior have seen)
and the real scans. Truth, noise, coil maps, network, samples and evaluations are the same for every
mask of a slice; L1-wavelets reconstruct the same data as a control. Intervals are over subjects.

Everything is kept in FOLDER, slice by slice, and gone on with when the script is started again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import mask_rivals
import mask_scans
import numpy as np
from mask_tables import print_tables

from mri_alps.cli.design_mask import run_design_mask
from mri_alps.masks.design.masks import DesignSettings
from mri_alps.masks.study.candidates import Candidate
from mri_alps.masks.study.compare import StudyTask, run_study
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.pipeline.volume import load_prior_for
from mri_alps.rawdata import RawKSpace, read_raw

SIDE = 96
ACCELERATIONS = (8, 6, 4)
OBJECTIVES = ("error", "information")
NEAREST = {
    8: ("learned-density", "equispaced"),
    6: ("poisson-lines", "partial-fourier"),
    4: ("poisson-lines", "partial-fourier"),
}
"""Rivals that came nearest when all were compared, on scans of another seed."""


def write_groups(folder: Path) -> dict[str, list[Path]]:
    """All scans that are evaluated, the first slice of every subject first."""
    groups = {
        "heads": mask_scans.write_scans(folder / "heads", mask_scans.head_slices(), SIDE),
        "spines": mask_scans.write_scans(folder / "spines", mask_scans.spine_slices(), SIDE),
        "real": mask_scans.write_real_scans(folder / "real", SIDE),
    }
    return {name: sorted(paths, key=lambda path: path.stem[-1]) for name, paths in groups.items()}


def write_design_scans(folder: Path) -> list[Path]:
    """The scans that masks are designed on, and learned densities fitted to."""
    stream = mask_scans.DESIGN_STREAM
    return mask_scans.write_scans(folder / "design", mask_scans.design_slices(), SIDE, stream)


def rivals_of(
    raw: RawKSpace, density: np.ndarray, kinds: Sequence[str]
) -> dict[Candidate, np.ndarray]:
    """These rivals at every acceleration; of "nearest" those of each."""
    made = {}
    for acceleration in ACCELERATIONS:
        for kind in NEAREST[acceleration] if kinds == ["nearest"] else kinds:
            if kind == mask_rivals.LEARNED:
                mask = mask_rivals.drawn_from(density, raw, acceleration)
            else:
                mask = mask_rivals.rival(kind, raw, acceleration)
            made[Candidate(kind, acceleration, kind)] = mask
    return made


def designed_of(folder: Path, names: Iterable[str]) -> dict[Candidate, np.ndarray]:
    """What was designed: NAME_4x.npy and so on."""
    made = {}
    for name in names:
        for acceleration in ACCELERATIONS:
            path = folder / f"{name}_{acceleration}x.npy"
            made[Candidate(name, acceleration, str(path))] = np.load(path).reshape(1, -1)
    return made


def evaluate(
    path: Path,
    masks: dict[Candidate, np.ndarray],
    configuration: ReconstructionConfiguration,
    folder: Path,
) -> None:
    """Sample one scan with every mask; keep the numbers."""
    prior, device = load_prior_for(configuration)
    raw = read_raw(path)
    target = folder / "numbers.jsonl"
    known = set()
    if target.exists():
        rows = map(json.loads, target.read_text().splitlines())
        known = {
            (r["scan"], r["mask"], r["acceleration"], tuple(r["lines"]))
            for r in rows
            if r["self_calibration"] == configuration.self_calibration
        }

    def lines(candidate: Candidate) -> tuple[int, ...]:
        return tuple(np.flatnonzero(masks[candidate][0]).tolist())

    left = {
        candidate: mask
        for candidate, mask in masks.items()
        if (raw.path.stem, candidate.name, candidate.acceleration, lines(candidate)) not in known
    }
    if not left:
        return
    task = StudyTask((raw,), ((0,),), tuple(left), (left,), configuration)
    study = run_study(task, prior, device, folder)
    for candidate, result in zip(left, study.results, strict=True):
        row = {
            "group": path.parent.name,
            "scan": raw.path.stem,
            "subject": mask_scans.subject_of(raw.path.stem),
            "mask": candidate.name,
            "acceleration": candidate.acceleration,
            "lines": lines(candidate),
            "self_calibration": configuration.self_calibration,
            **result.metrics,
        }
        with target.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
    print(time.strftime("%H:%M:%S"), path.parent.name, path.stem, len(left), flush=True)


def design(
    folder: Path,
    configuration: ReconstructionConfiguration,
    names: Iterable[str] = OBJECTIVES,
    count: int = 40,
) -> None:
    """Design masks on so many of the 40 slices, by every objective, after one look each."""
    scans = write_design_scans(folder)
    # subjects, coils and noise change with the position: take slices from all over
    scans = [scans[place] for place in np.linspace(0, len(scans) - 1, count).round().astype(int)]
    budget = SIDE // min(ACCELERATIONS)
    for objective in names:
        settings = DesignSettings(budget, budget - mask_rivals.CENTER, objective)
        target = folder / f"{objective}.npy"
        run_design_mask(scans, target, settings, configuration, ACCELERATIONS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Design, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--stage", choices=("rivals", "design", "designed", "tables"))
    parser.add_argument("--names", default=",".join(OBJECTIVES), help="Designed masks.")
    every = ",".join((*mask_rivals.KINDS, mask_rivals.LEARNED))
    parser.add_argument("--kinds", default=every, help="Rivals, or nearest.")
    parser.add_argument("--groups", default="heads,spines,real")
    parser.add_argument("--slices", default="0,1,2", help="Of every subject.")
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--design-slices", type=int, default=40, help="Of 40, for a shorter run.")
    parser.add_argument("--design-samples", type=int, default=4)
    parser.add_argument("--n-samples", type=int, default=2)
    parser.add_argument("--n-evaluations", type=int, default=20)
    parser.add_argument("--accelerations", default="8,6,4")
    parser.add_argument("--self-calibration", choices=("off", "scan"), default="off")
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    configuration = ReconstructionConfiguration(
        prior=given.prior, n_samples=given.n_samples, n_evaluations=given.n_evaluations,
        center_fraction=mask_rivals.CENTER / SIDE, self_calibration=given.self_calibration,
    )  # fmt: skip
    wanted = tuple(map(int, given.accelerations.split(",")))
    if given.stage == "tables":
        print_tables(given.output / "numbers.jsonl", given.names.split(",")[0])
        return
    if given.stage == "design":
        sampled = dataclasses.replace(configuration, n_samples=given.design_samples)
        design(given.output, sampled, given.names.split(","), given.design_slices)
        return
    groups = write_groups(given.output)
    density = mask_rivals.learned_density(write_design_scans(given.output))
    numbers = given.slices.split(",")
    for path in (path for name in given.groups.split(",") for path in groups[name]):
        if path.parent.name == "real" or path.stem.rsplit("_", 1)[1] in numbers:
            if given.stage == "rivals":
                masks = rivals_of(read_raw(path), density, given.kinds.split(","))
            else:
                masks = designed_of(given.output, given.names.split(","))
            masks = {key: mask for key, mask in masks.items() if key.acceleration in wanted}
            evaluate(path, masks, configuration, given.output)


if __name__ == "__main__":
    main()
