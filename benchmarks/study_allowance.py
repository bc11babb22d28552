"""Could left-out lines choose the allowance for errors of the sensitivity maps?

    python benchmarks/study_allowance.py [--scans knee:4,spine:8,head:4] [--factors 0.5,1,2]
        [--seed 703] [--size 128]

Each simulated scan is taken through the program with the allowance for its maps times each of
--factors. Printed: energy of the error of two sets of left-out lines, predicted by two samples of
20, less that of the noise, over that at 1; and the signal over the error of the image (4 samples
of 20) in the object, in dB. Left-out lines choose well if the one is least where the other is
largest.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from benchmark_self_calibration import images_of, simulated
from study_self_calibration import Scan

from mri_alps.calibration.chain import weighted
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.random import stream_seed
from mri_alps.pipeline import ReconstructionConfiguration


def measure(case, configuration: ReconstructionConfiguration) -> tuple[float, float, float]:
    """Allowance, energy of the error of left-out lines, signal over error of the image in dB."""
    scan = Scan(case, configuration)
    energy = 0.0
    for number, one in enumerate(scan.sets(2)):
        found = scan.compare(number, *one, 20)
        energy += float((found.error - found.noise).sum())
    error = (scan.statistics(None).magnitude_mean - case.truth)[scan.head]
    ratio = (case.truth[scan.head] ** 2).sum() / (error**2).sum()
    return scan.acquisition.info["maps_error"], energy, 10 * float(np.log10(ratio))


def main() -> None:
    """Print a line for each scan."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", shared))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=shared / "images")
    parser.add_argument("--scans", default="knee:4,spine:8,head:4")
    parser.add_argument("--factors", default="0.5,1,2")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=703)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", MriAlpsWarning)
    slice_of = weighted.WeightedSlice
    factors = [float(factor) for factor in options.factors.split(",")]
    for anatomy, acceleration in (scan.split(":") for scan in options.scans.split(",")):
        (image,) = images_of(options.images, anatomy, 1, options.size, options.seed)
        case = simulated(image, anatomy, stream_seed(options.seed, 0))
        configuration = ReconstructionConfiguration(
            prior="brain-small",
            mask="equispaced",
            acceleration=float(acceleration),
            n_samples=4,
            n_evaluations=20,
            seed=options.seed,
        )
        found = []
        for factor in factors:
            weighted.WeightedSlice = lambda compressed, weights, *rest, by=factor: slice_of(
                compressed, (1 + by**2 * (weights**-2 - 1)).rsqrt(), *rest
            )
            found.append(measure(case, configuration))
        usual = found[factors.index(1.0)]
        told = ", ".join(
            f"x{factor:g}: left-out error {energy / usual[1]:.3f}, image {ratio:.2f} dB"
            for factor, (_, energy, ratio) in zip(factors, found, strict=True)
        )
        print(f"{anatomy} {acceleration}x, allowance {usual[0]:.3f}; {told}", flush=True)


if __name__ == "__main__":
    main()
