"""How many samples of how many evaluations, at equal cost: scans, heads, three accelerations.

    python benchmarks/benchmark_defaults.py --output FILE.jsonl [--pairs 8x20 4x40 ...] [--seed 2]

Real scans of the shared data (fully sampled, undersampled afterwards) and simulated scans of heads
that the prior was not trained on. For every case and every pair (samples, evaluations):
PSNR of the mean, error of the left-out k-space in dB, coverage of its 90 % intervals, the interval
score of Gneiting and Raftery (mean width plus 20 times what lies outside, in noise deviations: less
is better), and the processor's seconds. Samples are antithetic in groups of four, as `reconstruct`
draws them, and intervals come from samples of different groups as there. Each pair is a line of the
output file, so that a run goes on where it stopped; the table is printed at the end, and by --table
alone from the file.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import coil_maps
from reconstruction_case import LEVEL, Case, case_of
from scipy import stats

from mri_alps import read_raw, sample_posterior
from mri_alps.calibration import prepare_slice
from mri_alps.calibration.noise import apply_to_coils
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.masks import make_mask
from mri_alps.priors import load_prior
from mri_alps.rawdata import raw_from_arrays
from mri_alps.sampling import antithetic_groups
from mri_alps.sampling.statistics import degrees_of_freedom, deviation_matrix

ACCELERATIONS = (3.0, 4.0, 8.0)
PAIRS = ("4x20", "8x20", "4x40", "8x30", "8x40")
SCANS = {
    "brain, 16 coils, 96": ("brain_axial_16ch_96.h5", 0, None),
    "brain, 8 coils, 128": ("brain_axial_8ch.h5", 0, 128),
    "phantom, 8 coils, 128": ("phantom_gre_8ch_7slices.h5", 3, None),
}
HEADS = {
    "head 1, 96": ("09", 60, 96),
    "head 2, 96": ("20", 80, 96),
    "head 3, 128": ("09", 100, 128),
}
NOISE_STD = 0.015


def shared_data() -> Path:
    """Folder of scans and images that are not part of the package."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("MRI_ALPS_SHARED_DATA", folder))


def scan_case(name: str, acceleration: float) -> Case:
    """A real scan, or the middle of its k-space, undersampled."""
    file, index, size = SCANS[name]
    raw = read_raw(shared_data() / "raw" / file)
    shape, noise_std = raw.shape, None
    if size is not None:  # whitened coils have unit noise
        whole = prepare_slice(raw, index)
        kspace = apply_to_coils(whole.whitening, raw.read_slice(index))
        shape, noise_std = (size, size), 1.0
        raw = raw_from_arrays(np.ascontiguousarray(center_crop(kspace, shape))[None])
        index = 0
    mask = make_mask("equispaced", shape, acceleration, 0.32 / acceleration, seed=1)
    return case_of(raw, name, mask, index, noise_std)


def head_case(name: str, acceleration: float) -> Case:
    """A simulated scan of a slice of a patient."""
    patient, index, size = HEADS[name]
    with np.load(shared_data() / "images" / "openms_longitudinal_256_u8.npz") as file:
        stack = file["img"][file["meta"][:, 0] == patient]
    whole = torch.as_tensor(stack[index % len(stack)].astype(np.float32)).to(torch.complex64)
    image = ifftc(center_crop(fftc(whole), (size, size)))
    image = image / torch.quantile(image.abs().flatten(), 0.99)
    clean = fftc(coil_maps((size, size)).to(torch.complex64) * image)
    generator = torch.Generator().manual_seed(stream_seed(5, index))
    noisy = clean + NOISE_STD * standard_normal(clean.shape, generator, torch.complex64)
    center = max(0.32 / acceleration, 6 / size)
    mask = make_mask("equispaced", (size, size), acceleration, center, seed=index)
    raw = raw_from_arrays(noisy.numpy()[None])
    return case_of(raw, name, mask, noise_std=NOISE_STD, clean=clean.numpy())


def intervals(case: Case, samples: torch.Tensor) -> tuple[float, float]:
    """Coverage of the left-out samples' 90 % intervals, and their interval score.

    The score is the mean of width + 2 / 0.1 what lies outside, in noise deviations.
    """
    predicted = torch.stack([case.full_operator.forward(x)[:, case.left_out] for x in samples])
    values = torch.view_as_real(predicted).double().flatten(1)
    truth = torch.view_as_real(case.data[:, case.left_out]).double().flatten()
    groups = antithetic_groups(range(len(values)))
    apart = torch.as_tensor(deviation_matrix(groups)) @ (values - values.mean(0))
    spread = apart.square().mean(0)
    if len(set(groups)) > 1:  # the error of the mean, from the means of groups
        means = torch.stack([values[k : k + 4].mean(0) for k in range(0, len(values), 4)])
        spread = spread + means.var(0) / len(means)
    total = spread + case.noise_std**2
    freedom = degrees_of_freedom(groups) * (total / spread.clamp_min(1e-300)).square()
    quantile = torch.as_tensor(stats.t.ppf(0.5 + LEVEL / 2, freedom.clamp_max(1e6).numpy()))
    half = quantile * total.sqrt()
    outside = ((truth - values.mean(0)).abs() - half).clamp_min(0)
    score = float((2 * half + 2 / (1 - LEVEL) * outside).mean()) / case.noise_std
    return float((outside == 0).double().mean()), score


def measure(case: Case, prior, n_samples: int, n_evaluations: int, seed: int) -> dict[str, float]:
    """Figures of one pair."""
    start = time.process_time()
    samples = sample_posterior(
        prior,
        case.operator,
        case.acquisition.data(),
        case.noise_std,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        antithetic=True,
        generator=torch.Generator().manual_seed(seed),
    ).samples
    seconds = time.process_time() - start
    coverage, score = intervals(case, samples)
    return {
        **case.figures(samples.mean(0)),
        "coverage": coverage,
        "interval_score": score,
        "seconds": seconds,
    }


def print_table(lines: list[dict]) -> None:
    """Means over the cases that every pair of an acceleration has, by acceleration and pair."""
    for acceleration in sorted({line["acceleration"] for line in lines}):
        own = [line for line in lines if line["acceleration"] == acceleration]
        cases = defaultdict(set)
        for line in own:
            cases[line["samples"], line["evaluations"]].add(line["case"])
        common = set.intersection(*cases.values())
        print(f"\n{acceleration:g}x, {len(common)} scans: {', '.join(sorted(common))}\n")
        print(
            "| samples x evaluations | PSNR (dB) | left-out (dB) | coverage | interval score | s |"
        )
        print("|---|---|---|---|---|---|")
        for pair in sorted(cases, key=lambda p: (p[0] * p[1], -p[0])):
            chosen = [
                line
                for line in own
                if (line["samples"], line["evaluations"]) == pair and line["case"] in common
            ]
            names = ("PSNR", "left_out", "coverage", "interval_score", "seconds")
            mean = {name: float(np.mean([line[name] for line in chosen])) for name in names}
            print(
                f"| {pair[0]} x {pair[1]} | {mean['PSNR']:.2f} | {mean['left_out']:.2f} | "
                f"{mean['coverage']:.3f} | {mean['interval_score']:.3f} | {mean['seconds']:.1f} |"
            )


def main() -> None:
    """Measure what the output file lacks, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pairs", nargs="+", default=PAIRS, help="samples x evaluations")
    parser.add_argument("--seed", type=int, default=2, help="of the samples")
    parser.add_argument("--table", action="store_true", help="print the table of the file alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = options.output.read_text() if options.output.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    done = {(x["case"], x["acceleration"], x["samples"], x["evaluations"]) for x in lines}
    makers: dict[str, Callable] = {n: scan_case for n in SCANS} | {n: head_case for n in HEADS}
    prior = load_prior("brain-small")
    pairs = [tuple(map(int, pair.split("x"))) for pair in options.pairs]
    for name, make in ({} if options.table else makers).items():
        for acceleration in ACCELERATIONS:
            missing = [pair for pair in pairs if (name, acceleration, *pair) not in done]
            case = make(name, acceleration) if missing else None
            for n_samples, n_evaluations in missing:
                found = {
                    "case": name,
                    "acceleration": acceleration,
                    "samples": n_samples,
                    "evaluations": n_evaluations,
                    **measure(case, prior, n_samples, n_evaluations, options.seed),
                }
                lines.append(found)
                with options.output.open("a") as file:
                    file.write(json.dumps(found) + "\n")
    print_table(lines)


if __name__ == "__main__":
    main()
