"""The paper's study in miniature: error and calibration against evaluations spent annealing.

For box inpainting, Gaussian deblurring and 4x super-resolution of real images (magnitudes from
an npz file, or the embedded demo's truth), the annealed phase gets more and more evaluations;
diffusion posterior sampling (DPS) stands beside it at its best of the same budgets. Prints a
table and writes one figure.

    python benchmarks/study_annealing.py --output study.png [--images images.npz]
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib import resources
from pathlib import Path

import h5py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from mri_alps.calibration import image_scale
from mri_alps.core.errors import DivergenceError
from mri_alps.operators import (
    BlurOperator,
    DownsamplingOperator,
    InpaintingOperator,
    box_mask,
    gaussian_kernel,
    simulate,
)
from mri_alps.priors import load_prior
from mri_alps.sampling import sample_posterior

SIZE = 96
NOISE_STD = 0.05
N_SAMPLES = 8


def load_images(path: Path | None, count: int) -> list[torch.Tensor]:
    """Complex crops (SIZE, SIZE), scaled as the prior expects."""
    if path is None:
        source = resources.files("mri_alps") / "data" / "demo_brain.h5"
        with resources.as_file(source) as demo, h5py.File(demo) as file:
            images = np.abs(file["ground_truth"][:count])
    else:
        stack = np.load(path)["img"]
        images = stack[np.linspace(0.3 * len(stack), 0.7 * len(stack), count).astype(int)]
    crops = []
    for image in images:
        whole = torch.as_tensor(image.astype(np.float32)).to(torch.complex64)
        top, left = ((n - SIZE) // 2 for n in whole.shape)
        crops.append(whole[top : top + SIZE, left : left + SIZE] / image_scale(whole))
    return crops


def problems() -> dict:
    """The three inverse problems on (SIZE, SIZE) complex images."""
    shape, half = (SIZE, SIZE), SIZE // 3
    return {
        "box inpainting": InpaintingOperator(box_mask(shape, (half, half)), shape),
        "Gaussian deblurring": BlurOperator(gaussian_kernel(1.5, 9), shape),
        "4x super-resolution": DownsamplingOperator(shape, 4, "average"),
    }


def measure(prior, operator, images, method, n_evaluations) -> tuple[float, float]:
    """Relative error of the posterior mean, and coverage of the real part's 90 % interval."""
    errors, covered = [], []
    for index, truth in enumerate(images):
        generator = torch.Generator().manual_seed(index)
        data = simulate(operator, truth, NOISE_STD, generator)
        try:
            samples = sample_posterior(
                prior,
                operator,
                data,
                NOISE_STD,
                n_samples=N_SAMPLES,
                n_evaluations=n_evaluations,
                method=method,
                generator=generator,
            ).samples
        except DivergenceError as error:
            print(f"    left out: {error}")
            continue
        mean = samples.mean(0)
        errors.append(float((mean - truth).norm() / truth.norm()))
        # Student's t at 0.95 with 7 degrees of freedom, for a new draw beside N_SAMPLES.
        width = 1.895 * samples.real.std(0) * (1 + 1 / N_SAMPLES) ** 0.5
        covered.append(float(((truth.real - mean.real).abs() <= width).float().mean()))
    return float(np.mean(errors)), float(np.mean(covered))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path("study_annealing.png"))
    parser.add_argument("--images", type=Path, help="npz file with a stack of magnitudes 'img'")
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--n-images", type=int, default=2)
    parser.add_argument("--evaluations", default="5,10,20,40,80")
    options = parser.parse_args()
    budgets = [int(n) for n in options.evaluations.split(",")]
    prior, images = load_prior(options.prior), load_images(options.images, options.n_images)
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
        f"prior {options.prior}, {len(images)} images, {N_SAMPLES} samples"
    )
    print("| problem | method | evaluations | relative error | coverage | seconds |")
    print("|---|---|---|---|---|---|")
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), sharex=True, layout="constrained")
    for column, (name, operator) in enumerate(problems().items()):
        for method in ("alps", "dps"):
            rows = []
            for budget in budgets:
                started = time.perf_counter()
                rows.append(measure(prior, operator, images, method, budget))
                seconds = time.perf_counter() - started
                error, coverage = rows[-1]
                print(
                    f"| {name} | {method} | {budget} | {error:.3f} | {coverage:.3f} "
                    f"| {seconds:.0f} |",
                    flush=True,
                )
            for row, values in enumerate(zip(*rows, strict=True)):
                axes[row, column].plot(budgets, values, "o-", label=method)
        axes[0, column].set_title(name)
        axes[1, column].axhline(0.9, color="gray", linestyle=":", label="nominal")
        axes[1, column].set_ylim(0, 1)
        axes[1, column].set_xlabel("evaluations per sample")
    axes[0, 0].set_ylabel("relative error of the mean")
    axes[1, 0].set_ylabel("coverage of 90 % intervals")
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_xticks(budgets, [str(n) for n in budgets])
    axes[0, 0].minorticks_off()
    axes[1, 0].legend()
    figure.savefig(options.output, dpi=110)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
