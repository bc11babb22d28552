"""Denoising on held-out patients: a prior against oracle-tuned total variation and wavelets.

    python benchmarks/benchmark_denoising.py [--prior brain-small] [--images 12]

Complex images (real magnitudes with simulated smooth phase), scaled to 1 at the 99th percentile
of their magnitude, with complex white noise of standard deviation sigma per real component. The
rivals are scikit-image's `denoise_tv_chambolle` and `denoise_wavelet` on real and imaginary
part; their strength is chosen for every image and level to minimise the true error. The prior
is told sigma and nothing else: its scale comes from the noisy image. PSNR of the complex image
against a peak of 1, mean over images.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle, denoise_wavelet

from mri_alps.calibration.scale import image_scale
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.priors import load_prior
from mri_alps.training.images import split
from mri_alps.training.sources import load_images
from mri_alps.training.validation import validation_images

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5)
HELD_OUT = ("openms*/09", "openms*/20", "cheng*/block9")
STRENGTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
REQUIRED_GAIN = 1.5


def psnr(estimate: np.ndarray, truth: np.ndarray) -> float:
    """In dB, against a peak of 1, of complex images."""
    return float(-10 * np.log10(np.mean(np.abs(estimate - truth) ** 2)))


def on_parts(denoiser: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Denoise real and imaginary part."""
    return denoiser(image.real) + 1j * denoiser(image.imag)


def total_variation(noisy: np.ndarray, sigma: float) -> Iterable[np.ndarray]:
    """All candidates of the TV denoiser."""
    for strength in STRENGTHS:
        weight = 1.5 * strength * sigma
        yield on_parts(lambda x: denoise_tv_chambolle(x, weight, max_num_iter=100), noisy)  # noqa: B023


def wavelets(noisy: np.ndarray, sigma: float) -> Iterable[np.ndarray]:
    """All candidates of the wavelet denoiser: both threshold rules, two wavelets."""
    for wavelet in ("db2", "sym4"):
        for method in ("BayesShrink", "VisuShrink"):
            for strength in STRENGTHS:
                options = {"sigma": strength * sigma, "wavelet": wavelet, "method": method}
                yield on_parts(lambda x: denoise_wavelet(x, mode="soft", **options), noisy)  # noqa: B023


def with_prior(prior, noisy: torch.Tensor, sigma: float) -> np.ndarray:
    """The prior's posterior mean, in the image's own scale."""
    scale = image_scale(noisy)
    return (scale * prior.denoise((noisy / scale)[None], sigma / scale)[0]).numpy()


def main() -> None:
    """Print a Markdown table; exit with 1 if the required gain is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--images", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MRI_ALPS_SHARED_DATA", folder)) / "images"
    if not folder.is_dir():
        raise SystemExit(f"no images at {folder}: set MRI_ALPS_SHARED_DATA")
    _, held_out = split(load_images([folder]), 0.1, HELD_OUT, 0)
    images = validation_images(held_out, arguments.images, seed=0)
    prior = load_prior(arguments.prior)
    print(f"{len(images)} slices of {len(held_out.groups)} held-out groups; PSNR in dB\n")
    print("| sigma | noisy | TV (oracle) | wavelets (oracle) | prior | gain | ms per image |")
    print("|---|---|---|---|---|---|---|")
    gains = []
    for level, sigma in enumerate(SIGMAS):
        rows = []
        for index, image in enumerate(images):
            image = image / torch.quantile(image.abs().flatten(), 0.99)
            generator = torch.Generator().manual_seed(stream_seed(1, level, index))
            noisy = image + sigma * standard_normal(image.shape, generator, image.dtype)
            truth, data = image.numpy(), noisy.numpy()
            started = time.perf_counter()
            estimate = with_prior(prior, noisy, sigma)
            elapsed = 1e3 * (time.perf_counter() - started)
            rivals = [
                max(psnr(candidate, truth) for candidate in method(data, sigma))
                for method in (total_variation, wavelets)
            ]
            rows.append([psnr(data, truth), *rivals, psnr(estimate, truth), elapsed])
        noisy_db, tv, wavelet, ours, elapsed = np.mean(rows, axis=0)
        gains.append(ours - max(tv, wavelet))
        print(
            f"| {sigma:g} | {noisy_db:.2f} | {tv:.2f} | {wavelet:.2f} | {ours:.2f} | "
            f"{gains[-1]:+.2f} | {elapsed:.0f} |",
            flush=True,
        )
    if min(gains) < REQUIRED_GAIN:
        raise SystemExit(f"the smallest gain is {min(gains):.2f} dB, required {REQUIRED_GAIN} dB")


if __name__ == "__main__":
    main()
