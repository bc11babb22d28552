"""Whole reconstructions of held-out subjects, anatomy by anatomy: priors against BART's wavelets.

    python benchmarks/benchmark_anatomies_reconstruction.py SET.npz --output anatomies.jsonl
        [--prior brain-small --prior anatomy-small --prior runs/mine] [--scans 3] [--size 320]
        [--accelerations 4,8] [--samples 8] [--evaluations 40] [--unmirrored]
        [--true-maps] [--quick] [--table-only]

SET.npz is made by `data_scripts/make_training_set.py`, which says who is held out; slices are
of as many subjects as there are, evenly spread. Each gets a smooth phase and is measured by 8
simulated coils with fastMRI's equispaced mask (8 % in the centre at 4x, 4 % at 8x) and white noise
of 0.015 per real component, the image's 99th percentile being 1. From there on it is the road of
`reconstruct` with its defaults: noise, sensitivity maps and scale are estimated, samples drawn
antithetically, deviations scaled by what the scan says of left-out lines, and, for comparison,
not. Priors are names, weights files or folders of runs.

PSNR is that of the magnitude against the coil combination of noise-free k-space. Zero-filled,
CG-SENSE and BART's L1-wavelet have the mask, k-space and maps of the first prior's road; the
number of iterations and the weight are the best for each slice by that very PSNR (an oracle). Of
90 % intervals two figures are given: how many samples of left-out k-space (noise included) they
hold, and how many pixels of the object. The left-out error is that of
`benchmark_reconstruction.py`.

Every result is a line of JSON in --output as soon as it is there. The same command goes on where
a run was stopped, and with a further --prior adds only that one; weights are known by their hash,
so that new ones under an old name are measured anew. At the end the file's tables are printed as
Markdown: means over an anatomy's slices of this --seed and --size. --quick: the Gaussian prior,
64 pixels, one slice, 4x. --unmirrored: all samples see the network as it is, for comparison
(`mri_alps.sampling.mirroring`). --true-maps: the maps are given, not estimated, which tells what a
prior costs from what maps cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import os
import platform
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from benchmark_anatomies import HELD_OUT, by_anatomy
from benchmark_rivals import Log
from benchmark_self_calibration import with_found
from reconstruction_case import case_from
from reconstruction_rivals import bart_version, bart_wavelets, cg_sense, zero_filled
from rivals_case import simulated, with_phase
from rivals_methods import cpu_seconds

import mri_alps
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import stream_seed
from mri_alps.evaluation.coverage import head_mask
from mri_alps.pipeline import ReconstructionConfiguration, SliceReconstructor, load_prior_for
from mri_alps.pipeline.self_calibration import calibrate_scan
from mri_alps.rawdata import raw_from_arrays
from mri_alps.training.images import ImageRecord, ImageSet, split
from mri_alps.training.sources import load_images

ZERO_FILLED, CG, BART = "zero-filled", "CG-SENSE", "BART L1-wavelet"
RIVALS: dict[str, Callable] = {
    ZERO_FILLED: lambda case: (zero_filled(case), ""),
    CG: cg_sense,
    BART: bart_wavelets,
}
COVERAGES = ("coverage", "object")


def chosen(images: ImageSet, count: int) -> dict[str, ImageRecord]:
    """Slices in the middle of subjects that are evenly spread; of fewer subjects several each."""
    groups = images.groups
    picked = [groups[i] for i in np.linspace(0, len(groups) - 1, count).round().astype(int)]
    found = {}
    for group in sorted(set(picked)):
        records = [record for record in images.records if record.group == group]
        bright = np.array([(record.image > 30).mean() for record in records])
        usable = np.flatnonzero(bright > 0.6 * np.median(bright))
        places = np.linspace(0, len(usable), picked.count(group) + 2)[1:-1].astype(int)
        for index in usable[places].tolist():
            found[f"{group.partition('held-out/')[2]}, slice {index}"] = records[index]
    return found


def low_resolution(magnitude: np.ndarray, size: int) -> np.ndarray:
    """The magnitude with larger pixels of the same shape, `size` at most, even for BART."""
    image = torch.as_tensor(magnitude.astype(np.float32)).to(torch.complex64)
    kept = [2 * int(n * min(1, size / max(image.shape)) / 2 + 1e-6) for n in image.shape]
    return ifftc(center_crop(fftc(image), kept)).abs().numpy()


class Scan:
    """A simulated scan on the road of `reconstruct`, calibrated when it is first needed."""

    def __init__(
        self,
        name: str,
        magnitude: np.ndarray,
        acceleration: float,
        seed: int,
        unmirrored: bool = False,
        true_maps: bool = False,
    ):
        self.name, self.unmirrored = name, unmirrored
        image = with_phase(magnitude, seed)
        self.truth = image.abs().numpy()
        self.mask, maps, clean, noisy = simulated(image, acceleration, seed)
        self.given_maps = maps.numpy() if true_maps else None
        self.clean, self.raw = clean.numpy(), raw_from_arrays(noisy.numpy()[None])

    @functools.lru_cache(maxsize=1)  # noqa: B019, of one prior, which holds no scan
    def prepared(self, configuration: ReconstructionConfiguration):
        """Return the reconstructor, the slice, and what rivals get of it."""
        prior, device = prior_of(configuration, self.unmirrored)
        road = SliceReconstructor.of_scan(self.raw, configuration, prior, device, self.mask)
        road = dataclasses.replace(road, given_maps=self.given_maps)
        loaded = road.load(0)
        return road, loaded, case_from(loaded.acquisition, self.raw, self.name, 0, self.clean)

    def rival(self, name: str, configuration: ReconstructionConfiguration) -> dict:
        """Figures of a rival."""
        case = self.prepared(configuration)[2]
        image, note = RIVALS[name](case)
        return {**case.figures(image), "note": note}

    def ours(self, configuration: ReconstructionConfiguration) -> dict:
        """Figures of the posterior mean; of intervals without and with self-calibration."""
        road, loaded, case = self.prepared(configuration)
        seed = configuration.sampler_seed
        sampled = road.draw(loaded)
        factors = calibrate_scan(road, [0])
        inside = head_mask(self.truth[None])[0]
        found = {**case.figures(sampled.result.samples.mean(0)), "restarts": 0}
        found["restarts"] = int(sampled.result.diagnostics.get("n_restarts", 0))
        if factors is not None:
            found |= {"factor": factors.overall, "factor_error": factors.overall_error}
        for suffix, one in (("_drawn", None), ("", factors)):
            scaled = with_found(sampled, one, seed)
            images = scaled.result.samples.numpy()
            samples = mri_alps.sampling.decorrelated(images, sampled.groups)
            found["coverage" + suffix] = case.left_out_coverage(torch.as_tensor(samples))
            reduced = road.reduce(scaled)
            held = reduced.reconstruction_lower <= self.truth
            held &= self.truth <= reduced.reconstruction_upper
            found["object" + suffix] = float(held[inside].mean())
        return found


@functools.lru_cache
def prior_of(configuration: ReconstructionConfiguration, unmirrored: bool):
    """The prior, loaded once, and its device."""
    prior, device = load_prior_for(configuration)
    if unmirrored:
        prior.mirror_axes = ()
    return prior, device


def weights_of(prior) -> str:
    """The beginning of the weights' hash; of no weights the empty text."""
    return (getattr(prior, "checkpoint_sha256", "") or "")[:8]


def measure(log: Log, options: argparse.Namespace, parts: dict[str, ImageSet]) -> None:
    """Run what is missing in the file: a slice of every anatomy, then the next of each."""
    of_anatomies = [chosen(images, options.scans).items() for images in parts.values()]
    for scans in itertools.zip_longest(*of_anatomies):
        for name, acceleration in itertools.product(options.prior, options.accelerations):
            configuration = ReconstructionConfiguration(
                prior=name,
                acceleration=acceleration,
                n_samples=options.samples,
                n_evaluations=options.evaluations,
                seed=options.seed,
            )
            with_rivals = name == options.prior[0]
            for anatomy, scan in zip(parts, scans, strict=True):
                if scan is not None:
                    one_scan(log, options, configuration, with_rivals, anatomy, *scan)


def one_scan(log, options, configuration, with_rivals, anatomy, label, record) -> None:
    """Run what is missing of one scan with one prior."""
    magnitude = low_resolution(record.image, options.size)
    common = {"stage": "result", "anatomy": anatomy, "scan": label}
    common |= {"acceleration": configuration.acceleration, "shape": list(magnitude.shape)}
    seed = stream_seed(options.seed, *label.encode())
    roads = (options.unmirrored, options.true_maps)
    scan = Scan(label, magnitude, configuration.acceleration, seed, *roads)
    todo: list[tuple[dict, Callable[[], dict]]] = []
    for rival in RIVALS if with_rivals else ():
        if rival == BART and bart_version() is None:
            continue
        entry = common | {"method": rival, "settings": [options.seed, options.size]}
        entry |= {"setting": "true maps"} if options.true_maps else {}
        todo.append((entry, functools.partial(scan.rival, rival, configuration)))
    entry = common | {"method": Path(configuration.prior).name, "prior": True}
    entry |= {"evaluations": options.evaluations}
    entry["setting"] = weights_of(prior_of(configuration, options.unmirrored)[0])
    entry["setting"] += " unmirrored" if options.unmirrored else ""
    entry["setting"] += " true maps" if options.true_maps else ""
    entry["settings"] = [options.seed, options.size, options.samples]
    todo.append((entry, functools.partial(scan.ours, configuration)))
    for entry, run in todo:
        if entry in log:
            continue
        started = cpu_seconds()
        found = run() | {"seconds": cpu_seconds() - started}
        log.add(entry | {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()})


def method_of(line: dict) -> str:
    """Name of a row or column."""
    if not line.get("prior"):
        return line["method"]
    weights = f" {line['setting']}" if line["setting"] else ""
    return f"{line['method']}{weights}, {line['settings'][2]} x {line['evaluations']}"


def tables(lines: list[dict]) -> str:
    """Two Markdown tables: PSNR of all methods, and uncertainty of the priors'.

    A gain is that of the scans that both methods have: mean, least and most.
    """
    methods = list(dict.fromkeys(method_of(line) for line in lines))
    ours = [m for m in methods if m not in RIVALS]
    names = [m for m in RIVALS if m in methods] + ours
    heads = ("anatomy", "acceleration", "scans", *names)
    psnr = [_row(*heads), "|---" * len(heads) + "|"]
    heads = ("anatomy", "acceleration", "prior", "left-out error, dB (BART)", "factor")
    heads = (*heads, "left-out k-space held", "pixels of the object held", "CPU minutes")
    intervals = [_row(*heads), "|---" * len(heads) + "|"]
    for anatomy, acceleration in sorted({(x["anatomy"], x["acceleration"]) for x in lines}):
        found: dict[str, dict[str, dict]] = {name: {} for name in [*names, BART]}
        for line in lines:
            if (line["anatomy"], line["acceleration"]) == (anatomy, acceleration):
                found[method_of(line)][line["scan"]] = line
        count = max(map(len, found.values()))
        cells = [_psnr(found[name], found[BART], count, name in ours) for name in names]
        psnr.append(_row(anatomy, f"{acceleration:g}x", str(count), *cells))
        for name in filter(found.get, ours):
            scans = found[name]
            both = [found[BART][scan] for scan in scans if scan in found[BART]]
            rival = f" ({_mean(both, 'left_out'):.2f})" if both else ""
            known = [scan for scan in scans.values() if "factor" in scan]
            cells = [f"{_mean(scans.values(), 'left_out'):.2f}{rival}"]
            cells.append(f"{_mean(known, 'factor'):.2f}" if known else "")
            for key in COVERAGES:
                drawn, scaled = (_mean(scans.values(), key + end) for end in ("_drawn", ""))
                cells.append(f"{drawn:.3f} to {scaled:.3f}")
            cells.append(f"{_mean(scans.values(), 'seconds') / 60:.1f}")
            intervals.append(_row(anatomy, f"{acceleration:g}x", name, *cells))
    return "\n".join([*psnr, "", *intervals])


def _psnr(scans: dict[str, dict], rival: dict[str, dict], count: int, is_ours: bool) -> str:
    """Mean PSNR of one method, of how many scans if not of all, and its gain over the rival."""
    if not scans:
        return ""
    notes = [f"of {len(scans)}"] if len(scans) < count else []
    gains = [scans[scan]["PSNR"] - rival[scan]["PSNR"] for scan in scans if scan in rival]
    if is_ours and gains:
        notes.append(f"{np.mean(gains):+.2f}; {min(gains):+.2f} to {max(gains):+.2f}")
    return f"{_mean(scans.values(), 'PSNR'):.2f}" + (f" ({'; '.join(notes)})" if notes else "")


def _mean(lines: Iterable[dict], key: str) -> float:
    return float(np.mean([line[key] for line in lines]))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="npz of make_training_set.py")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, continued")
    parser.add_argument("--prior", action="append", help="repeatable; brain-small if left out")
    parser.add_argument("--anatomies", help="such as head,spine; all if left out")
    parser.add_argument("--scans", type=int, default=3, help="slices of each anatomy")
    parser.add_argument("--size", type=int, default=320, help="pixels along each axis at most")
    parser.add_argument(
        "--accelerations", default=[4.0, 8.0], type=lambda t: [float(n) for n in t.split(",")]
    )
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unmirrored", action="store_true", help="for comparison")
    parser.add_argument("--true-maps", action="store_true", help="for comparison; own --output")
    parser.add_argument("--table-only", action="store_true", help="print what the file holds")
    parser.add_argument("--quick", action="store_true", help="a minute's rehearsal")
    options = parser.parse_args(arguments)
    options.prior = options.prior or ["brain-small"]
    if options.quick:
        options.prior, options.accelerations = ["gaussian"], [4.0]
        options.size, options.scans, options.samples, options.evaluations = 64, 1, 4, 10
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing in the file, and print its tables."""
    options = parse(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"  # of BART
    torch.set_num_threads(1)
    log = Log(options.output)
    if not options.table_only:
        print(
            f"mri_alps {mri_alps.__version__}, torch {torch.__version__}, Python "
            f"{platform.python_version()}, BART {bart_version()}, {platform.machine()}, 1 thread; "
            f"priors {', '.join(options.prior)}, seed {options.seed}",
            flush=True,
        )
        parts = by_anatomy(split(load_images([options.data]), 0.1, [HELD_OUT], 0)[1])
        if options.anatomies:
            parts = {name: parts[name] for name in options.anatomies.split(",")}
        measure(log, options, parts)
    wanted = [options.seed, options.size]
    print(tables([line for line in log.lines.values() if line["settings"][:2] == wanted]))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        main()
