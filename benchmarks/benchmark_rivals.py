"""What a posterior gives beside its rivals: one network, one table.

    python benchmarks/benchmark_rivals.py --output rivals.jsonl [--quick]
        [--scans brain_axial_16ch_96.h5,heads,brain_axial_8ch.h5@128] [--accelerations 4,8]
        [--methods DDS,mri_alps,...] [--evaluations 40] [--table-only]

Zero-filled, CG-SENSE, L1-wavelets of BART and sigpy (each with the iterations or the weight that
its own PSNR in the table is best with), DPIR (stock, and tuned), DPS, PiGDM, DiffPIR, DDS,
score-MRI, csgm-mri-langevin and this package's sampler, on real scans and on simulated scans of a
patient that nothing was trained on. All have the same whitened k-space, masks and maps; those with
a network have the same one and noise level, and weights of the lines if these help them. Rivals
with a network are tuned on slices of another patient at the same acceleration and number of
evaluations: over the grids in `rivals_methods.py`, once for the PSNR of the mean, and samplers once
more for the CRPS; both rows stand in the table where the settings differ. The package's sampler is
not tuned; its samples are antithetic, as `reconstruct` draws them, and what is said of their spread
is that of as many independent ones, since CRPS and interval score compare samples with each other.

Every result is a line of JSON as soon as it is there; the same command goes on where a run was
stopped. At the end the file's table is printed as Markdown. Seconds are the processor's on one
thread, without the calibration that all share.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import re
import warnings
from pathlib import Path

import numpy as np
import torch
from rivals_case import (
    REAL_SCANS,
    REPORTED,
    TUNED_ON,
    figures_of,
    gaussian_cases,
    head_cases,
    real_case,
)
from rivals_methods import OURS, cpu_seconds, methods
from rivals_table import by_scan, markdown, summary

import mri_alps
from mri_alps.core.errors import ConfigurationError, DivergenceError, MriAlpsWarning
from mri_alps.pipeline import point_estimate_of
from mri_alps.priors import load_prior

PATIENTS = {"heads": REPORTED, "heads tuned on": TUNED_ON}
DRAWS = {"draws": 0, "draws tuned on": 7}
"""Groups of simulated scans, with what their seed is shifted by."""
OF_SPREAD = ("coverage", "interval_score", "CRPS")
CRITERIA = {"PSNR": max, "CRPS": min}
OUR_EVALUATIONS = (20, 40, 100)


class Log:
    """Lines of JSON, each found again by its key."""

    def __init__(self, path: Path):
        self.path, self.lines = path, {}
        stored = path.read_text() if path.is_file() else ""
        for line in stored.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut off where a run was stopped
            self.lines[self.key(entry)] = entry
        # What was cut off stays a line of its own.
        self.start = "" if stored.endswith("\n") or not stored else "\n"

    @staticmethod
    def key(entry: dict) -> str:
        names = ("stage", "scan", "acceleration", "method", "evaluations", "setting", "settings")
        return json.dumps([entry.get(name) for name in names])

    def __contains__(self, entry: dict) -> bool:
        return self.key(entry) in self.lines

    def add(self, entry: dict) -> None:
        self.lines[self.key(entry)] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(self.start + json.dumps(entry) + "\n")
        self.start = ""
        print(json.dumps(entry), flush=True)


def run(case, method, prior, n_samples: int, evaluations: int, seed: int, setting: dict) -> dict:
    """Figures of one method on one scan."""
    started = cpu_seconds()
    try:
        images, count, note = method.run(case, prior, n_samples, evaluations, seed, **setting)
    except DivergenceError as error:
        return {"note": f"diverged: {error}"[:120]}
    seconds = (cpu_seconds() - started) / method.divided_by
    found = {**figures_of(case, images), "seconds": seconds, "network": count, "note": note}
    if method.run_independent is not None:  # scores of spread compare samples with each other
        images, *_ = method.run_independent(case, prior, n_samples, evaluations, seed, **setting)
        independent = figures_of(case, images)
        found |= {name: independent[name] for name in OF_SPREAD}
    return {key: round(v, 5) if isinstance(v, float) else v for key, v in found.items()}


def tuned(log: Log, name, method, prior, options, acceleration, evaluations) -> list[dict]:
    """Settings to report: the best for each criterion, `for` of an entry naming which."""
    candidates = method.settings()
    if len(candidates) == 1:
        return [{"for": "", "setting": candidates[0]}]
    scan, count = f"{'draws' if options.quick else 'heads'} tuned on", options.tuning_heads
    scores: dict[str, list[float]] = {criterion: [] for criterion in CRITERIA}
    for setting in candidates:
        entry = {"stage": "tuning", "scan": scan, "acceleration": acceleration}
        entry |= {"method": name, "evaluations": evaluations, "setting": setting}
        entry["settings"] = [options.tuning_samples, options.seed, options.size, count]
        if entry not in log:
            cases = cases_of(scan, acceleration, count, options.size, options.seed, options.prior)
            of_run = options.tuning_samples, evaluations, options.seed, setting
            rows = [run(case, method, prior, *of_run) for case in cases]
            means = {
                criterion: float(np.mean([row.get(criterion, np.nan) for row in rows]))
                for criterion in CRITERIA
            }
            log.add(entry | {c: v for c, v in means.items() if np.isfinite(v)})
        stored = log.lines[log.key(entry)]
        for criterion, better in CRITERIA.items():
            worst = np.inf if better is min else -np.inf
            scores[criterion].append(stored.get(criterion, worst))
    chosen = []
    for criterion, better in CRITERIA.items():
        if criterion == "PSNR" or method.is_sampler:
            best = candidates[scores[criterion].index(better(scores[criterion]))]
            if best in [entry["setting"] for entry in chosen]:
                chosen[0]["for"] = ""
            else:
                chosen.append({"for": criterion if method.is_sampler else "", "setting": best})
    return chosen


@functools.lru_cache(maxsize=4)  # their calibration takes longer than many a method
def cases_of(scan: str, acceleration: float, count: int, size: int, seed: int, prior: str) -> tuple:
    """Scans of a group, with maps as `reconstruct` makes them with this prior."""
    estimate = point_estimate_of(load_prior(prior))
    if scan in PATIENTS:
        return tuple(head_cases(PATIENTS[scan], count, size, acceleration, seed, estimate))
    if scan in DRAWS:
        return tuple(gaussian_cases(count, size, acceleration, seed + DRAWS[scan]))
    return (real_case(scan, acceleration, estimate),)


def measure(log: Log, options, prior, scan: str, acceleration: float) -> None:
    """All methods on the scans of one group."""
    chosen = options.methods or list(methods())
    count = options.heads if scan in PATIENTS or scan in DRAWS else 1
    for name, method in methods().items():
        if name not in chosen:
            continue
        counts = options.evaluations if method.is_sampler else [0]
        if name == OURS:
            counts = options.our_evaluations
        for evaluations in counts:
            for choice in tuned(log, name, method, prior, options, acceleration, evaluations):
                for number in range(count):
                    entry = {"stage": "result", "scan": scan, "acceleration": acceleration}
                    entry |= {"method": name, "evaluations": evaluations, **choice}
                    entry["settings"] = [options.samples, options.seed, options.size, number]
                    if entry in log:
                        continue
                    cases = cases_of(
                        scan, acceleration, count, options.size, options.seed, options.prior
                    )
                    of_run = options.samples, evaluations, options.seed, choice["setting"]
                    log.add(entry | run(cases[number], method, prior, *of_run))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = {"type": lambda text: [int(n) for n in text.split(",")]}
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, continued")
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--scans", default=f"{REAL_SCANS[0]},heads,{REAL_SCANS[1]}")
    parser.add_argument("--accelerations", default="4,8")
    parser.add_argument(
        "--methods", type=lambda text: re.split(",(?! )", text), default=[],
        help="names in the table, with commas and no blanks between them; all if left out",
    )  # fmt: skip
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--evaluations", default=[40], help="of the rivals' samples", **numbers)
    parser.add_argument("--our-evaluations", default=list(OUR_EVALUATIONS), **numbers)
    parser.add_argument("--heads", type=int, default=2, help="slices in the table")
    parser.add_argument("--tuning-heads", type=int, default=1, help="slices that are tuned on")
    parser.add_argument("--tuning-samples", type=int, default=4, help="of each setting")
    parser.add_argument("--size", type=int, default=96, help="of the heads, in pixels")
    parser.add_argument("--seed", type=int, default=83)
    parser.add_argument("--table-only", action="store_true", help="print what the file holds")
    parser.add_argument(
        "--quick", action="store_true",
        help="draws of the Gaussian prior, 48x48, 4x: a minute, and no data are needed",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.quick:
        options.prior, options.scans, options.accelerations = "gaussian", "draws", "4"
        options.size, options.heads, options.tuning_heads = 48, 1, 1
        options.evaluations = options.our_evaluations = [20]
    unknown = set(options.methods) - set(methods())
    if unknown:
        raise ConfigurationError(
            f"found {', '.join(sorted(unknown))}: expected methods among {', '.join(methods())}"
        )
    return options


def main(arguments: list[str] | None = None) -> dict[str, dict]:
    """Run what is missing in the file, print its table, return its lines."""
    options = parse(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"  # of BART
    torch.set_num_threads(1)
    log = Log(options.output)
    if not options.table_only:
        print(
            f"mri_alps {mri_alps.__version__}, torch {torch.__version__}, Python "
            f"{platform.python_version()}, {platform.machine()}, 1 thread; prior {options.prior}, "
            f"{options.samples} samples, seed {options.seed}"
        )
        prior = load_prior(options.prior)
        for acceleration in map(float, options.accelerations.split(",")):
            for scan in options.scans.split(","):
                measure(log, options, prior, scan, acceleration)
    results = [line for line in log.lines.values() if line["stage"] == "result"]
    order = {name: number for number, name in enumerate(methods())}  # a file may have others
    results.sort(key=lambda line: (order.get(line["method"], len(order)), line["evaluations"]))
    print(markdown(results))
    print(by_scan(results))
    print(summary(results))
    return log.lines


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        main()
