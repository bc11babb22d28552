"""Inpainting, deblurring and super-resolution against DPS, DiffPIR, DDRM and PnP-DM.

    python benchmarks/benchmark_restoration.py [--prior brain-small|gaussian|drunet]
        [--size 96] [--images 2] [--samples 8] [--evaluations 40] [--noise 0.01,0.05,0.2]
        [--problems box,pixels,...] [--weights FILE]

Every method has the same network and as many evaluations of it. The rivals are tuned for each
problem and noise level: the setting of their grid with the best score (CRPS, which rewards a
small error and an honest spread together) on an image that is not in the table. The package's
sampler is not tuned. Images: held-out heads at a lower resolution for a learned prior, draws
of the prior for "gaussian" (coverage 0.9 is right there), scikit-image's for "drunet".
"""

from __future__ import annotations

import argparse
import functools
import itertools
import platform
import sys
import time
import warnings

import numpy as np
import restoration_rivals as rivals
import torch
from restoration_case import (
    FIGURES,
    PROBLEMS,
    Skipped,
    figures,
    find_perceptual,
    load_bed,
    make_operator,
)

import mri_alps
from mri_alps import sample_posterior
from mri_alps.core.errors import DivergenceError, MriAlpsWarning
from mri_alps.core.random import stream_seed
from mri_alps.operators import simulate
from mri_alps.sampling.baselines import sample_dps

GRIDS = {
    "alps": ("alps", {}),
    "DPS": (sample_dps, {"scale": (1.0, 3.0, 10.0)}),
    "DiffPIR": (rivals.sample_diffpir, {"weight": (1.0, 7.0), "zeta": (0.3, 1.0)}),
    "DDRM": (rivals.sample_ddrm, {"eta": (0.85, 1.0)}),
    "PnP-DM": (rivals.sample_pnpdm, {"start": (0.5, 1.0), "prior_steps": (1, 2, 4)}),
}
TUNING_SAMPLES = 2


def settings(grid: dict) -> list[dict]:
    """All combinations of a grid; one empty one of an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def run(prior, operator, data, noise_std, method, setting, n_samples, n_evaluations):
    """Samples and seconds of the processor, which others on the machine do not change."""
    chosen = functools.partial(method, **setting) if callable(method) else method
    started = time.process_time()
    result = sample_posterior(
        prior,
        operator,
        data,
        noise_std,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        method=chosen,
        generator=torch.Generator().manual_seed(1),
    )
    assert result.n_evaluations <= n_evaluations
    return result.samples, time.process_time() - started


def tune(prior, operator, truth, data, noise_std, method, grid, n_evaluations):
    """The setting of the grid with the smallest CRPS; the only one if there is one."""
    candidates, scores = settings(grid), []
    if len(candidates) == 1:
        return candidates[0]
    for setting in candidates:
        try:
            samples, _ = run(
                prior, operator, data, noise_std, method, setting, TUNING_SAMPLES, n_evaluations
            )
            scores.append(figures(samples, truth)["CRPS"])
        except DivergenceError:
            scores.append(float("inf"))
    return candidates[int(np.argmin(scores))]


def compare(prior, images, name, noise_std, options, perceptual=None):
    """For each method its setting and its figures, averaged over all images but the first."""
    operator = make_operator(name, images[0].shape[-1])
    generator = torch.Generator().manual_seed(stream_seed(41, PROBLEMS.index(name)))
    data = [simulate(operator, image, noise_std, generator) for image in images]
    rows = {}
    for title in options.methods.split(","):
        method, grid = GRIDS[title]
        common = prior, operator
        setting = tune(*common, images[0], data[0], noise_std, method, grid, options.evaluations)
        found = []
        for truth, measured in zip(images[1:], data[1:], strict=True):
            try:
                samples, seconds = run(
                    *common, measured, noise_std, method, setting, options.samples,
                    options.evaluations,
                )  # fmt: skip
            except DivergenceError as error:
                print(f"{title} on {name}, noise {noise_std}: {error}", file=sys.stderr)
                samples, seconds = torch.full((2, *truth.shape), torch.nan + 0j), float("nan")
            found.append({**figures(samples, truth, perceptual), "CPU seconds": seconds})
        means = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
        rows[title] = {**means, "setting": setting}
        shown = " ".join(f"{key} {means[key]:.3f}" for key in means)
        print(f"{name}, {noise_std}: {title} {setting} {shown}", file=sys.stderr, flush=True)
    return rows


def table(titles, results, cell) -> str:
    """Markdown: a row for each problem and noise level, a column for each method."""
    lines = [f"| problem | noise | {' | '.join(titles)} |", "|---" * (len(titles) + 2) + "|"]
    for (name, noise_std), rows in results.items():
        cells = " | ".join(cell(rows, title) for title in titles)
        lines.append(f"| {name} | {noise_std:g} | {cells} |")
    return "\n".join(lines)


def cells_of(pairs, better):
    """A cell with some figures; the best of the row in bold where there is a best."""

    def cell(rows, title):
        parts = []
        for key, form in pairs:
            text = form.format(rows[title][key])
            best = better.get(key) and better[key](row[key] for row in rows.values())
            parts.append(f"**{text}**" if best == rows[title][key] else text)
        return " / ".join(parts)

    return cell


def report(titles, results, with_lpips: bool) -> None:
    """Print the tables."""
    accuracy = [("PSNR", "{:.1f}"), ("CRPS", "{:.1f}")]
    accuracy += [("LPIPS", "{:.3f}")] if with_lpips else []
    heading = "PSNR of the mean in dB / CRPS in 1/1000" + (" / LPIPS" if with_lpips else "")
    print(f"\n{heading}\n")
    print(table(titles, results, cells_of(accuracy, {"PSNR": max, "CRPS": min, "LPIPS": min})))
    print("\nCoverage of 90 % intervals / standard deviation over error\n")
    print(table(titles, results, cells_of([("coverage", "{:.2f}"), ("spread", "{:.2f}")], {})))
    print("\n| | " + " | ".join(titles) + " |\n" + "|---" * (len(titles) + 1) + "|")
    for key in (*FIGURES[: 4 + with_lpips], "CPU seconds"):
        means = [np.mean([rows[title][key] for rows in results.values()]) for title in titles]
        print(f"| mean {key} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


def main(arguments: list[str] | None = None) -> dict:
    """Print the tables; return the figures by problem and noise level."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--weights", help="DRUNet's, for --prior drunet")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--images", type=int, default=2, help="in the table; one more is tuned on")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--noise", default="0.01,0.05,0.2")
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--methods", default=",".join(GRIDS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        prior, images = load_bed(options.prior, options.images + 1, options.size, options.weights)
    except Skipped as reason:
        print(f"--prior {options.prior} is skipped: {reason}")
        return {}
    perceptual = None
    try:
        perceptual = find_perceptual()
    except Skipped as reason:
        print(reason)
    print(
        f"mri_alps {mri_alps.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()} {platform.system()}, one thread; "
        f"prior {options.prior}, {options.images} images of {options.size}x{options.size}, "
        f"{options.samples} samples of {options.evaluations} evaluations"
    )
    results = {}
    for name in options.problems.split(","):
        for noise_std in map(float, options.noise.split(",")):
            results[name, noise_std] = compare(prior, images, name, noise_std, options, perceptual)
    report(options.methods.split(","), results, perceptual is not None)
    return results


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        main()
