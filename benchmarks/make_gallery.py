"""The pictures of the documentation's gallery: mean, error and deviation of every anatomy at hand.

    python benchmarks/make_gallery.py [--images FOLDER] [--output gallery]
        [--size 160] [--acceleration 4] [--samples 8] [--evaluations 40]

One slice of each anatomy of FOLDER (`../shared/data/images`, or of $MRI_ALPS_SHARED_DATA) whose
licence allows a picture of it to be published, measured as `benchmark_self_calibration.py` does:
a smooth phase, 8 simulated coils, fastMRI's equispaced mask, white noise of 0.015. Everything else
is the program's default: noise, sensitivity maps and scale are estimated, the uncertainty is
calibrated on measured samples that are left out. Heads are of patients that `brain-small` has
never seen. The object's pixels are those of `evaluation.coverage.head_mask`. Prints the table of
the page.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from benchmark_self_calibration import simulated
from PIL import Image

import mri_alps
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.evaluation.coverage import head_mask

# name: file, and which slice is taken
SLICES = {
    "head_flair": ("openms_longitudinal_256_u8.npz", lambda meta: _patient(meta, "09", "FLAIR")),
    "head_t1": ("openms_longitudinal_256_u8.npz", lambda meta: _patient(meta, "20", "T1W")),
    "head_tumour": ("cheng_every3rd_256_u8.npz", lambda meta: -1),
    "knee": ("knee_mese_256_u8.npz", lambda meta: 96),
    "pelvis": ("pelvis_prostatex_320_u8.npz", lambda meta: 10),
}


def _patient(meta: np.ndarray, patient: str, contrast: str) -> int:
    chosen = np.flatnonzero((meta[:, 0] == patient) & (meta[:, 2] == contrast))
    return int(chosen[len(chosen) // 2])


def magnitude(folder: Path, name: str, size: int) -> np.ndarray:
    """(size or less, ...) of one slice, interpolated by cropping its k-space."""
    file_name, choose = SLICES[name]
    with np.load(folder / file_name) as file:
        meta = file["meta"] if "meta" in file.files else np.empty((0, 3))
        image = torch.as_tensor(file["img"][choose(meta)].astype(np.float32)).to(torch.complex64)
    kept = [min(size, n) for n in image.shape]
    cropped = center_crop(fftc(image).numpy()[None], kept)[0]
    return ifftc(torch.as_tensor(cropped)).abs().numpy()


def picture(path: Path, truth: np.ndarray, result: mri_alps.Reconstruction) -> None:
    """Truth, mean, error and deviation; the last two on one scale."""
    mean, std = result.reconstruction[0], result.reconstruction_std[0]
    error = np.abs(mean - truth)
    top, spread = np.percentile(truth, 99.5), np.percentile(std, 99.5)
    columns = (
        (truth, "truth", "gray", top),
        (mean, "mean", "gray", top),
        (error, "error", "inferno", 2 * spread),
        (std, "deviation", "inferno", 2 * spread),
    )
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.3), layout="constrained")
    for axis, (image, title, colours, limit) in zip(axes, columns, strict=True):
        axis.imshow(image, cmap=colours, vmin=0, vmax=limit)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(128)
    small.save(path, optimize=True)


def main() -> None:
    """Write the pictures and print a table."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", shared))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=Path, default=shared / "images")
    parser.add_argument("--output", type=Path, default=Path("gallery"))
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--acceleration", type=float, default=4)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    print("| anatomy | PSNR, dB | coverage of 90 % | deviation over error | factor | s |")
    print("|---|---|---|---|---|---|")
    for name in SLICES:
        case = simulated(magnitude(arguments.images, name, arguments.size), name, seed=3)
        start = time.perf_counter()
        result = mri_alps.reconstruct(
            case.raw,
            mask="equispaced",
            acceleration=arguments.acceleration,
            n_samples=arguments.samples,
            n_evaluations=arguments.evaluations,
        )
        seconds = time.perf_counter() - start
        inside = head_mask(case.truth[None])[0]
        lower, upper = result.reconstruction_lower[0], result.reconstruction_upper[0]
        covered = ((lower <= case.truth) & (case.truth <= upper))[inside].mean()
        error = (result.reconstruction[0] - case.truth)[inside]
        ratio = np.sqrt((result.reconstruction_std[0][inside] ** 2).mean() / (error**2).mean())
        psnr = 20 * np.log10(case.truth.max() / np.sqrt((error**2).mean()))
        factor = result.scalars.get("uncertainty_factor", np.array([np.nan]))[0]
        print(
            f"| {name} | {psnr:.1f} | {covered:.2f} | {ratio:.2f} | {factor:.2f} | {seconds:.0f} |",
            flush=True,
        )
        picture(arguments.output / f"{name}.png", case.truth, result)


if __name__ == "__main__":
    main()
