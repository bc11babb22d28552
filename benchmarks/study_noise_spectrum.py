"""Filtered k-space: what is gained where the noise is known line by line, and everywhere?

    python benchmarks/study_noise_spectrum.py [--filters hamming,fermi,white] [--coils 1,8]
        [--accelerations 1,3] [--prior gaussian] [--noise 0.02] [--size 96] [--scans 2] [--seed 0]

Held-out heads of `benchmark_self_calibration.py`, coils and white noise, then the filter on
k-space. The truth is the filtered image without noise. Printed for each way to have the noise:
PSNR, deviation over error (root mean squares in the head), coverage of 90 % intervals, and seconds.

- one level: the largest witness, as before lines had a level of their own
- measured: as `reconstruct` does it
- level: the true level at the centre of k-space, for all samples
- lines: the true one of each line, its mean square along the readout
- samples: the true one of each sample
- divided: k-space divided by the filter, reconstructed, filtered again
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import coil_maps
from benchmark_self_calibration import images_of

from mri_alps.calibration.line_weights import sample_power
from mri_alps.core.errors import MriAlpsError, MriAlpsWarning
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import stream_seed
from mri_alps.evaluation.coverage import head_mask
from mri_alps.pipeline import ReconstructionConfiguration, SliceReconstructor, load_prior_for
from mri_alps.pipeline.self_calibration import calibrate_scan
from mri_alps.rawdata import raw_from_arrays

METHODS = ("one level", "measured", "level", "lines", "samples", "divided")
QUIETEST, N_SAMPLES = 0.02, 8


class WithKnownNoise(SliceReconstructor):
    """A reconstructor that is told of the noise of samples, (H or 1, W), over `noise_std`."""

    known: torch.Tensor | None = None

    def prepare(self, *args, **settings):
        """Calibrate a slice, and weigh its samples anew."""
        found = super().prepare(*args, **settings)
        if self.known is None:
            return found
        points = found.mask.expand(found.shape)
        error = found.info.get("maps_error") or 0.0
        noise = (found.noise_std * self.known).square()
        power = sample_power(found.kspace, points)
        if len(self.known) == 1:
            power = power.mean(0, keepdim=True)
        weights = found.noise_std / (noise + error**2 * (power - noise).clamp_min(0)).sqrt()
        weights = torch.where(points[: len(weights)], weights, 1.0).float()
        weights = weights[0] if len(weights) == 1 else weights
        return dataclasses.replace(found, weights=weights)


def window_of(shape: tuple[int, int], name: str) -> torch.Tensor:
    """A filter of k-space, float64 (H, W)."""
    y, x = (2 * (torch.arange(n) - n // 2).double() / n for n in shape)
    y = y[:, None]
    if name == "hamming":
        return (0.54 + 0.46 * torch.cos(math.pi * y)) * (0.54 + 0.46 * torch.cos(math.pi * x))
    if name == "fermi":
        return 1 / (1 + torch.exp((torch.hypot(y, x) - 0.7) / 0.06))
    return torch.ones(shape, dtype=torch.float64)


def filtered_scan(
    magnitude: np.ndarray, n_coils: int, window: torch.Tensor, noise_std: float, seed: int
) -> tuple[torch.Tensor, np.ndarray]:
    """K-space of an image with a smooth phase, filtered with its noise, and the true magnitude."""
    generator = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in magnitude.shape), indexing="ij")
    c = 0.8 * generator.normal(size=6)
    phase = c[0] + c[1] * x + c[2] * y + c[3] * x * y + c[4] * x**2 + c[5] * y**2
    scale = np.percentile(magnitude[magnitude > 0.1 * magnitude.max()], 99)
    image = torch.as_tensor(magnitude / scale * np.exp(1j * phase))
    maps = torch.ones((1, *image.shape)) if n_coils == 1 else coil_maps(tuple(image.shape))
    clean = fftc(maps.to(image.dtype) * image)
    parts = (torch.as_tensor(generator.standard_normal(clean.shape)) for _ in range(2))
    truth = ifftc(window * clean).abs().square().sum(0).sqrt().numpy()
    return window * (clean + noise_std * torch.complex(*parts)), truth


def run(method: str, kspace, truth, window, noise_std: float, settings: dict) -> list[float]:
    """PSNR, deviation over error, coverage, CPU seconds."""
    started = time.process_time()
    given, known = noise_std, None
    if method in ("one level", "measured"):
        given = None
    elif method == "lines":
        known = window.square().mean(0, keepdim=True).sqrt().clamp_min(QUIETEST)
    elif method == "samples":
        known = window.clamp_min(QUIETEST)
    elif method == "divided":
        kspace = kspace / window.clamp_min(QUIETEST)
    raw = raw_from_arrays(kspace.to(torch.complex64).numpy()[None])
    configuration = ReconstructionConfiguration(**settings, noise_std=given)
    prior, device = load_prior_for(configuration)
    reconstructor = WithKnownNoise.of_scan(raw, configuration, prior, device)
    if method == "one level" and (found := reconstructor.calibration.noise_spectrum):
        before = dataclasses.replace(
            reconstructor.calibration,
            noise_covariance=reconstructor.calibration.noise_covariance / found.raised**2,
            whitening=reconstructor.calibration.whitening * found.raised,
            noise_spectrum=None,
        )
        reconstructor = dataclasses.replace(reconstructor, calibration=before)
    object.__setattr__(reconstructor, "known", known)
    object.__setattr__(reconstructor, "factors", calibrate_scan(reconstructor, [0]))
    sampled = reconstructor.draw(reconstructor.load(0))
    if method == "divided":
        samples = fftc(torch.as_tensor(sampled.samples)) * window
        sampled = dataclasses.replace(sampled, samples=ifftc(samples).to(torch.complex64).numpy())
    reduced = reconstructor.reduce(sampled)
    head = head_mask(truth[None])[0]
    error = (reduced.reconstruction - truth)[head]
    rms = math.sqrt(float((error**2).mean()))
    std = reduced.reconstruction_std[head] * math.sqrt(1 + 1 / N_SAMPLES)
    inside = (reduced.reconstruction_lower <= truth) & (truth <= reduced.reconstruction_upper)
    ratio = math.sqrt(float((std**2).mean())) / rms
    psnr = 20 * math.log10(truth.max() / rms)
    return [psnr, ratio, float(inside[head].mean()), time.process_time() - started]


def main() -> None:
    """Print a line for each filter, number of coils, acceleration and method."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", shared))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=shared / "images")
    parser.add_argument("--filters", default="hamming,fermi,white")
    parser.add_argument("--coils", default="1,8")
    parser.add_argument("--accelerations", default="1,3")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--prior", default="gaussian")
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--scans", type=int, default=2)
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", MriAlpsWarning)
    images = list(images_of(options.images, "head", options.scans, options.size, options.seed))
    for name in options.filters.split(","):
        for n_coils in map(int, options.coils.split(",")):
            for acceleration in map(float, options.accelerations.split(",")):
                settings = {
                    "prior": options.prior,
                    "n_samples": N_SAMPLES,
                    "n_evaluations": options.evaluations,
                    "seed": options.seed,
                }
                if acceleration > 1:
                    settings |= {"mask": "equispaced", "acceleration": acceleration}
                for method in options.methods.split(","):
                    rows = []
                    for number, image in enumerate(images):
                        window = window_of(image.shape, name)
                        seed = stream_seed(options.seed, number)
                        scan = filtered_scan(image, n_coils, window, options.noise, seed)
                        try:
                            rows.append(run(method, *scan, window, options.noise, settings))
                        except MriAlpsError as error:
                            print(f"{method}: {error}", flush=True)
                    psnr, ratio, coverage, seconds = np.mean(rows or [[math.nan] * 4], 0)
                    print(
                        f"{name}, {n_coils} coils, {acceleration:g}x, {method}: {psnr:.2f} dB, "
                        f"deviation / error {ratio:.2f}, coverage {coverage:.3f}, {seconds:.0f} s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
