"""A real scan, undersampled: posterior mean against zero-filled, CG-SENSE and BART's wavelets.

    python benchmarks/benchmark_reconstruction.py [SCAN] [--prior brain-small]
        [--samples 8] [--evaluations 40] [--pictures FOLDER]

Every method gets the same whitened k-space, sensitivity maps (as `reconstruct` estimates them)
and noise level, and is cropped alike. PSNR and NMSE are those of the magnitude against the coil
combination of the fully sampled scan, whose noise counts as error; CG-SENSE's iterations and
the wavelets' weight are chosen by that very PSNR. The left-out error compares the k-space that
an image predicts with the samples that the mask left out, in dB of their energy, noise variance
subtracted; their noise is independent of what was measured. BART is skipped where it is not
installed (Debian: apt install bart).
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import numpy as np
import torch
from reconstruction_case import Case, load_case
from reconstruction_rivals import bart_version, bart_wavelets, cg_sense, zero_filled

import mri_alps
from mri_alps import sample_posterior
from mri_alps.core.atomic import atomic_path
from mri_alps.core.crop import center_crop
from mri_alps.pipeline import point_estimate_of
from mri_alps.priors import load_prior
from mri_alps.sampling import antithetic_groups, decorrelated

CENTER_FRACTIONS = {4.0: 0.08, 8.0: 0.04}
REQUIRED_GAIN = 1.0
REQUIRED_COVERAGE = (0.85, 0.95)


def row(name: str, figures: dict[str, float], coverage: float, minutes: float, note: str) -> str:
    """One line of the table."""
    cover = "" if np.isnan(coverage) else f"{coverage:.3f}"
    return (
        f"| {name} | {figures['PSNR']:.2f} | {figures['NMSE']:.5f} | {figures['left_out']:.2f} | "
        f"{cover} | {minutes:.1f} | {note} |"
    )


def ours(case: Case, prior, n_samples: int, n_evaluations: int, seed: int):
    """Posterior samples (n_samples, H, W), drawn as `reconstruct` draws them, and a remark."""
    result = sample_posterior(
        prior,
        case.operator,
        case.acquisition.data(),
        case.noise_std,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        generator=torch.Generator().manual_seed(seed),
        antithetic=True,
    )
    misfit = result.diagnostics["levels"][-1]["data_misfit"]
    note = f"{n_samples} x {result.n_evaluations}, misfit {misfit:.3f}"
    samples = decorrelated(result.samples.numpy(), antithetic_groups(range(n_samples)))
    return torch.as_tensor(samples), note + f", {result.diagnostics['n_restarts']} restarts"


def compare(case: Case, prior, options: argparse.Namespace) -> tuple[list[str], dict]:
    """Print the table of one case; return what misses its target, and images by name."""
    print(
        f"\n{case.name}: {case.acquisition.mask.double().mean():.3f} measured, noise "
        f"{case.noise_std:.4f} ({case.acquisition.info['noise_source']})\n"
    )
    print("| method | PSNR (dB) | NMSE | left-out error (dB) | coverage | CPU minutes | |")
    print("|---|---|---|---|---|---|---|")
    images, results = {}, {}

    def print_row(name: str, make) -> None:
        started = sum(os.times()[:4])  # this process and its children
        image, note = make()
        minutes = (sum(os.times()[:4]) - started) / 60
        coverage = float("nan")
        if image.ndim == 3:
            coverage = case.left_out_coverage(image)
            images["standard deviation x 5"] = 5 * image.abs().std(0)
            images["one sample"] = image[0]
            image = image.mean(0)
        results[name] = {**case.figures(image), "coverage": coverage}
        images[f"{name}, {results[name]['PSNR']:.1f} dB"] = image
        print(row(name, results[name], coverage, minutes, note), flush=True)

    print_row(
        "fully sampled", lambda: (case.reference, "its left-out error is the maps' and its own")
    )
    print_row("zero-filled", lambda: (zero_filled(case), ""))
    print_row("CG-SENSE", lambda: cg_sense(case))
    version = bart_version()
    if version is None:
        print("\nBART is not installed: its wavelets are left out (Debian: apt install bart)\n")
    else:
        print_row(f"BART {version} pics -l1", lambda: bart_wavelets(case))
    print_row(
        "mri_alps", lambda: ours(case, prior, options.samples, options.evaluations, options.seed)
    )
    return missed(case.name, results), images


def missed(name: str, results: dict[str, dict[str, float]]) -> list[str]:
    """Sentences about targets that were not reached."""
    mine = results["mri_alps"]
    sentences = []
    low, high = REQUIRED_COVERAGE
    if not low <= mine["coverage"] <= high:
        sentences.append(f"{name}: coverage {mine['coverage']:.3f}, required {low} to {high}")
    for rival, figures in results.items():
        if not rival.startswith("BART"):
            continue
        gain = mine["PSNR"] - figures["PSNR"]
        print(f"\ngain over {rival}: {gain:+.2f} dB PSNR, ", end="")
        print(f"{mine['left_out'] - figures['left_out']:+.2f} dB left-out error")
        if gain < REQUIRED_GAIN:
            sentences.append(f"{name}: {gain:+.2f} dB over {rival}, required {REQUIRED_GAIN:+g}")
        if mine["left_out"] >= figures["left_out"]:
            sentences.append(f"{name}: the left-out error is not smaller than that of {rival}")
    return sentences


def draw(case: Case, images: dict[str, torch.Tensor], path: Path) -> None:
    """Write all images side by side, and under each its difference from the reference x 5."""
    from matplotlib.figure import Figure

    reference = case.reference.abs()
    top = float(reference.flatten().quantile(0.995))
    figure = Figure(figsize=(3 * len(images), 6.4), layout="constrained")
    axes = figure.subplots(2, len(images))
    for column, (name, image) in enumerate(images.items()):
        magnitude = (image * case.support()).abs()
        error = 5 * (magnitude - reference).abs() * (not name.startswith("standard"))
        for cell, shown in zip(axes[:, column], (magnitude, error), strict=True):
            cell.imshow(center_crop(shown.numpy(), case.crop), cmap="gray", vmin=0, vmax=top)
            cell.axis("off")
        axes[0, column].set_title(name, fontsize=8)
    axes[1, 0].set_title("below: differences x 5", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    print(f"picture: {path}", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(os.environ.get("MRI_ALPS_SHARED_DATA", data))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scan = data / "raw" / "brain_axial_8ch.h5"
    parser.add_argument("scan", nargs="?", type=Path, default=scan, help="a fully sampled scan")
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--accelerations", default="4,8")
    parser.add_argument("--center-fraction", type=float, help="0.08 at 4x, 0.04 at 8x if left out")
    parser.add_argument("--mask", default="equispaced")
    parser.add_argument("--mask-seed", type=int, help="by the file's name if left out")
    parser.add_argument("--noise-std", type=float, help="in the file's units; estimated otherwise")
    parser.add_argument("--slice", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="of the sampler")
    parser.add_argument("--pictures", type=Path, help="folder for comparison pictures")
    options = parser.parse_args(arguments)
    if not options.scan.is_file():
        parser.error(f"no scan at {options.scan}: set MRI_ALPS_SHARED_DATA, or name a scan")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run all accelerations; exit with 1 if a target is missed."""
    options = parse(arguments)
    torch.set_num_threads(1)
    prior = load_prior(options.prior)
    print(
        f"mri_alps {mri_alps.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}, 1 thread; prior {options.prior}"
    )
    sentences: list[str] = []
    for acceleration in map(float, options.accelerations.split(",")):
        fraction = options.center_fraction or CENTER_FRACTIONS.get(
            acceleration, 0.32 / acceleration
        )
        case = load_case(
            options.scan,
            acceleration,
            fraction,
            options.mask_seed,
            options.noise_std,
            options.mask,
            options.slice,
            point_estimate_of(prior),
        )
        found, images = compare(case, prior, options)
        sentences += found
        if options.pictures is not None:
            name = f"{options.scan.stem}_{options.mask}_{acceleration:g}x.png"
            draw(case, images, options.pictures / name)
    if sentences:
        raise SystemExit("\n".join(["", *sentences]))


if __name__ == "__main__":
    main()
