"""The network's evaluation: layers as they are, compiled in float32, compiled with bfloat16.

    python benchmarks/benchmark_inference.py [SCAN ...] [--size 256] [--samples 8]
        [--evaluations 20]

In float32 both with convolutions by Winograd's algorithm and with torch's own. Times are those of
the thread, one core, interleaved, medians. Then the whole sampler runs on fully
sampled scans, undersampled 4 and 8 times, with the
same random numbers in float32 and bfloat16: root mean squares over the image of what changes, in
posterior standard deviations, for the mean of the samples and for single ones.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import torch
from reconstruction_case import load_case

from mri_alps import sample_posterior
from mri_alps.priors import load_prior
from mri_alps.priors.fused import _unet

CENTER_FRACTIONS = {4.0: 0.08, 8.0: 0.04}
REPEATS = 15


def time_network(prior, size: int) -> None:
    """Print milliseconds of an evaluation."""
    plain = load_prior("brain-small").requires_grad_(True)  # is never packed
    x = torch.randn(1, size, size, dtype=torch.complex64)

    def run(dtype: torch.dtype | None, most_threads: int) -> float:
        with torch.no_grad():
            prior.convolution_dtype = dtype
            _unet.MOST_THREADS = most_threads  # that Winograd's algorithm is used with
            start = time.thread_time()
            (plain if dtype is None else prior).score(x, 0.1)
            return 1e3 * (time.thread_time() - start)

    names = {
        "layers": (None, 0),
        "float32, plain": (torch.float32, 0),
        "float32": (torch.float32, 1),
        "bfloat16": (torch.bfloat16, 1),
    }
    for way in names.values():
        run(*way)
    seconds = {name: [] for name in names}
    for _ in range(REPEATS):
        for name, way in names.items():
            run(*way)  # packs the weights anew
            seconds[name].append(run(*way))
    for name, values in seconds.items():
        print(f"{name:14s} {statistics.median(values):7.1f} ms, at best {min(values):.1f}")


def rms(x: torch.Tensor) -> float:
    """Root mean square."""
    return float(x.abs().square().mean().sqrt())


def compare(prior, path: Path, acceleration: float, n_samples: int, n_evaluations: int) -> None:
    """Print what bfloat16 changes in a reconstruction."""
    case = load_case(path, acceleration, CENTER_FRACTIONS[acceleration])
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        prior.convolution_dtype = dtype
        result = sample_posterior(
            prior,
            case.operator,
            case.acquisition.data(),
            case.noise_std,
            n_samples=n_samples,
            n_evaluations=n_evaluations,
            generator=torch.Generator().manual_seed(0),
        )
        found.append(result.samples)
    exact, rounded = found
    deviation = rms(exact - exact.mean(0)) * (n_samples / (n_samples - 1)) ** 0.5
    mean = rms(exact.mean(0) - rounded.mean(0)) / deviation
    ratio = rms(rounded - rounded.mean(0)) / rms(exact - exact.mean(0))
    psnr = [case.figures(samples.mean(0))["PSNR"] for samples in found]
    print(
        f"| {path.name}, {acceleration:g}x | {mean:.4f} | {rms(exact - rounded) / deviation:.4f} "
        f"| {ratio:.4f} "
        f"| {psnr[0]:.2f}, {psnr[1]:.2f} |",
        flush=True,
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scans", nargs="*", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior("brain-small")
    print(f"python {platform.python_version()}, torch {torch.__version__}, {options.size}^2")
    time_network(prior, options.size)
    print("\n| scan | mean | single samples | deviation, ratio | PSNR (dB) of both |")
    print("|---|---|---|---|---|")
    for path in options.scans:
        for acceleration in CENTER_FRACTIONS:
            compare(prior, path, acceleration, options.samples, options.evaluations)


if __name__ == "__main__":
    main()
