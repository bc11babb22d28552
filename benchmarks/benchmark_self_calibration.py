"""Does a scan calibrate its own uncertainty? Coverage of intervals before and after.

    python benchmarks/benchmark_self_calibration.py [--images FOLDER] [--scans 4] [--size 256]
        [--accelerations 4,8] [--samples 8] [--evaluations 40] [--raw FILE ...] [--seed 0]

Every anatomy of FOLDER (`../shared/data/images`, or of $MRI_ALPS_SHARED_DATA; knee, spine, pelvis
and held-out heads) is given a smooth phase, measured by 8 simulated coils with fastMRI's
equispaced masks and white noise, and taken through the program: noise, sensitivity maps, scale and
sampler as `reconstruct` has them. The truth is free of noise: the magnitude image that the coils
saw. For scans of --raw, which are fully sampled, the truth is their own root-sum-of-squares
image, whose noise is allowed for. Samples before and after are the same draws.

Printed for each scan: factor of the deviation with its error, coverage in the object of 50, 80, 90
and 95 % intervals before and after, root mean square of deviation over error before and after.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import LEVELS, coil_maps
from scipy import stats

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import MriAlpsError, MriAlpsWarning
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.evaluation.coverage import head_mask, predictive_std
from mri_alps.pipeline import (
    ReconstructionConfiguration,
    SliceReconstructor,
    load_prior_for,
)
from mri_alps.pipeline.maps_deviation import maps_errors
from mri_alps.pipeline.reduction import SampledSlice
from mri_alps.pipeline.self_calibration import calibrate_scan, with_factors
from mri_alps.rawdata import RawKSpace, raw_from_arrays, read_raw
from mri_alps.uncertainty import UncertaintyFactors

ANATOMIES = {
    "knee": ("knee_mese_256_u8.npz", ""),
    "spine": ("spine_lumbar_256_u8.npz", ""),
    "pelvis": ("pelvis_prostatex_320_u8.npz", ""),
    "head": ("openms_longitudinal_256_u8.npz", "09"),
}
NOISE_STD = 0.015
AT_90 = 4 + LEVELS.index(0.9)  # of the figures of `run`


@dataclasses.dataclass(frozen=True)
class Case:
    """A scan, its true magnitude (H, W) and the noise of that per pixel."""

    name: str
    raw: RawKSpace
    truth: np.ndarray
    truth_noise: float


def images_of(folder: Path, anatomy: str, count: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Magnitudes of slices that show something, at most `size` pixels wide."""
    name, patient = ANATOMIES[anatomy]
    with np.load(folder / name) as file:
        stack = file["img"]
        if patient:
            stack = stack[file["meta"][:, 0] == patient]
    generator = np.random.default_rng(stream_seed(seed, sorted(ANATOMIES).index(anatomy)))
    bright = (stack > 30).mean((1, 2))
    usable = np.flatnonzero(bright > 0.6 * np.median(bright))
    for index in generator.choice(usable, count, replace=False):
        image = torch.as_tensor(stack[index].astype(np.float32)).to(torch.complex64)
        kept = [min(size, n) for n in image.shape]
        yield ifftc(torch.as_tensor(center_crop(fftc(image).numpy()[None], kept)[0])).abs().numpy()


def simulated(magnitude: np.ndarray, name: str, seed: int) -> Case:
    """Measure an image with 8 coils; fully sampled, the mask is the settings'."""
    shape = magnitude.shape
    generator = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    c = 0.8 * generator.normal(size=6)
    phase = c[0] + c[1] * x + c[2] * y + c[3] * x * y + c[4] * x**2 + c[5] * y**2
    scale = np.percentile(magnitude[magnitude > 0.1 * magnitude.max()], 99)
    image = torch.as_tensor(magnitude / scale * np.exp(1j * phase)).to(torch.complex64)
    maps = coil_maps((shape[0], shape[1])).to(torch.complex64)
    noise = standard_normal(
        maps.shape, torch.Generator().manual_seed(stream_seed(seed, 9)), torch.complex64
    )
    kspace = fftc(maps * image) + NOISE_STD * noise
    return Case(name, raw_from_arrays(kspace.numpy()[None]), image.abs().numpy(), 0.0)


def measured(path: Path) -> Case:
    """Take a fully sampled scan as its own truth."""
    raw = read_raw(path)
    index = raw.n_slices // 2
    images = ifftc(torch.as_tensor(raw.read_slice(index))).numpy()
    return Case(path.stem, raw, np.sqrt((np.abs(images) ** 2).sum(0)), math.nan)


def with_found(
    sampled: SampledSlice, factors: UncertaintyFactors | None, seed: int
) -> SampledSlice:
    """Scale draws that were made without factors as `reconstruct` scales its own."""
    acquisition, drawn = sampled.loaded.acquisition, sampled.result.samples
    errors = maps_errors(acquisition, len(drawn), seed, sampled.loaded.index)
    of_maps = torch.zeros(()) if errors is None else errors.to(drawn.device)
    result = dataclasses.replace(sampled.result, samples=drawn - of_maps)
    samples = with_factors(result, factors, acquisition).samples + of_maps
    return dataclasses.replace(
        sampled,
        samples=acquisition.combine(samples).cpu().numpy(),
        result=dataclasses.replace(result, samples=samples),
    )


def run(case: Case, configuration: ReconstructionConfiguration) -> list[float]:
    """Factor, its error, deviation over error before and after, coverage before and after."""
    prior, device = load_prior_for(configuration)
    index = case.raw.n_slices // 2
    reconstructor = SliceReconstructor.of_scan(case.raw, configuration, prior, device)
    factors = calibrate_scan(reconstructor, [index])
    loaded = reconstructor.load(index)
    sampled = reconstructor.draw(loaded)
    acquisition = loaded.acquisition
    head = head_mask(case.truth[None])[0]
    noise = case.truth_noise
    if math.isnan(noise):
        noise = acquisition.noise_std * acquisition.scale
    noise = noise * acquisition.rss_weight.numpy()
    found = [math.nan, math.nan] if factors is None else [factors.overall, factors.overall_error]
    coverage, ratio = [], []
    for one in (None, factors):
        reduced = reconstructor.reduce(with_found(sampled, one, configuration.sampler_seed))
        bounds = (reduced.reconstruction_lower, reduced.reconstruction_upper)
        degrees = reduced.scalars["degrees_of_freedom"]
        middle, half = sum(bounds) / 2, (bounds[1] - bounds[0]) / 2
        for level in LEVELS:
            reach = half * stats.t.ppf((1 + level) / 2, degrees) / stats.t.ppf(0.95, degrees)
            reach = np.hypot(reach, stats.norm.ppf((1 + level) / 2) * noise)
            coverage.append(float((np.abs(case.truth - middle) <= reach)[head].mean()))
        error = np.abs(reduced.reconstruction - case.truth)
        predicted = predictive_std(*bounds, degrees) ** 2 + noise**2
        ratio.append(float(np.sqrt(predicted[head].sum() / (error[head] ** 2).sum())))
    return [*found, *ratio, *coverage]


def coverages(row) -> str:
    """Coverage at all levels before and after, of what `run` returns."""
    before, after = (row[4 + i * len(LEVELS) :][: len(LEVELS)] for i in (0, 1))
    return " -> ".join(", ".join(f"{value:.3f}" for value in one) for one in (before, after))


def main() -> None:
    """Print a line for each scan, and means of each anatomy."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", shared))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=shared / "images")
    parser.add_argument("--anatomies", default=",".join(ANATOMIES))
    parser.add_argument("--scans", type=int, default=4, help="of each anatomy")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--accelerations", default="4,8")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--raw", type=Path, nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", MriAlpsWarning)
    cases = [("real", measured(path)) for path in options.raw]
    for anatomy in filter(None, options.anatomies.split(",")):
        images = images_of(options.images, anatomy, options.scans, options.size, options.seed)
        cases += [
            (anatomy, simulated(image, f"{anatomy} {number}", stream_seed(options.seed, number)))
            for number, image in enumerate(images)
        ]
    print(
        f"scan | acceleration | factor (error) | coverage at {LEVELS}, before -> after | "
        "deviation / error | CPU seconds"
    )
    rows: dict[tuple[str, float], list[list[float]]] = {}
    for acceleration in map(float, options.accelerations.split(",")):
        configuration = ReconstructionConfiguration(
            prior=options.prior,
            mask="equispaced",
            acceleration=acceleration,
            n_samples=options.samples,
            n_evaluations=options.evaluations,
            seed=options.seed,
        )
        for anatomy, case in cases:
            started = time.process_time()
            try:
                row = run(case, configuration)
            except MriAlpsError as error:
                print(f"{case.name} | {acceleration:g}x | {error}", flush=True)
                continue
            rows.setdefault((anatomy, acceleration), []).append(row)
            print(
                f"{case.name} | {acceleration:g}x | {row[0]:.2f} ({row[1]:.2f}) | "
                f"{coverages(row)} | {row[2]:.2f} -> {row[3]:.2f} | "
                f"{time.process_time() - started:.0f}",
                flush=True,
            )
    for (anatomy, acceleration), found in rows.items():
        mean, std = np.mean(found, 0), np.std(found, 0)
        print(
            f"{anatomy} {acceleration:g}x, {len(found)} scans: coverage {coverages(mean)}, "
            f"of 90 % +/- {std[AT_90]:.3f} -> +/- {std[AT_90 + len(LEVELS)]:.3f} from scan to "
            f"scan; deviation over error {mean[2]:.2f} -> {mean[3]:.2f}"
        )


if __name__ == "__main__":
    main()
