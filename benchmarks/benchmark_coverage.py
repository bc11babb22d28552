"""Coverage of the 90 % intervals over the head, on held-out images with simulated coils.

    python benchmarks/benchmark_coverage.py [--prior brain-small] [--images 4]
        [--samples 16] [--evaluations 100] [--accelerations 4,8] [--network-as-truth]
        [--size 128] [--seed 17] [--self-calibration]

The truths are images of patients that the prior was not trained on (real magnitudes, simulated
smooth phase), or with --network-as-truth what the network itself draws. They are measured by
8 simulated coils with fastMRI's equispaced masks and white noise; the sampler gets the true maps
and noise level. For each pixel of the head the magnitude's 90 % predictive interval does or does
not hold the true magnitude. Ranks of the truth among the samples, for the real parts of random
linear functionals, are uniform if truths come from the sampler's own prior: their chi-square is
printed with its p-value. With --self-calibration deviations are scaled by what three sets of
left-out lines call for, as `reconstruct` does it. Last come the means over images, with their
standard errors, of the coverage of 50, 80, 90 and 95 % intervals, before and after that.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage, stats

from mri_alps import sample_posterior
from mri_alps.calibration.scale import image_scale
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.masks import make_mask
from mri_alps.operators import SenseOperator
from mri_alps.priors import load_prior
from mri_alps.priors.gaussian import apply_filter
from mri_alps.sampling.diffusion import reverse_diffusion
from mri_alps.sampling.schedules import karras_ladder
from mri_alps.sampling.score import CountedScore
from mri_alps.sampling.statistics import predictive_interval, sample_statistics
from mri_alps.training.images import split
from mri_alps.training.sources import load_images
from mri_alps.training.validation import validation_images
from mri_alps.uncertainty import choose_left_out, compare_left_out, fit_factors, scale_deviations

HELD_OUT = ("openms*/09", "openms*/20", "cheng*/block9")
N_COILS, N_FUNCTIONALS, PRIOR_STEPS = 8, 8, 100
REQUIRED = (0.85, 0.95)
N_FOLDS, N_PREDICTIONS, PREDICTION_STEPS = 2, 2, 30  # of self-calibration
LEVELS = (0.5, 0.8, 0.9, 0.95)


def coil_maps(shape: tuple[int, int]) -> torch.Tensor:
    """Smooth maps of coils on a circle, sum of squares 1, complex64 (coils, H, W)."""
    axes = [torch.linspace(-1, 1, n) for n in shape]
    y, x = torch.meshgrid(*axes, indexing="ij")
    maps = []
    for coil in range(N_COILS):
        angle = 2 * math.pi * coil / N_COILS + 0.3
        distance = (x - 1.2 * math.cos(angle)) ** 2 + (y - 1.2 * math.sin(angle)) ** 2
        maps.append(torch.polar(torch.exp(-distance / 1.2), angle + 0.7 * x * math.cos(2 * angle)))
    stack = torch.stack(maps)
    return stack / stack.abs().square().sum(0).sqrt()


def held_out_images(count: int, seed: int = 3) -> list[torch.Tensor]:
    """Complex images of held-out patients with image scale 1."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MRI_ALPS_SHARED_DATA", folder)) / "images"
    if not folder.is_dir():
        raise SystemExit(f"no images at {folder}: set MRI_ALPS_SHARED_DATA")
    _, held_out = split(load_images([folder]), 0.1, HELD_OUT, 0)
    images = validation_images(held_out, count, seed=seed)
    return [image / image_scale(image) for image in images]


def network_images(prior, count: int, size: int, seed: int) -> list[torch.Tensor]:
    """Draws of the network's own prior at sigma_min, by reverse diffusion."""
    generator = torch.Generator().manual_seed(seed)
    power = prior.prior_spectrum.image((size, size)).float()
    ladder = karras_ladder(prior.sigma_max, prior.sigma_min, PRIOR_STEPS)

    def noise() -> torch.Tensor:
        return standard_normal((count, size, size), generator, torch.complex64)

    start = apply_filter(noise(), (power + ladder[0] ** 2).sqrt(), (-2, -1))
    with torch.no_grad():
        return list(reverse_diffusion(CountedScore(prior), start, ladder, noise))


def head(image: torch.Tensor) -> np.ndarray:
    """Pixels of the head: bright ones, closed and filled."""
    magnitude = image.abs().numpy()
    bright = magnitude > 0.1 * np.percentile(magnitude, 99)
    return ndimage.binary_fill_holes(ndimage.binary_opening(ndimage.binary_closing(bright)))


def measure(truth: torch.Tensor, acceleration: float, noise_std: float, seed: int):
    """Operator and data."""
    shape = (truth.shape[0], truth.shape[1])
    mask = make_mask("equispaced", shape, acceleration, 0.32 / acceleration, seed=seed)
    operator = SenseOperator(coil_maps(shape), torch.as_tensor(mask[0]))
    generator = torch.Generator().manual_seed(stream_seed(5, seed))
    noise = standard_normal(operator.range_shape, generator, torch.complex64)
    return operator, (operator.forward(truth) + noise_std * noise) * operator.measured


def self_calibrated(prior, samples, operator, data, noise_std: float, center: int, seed: int):
    """Samples with the deviations that left-out lines call for, and the factors or None."""
    maps, mask = operator.sensitivity_maps, operator.mask
    shape, compared = samples.shape[1:], []
    whole = np.broadcast_to(mask.numpy(), shape)
    for number, fold in enumerate(choose_left_out(whole, (shape[0], center), N_FOLDS, seed)):
        left_out = torch.as_tensor(fold)
        kept = SenseOperator(maps, mask & ~left_out[0])
        found = sample_posterior(
            prior,
            kept,
            data * kept.measured,
            noise_std,
            n_samples=N_PREDICTIONS,
            n_evaluations=PREDICTION_STEPS,
            generator=torch.Generator().manual_seed(stream_seed(seed, number)),
        )
        compared.append(compare_left_out(maps, left_out, data, found.samples, noise_std))
    factors = fit_factors(compared, (), seed)
    if factors is None:
        return samples, None
    return scale_deviations(samples, factors, operator, noise_std), factors


def coverages(samples: np.ndarray, true: np.ndarray, region: np.ndarray) -> list[float]:
    """Share of a region that intervals of the nominal `LEVELS` hold."""
    found = sample_statistics(samples)
    mean, std = found.magnitude_mean, found.magnitude_std
    intervals = (predictive_interval(mean, std, len(samples), level) for level in LEVELS)
    return [float(((low <= true) & (true <= high))[region].mean()) for low, high in intervals]


def means(values) -> str:
    """Means over images, with their standard errors."""
    mean, error = np.mean(values, 0), np.std(values, 0) / math.sqrt(len(values))
    pairs = zip(np.atleast_1d(mean), np.atleast_1d(error), strict=True)
    return ", ".join(f"{m:.3f} +/- {e:.3f}" for m, e in pairs)


def main(arguments: list[str] | None = None) -> None:
    """Print a line per image and a summary per acceleration; exit with 1 on a missed target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--accelerations", default="4,8")
    parser.add_argument("--noise-std", type=float, default=0.03)
    parser.add_argument("--network-as-truth", action="store_true")
    parser.add_argument("--size", type=int, default=128, help="of the network's own images")
    parser.add_argument("--seed", type=int, default=17, help="of the network's own images")
    parser.add_argument("--self-calibration", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    prior = load_prior(options.prior)
    if options.network_as_truth:
        truths = network_images(prior, options.images, options.size, options.seed)
    else:
        truths = held_out_images(options.images)
    print("| acceleration | image | coverage over the head | PSNR (dB) | std / error | minutes |")
    print("|---|---|---|---|---|---|")
    missed = []
    for acceleration in map(float, options.accelerations.split(",")):
        covered, pixels, ranks, levels, factors = 0.0, 0, [], [], []
        for index, truth in enumerate(truths):
            started = time.perf_counter()
            operator, data = measure(truth, acceleration, options.noise_std, index)
            samples = sample_posterior(
                prior,
                operator,
                data,
                options.noise_std,
                n_samples=options.samples,
                n_evaluations=options.evaluations,
                generator=torch.Generator().manual_seed(index),
            ).samples
            true, region = truth.abs().numpy(), head(truth)
            at_levels = coverages(samples.numpy(), true, region)
            if options.self_calibration:
                center = round(0.32 / acceleration * truth.shape[1])
                samples, fitted = self_calibrated(
                    prior, samples, operator, data, options.noise_std, center, index
                )
                factor = math.nan if fitted is None else fitted.overall
                factors.append(factor)
                print(f"factor {factor:.2f}, at 90 % {at_levels[2]:.3f} before", flush=True)
                at_levels += coverages(samples.numpy(), true, region)
            levels.append(at_levels)
            found = sample_statistics(samples.numpy())
            inside = ((found.lower <= true) & (true <= found.upper))[region]
            error = (found.mean - truth.numpy())[region]
            spread = samples.numpy().std(0, ddof=1)[region]
            ratio = np.sqrt((spread**2).mean() / (np.abs(error) ** 2).mean())
            difference = np.abs(found.mean) - true
            psnr = 20 * np.log10(true.max() / np.sqrt((difference**2).mean()))
            covered, pixels = covered + inside.sum(), pixels + inside.size
            generator = torch.Generator().manual_seed(stream_seed(9, index))
            weights = standard_normal((N_FUNCTIONALS, truth.numel()), generator, torch.complex64)
            values = (samples.flatten(1) @ weights.mT).real
            ranks.append((values < (weights @ truth.flatten()).real).sum(0))
            minutes = (time.perf_counter() - started) / 60
            print(
                f"| {acceleration:g} | {index} | {inside.mean():.3f} | {psnr:.2f} | {ratio:.2f} | "
                f"{minutes:.1f} |",
                flush=True,
            )
        bins = np.bincount(torch.cat(ranks).numpy() * 4 // (options.samples + 1), minlength=4)
        sizes = np.bincount(np.arange(options.samples + 1) * 4 // (options.samples + 1))
        expected = sizes / sizes.sum() * bins.sum()
        p_value = stats.chi2.sf(((bins - expected) ** 2 / expected).sum(), 3)
        coverage = covered / pixels
        print(
            f"| {acceleration:g} | all | {coverage:.3f} | ranks in quarters {bins.tolist()}, "
            f"p = {p_value:.3f} | | |",
            flush=True,
        )
        if factors:
            print(f"factor {means(factors)}", flush=True)
        table = np.reshape(levels, (len(levels), -1, len(LEVELS)))
        for name, found in zip(("as drawn", "with factors"), table.swapaxes(0, 1), strict=False):
            print(f"{name}, intervals of {LEVELS} hold {means(found)}", flush=True)
        if not REQUIRED[0] <= coverage <= REQUIRED[1]:
            missed.append(f"{acceleration:g}x: coverage {coverage:.3f}, required {REQUIRED}")
    if missed:
        raise SystemExit("\n".join(missed))


if __name__ == "__main__":
    main()
