"""How many sets of left-out samples, and how many evaluations, do the factors of a scan need?

    python benchmarks/study_self_calibration.py [--seed 702] [--size 128] [--accelerations 4,8]
        [--anatomies knee,head,spine,pelvis] [--evaluations 20,30] [--sets 3] [--share 6]

The scans of `benchmark_self_calibration.py`, one of each anatomy, reconstructed once (8 samples of
40). Sets of left-out lines are predicted by two samples of each of --evaluations. Printed for each
scan and number of evaluations, for every number of sets: mean and scatter of the factor over all
choices of so many sets; coverage of 90 % intervals in the object likewise; deviation over error.
Below it: intervals that one factor makes hold 90 % of the object, as `mri-alps calibrate` does,
against those scaled band by band before: mean width and interval score of the latter over those of
the former. Scans whose maps are of several sets are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from benchmark_self_calibration import ANATOMIES, images_of, simulated

from mri_alps.calibration import apply_to_coils, combined_mask
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.core.random import stream_seed
from mri_alps.evaluation.coverage import head_mask, predictive_std
from mri_alps.pipeline import ReconstructionConfiguration, SliceReconstructor, load_prior_for
from mri_alps.pipeline.maps_deviation import maps_errors
from mri_alps.pipeline.self_calibration import N_MAPS_ERRORS, with_factors
from mri_alps.rawdata import center_block
from mri_alps.sampling import antithetic_groups, sample_posterior, sample_statistics
from mri_alps.uncertainty import (
    choose_left_out,
    compare_left_out,
    fit_factors,
    left_out,
    volume_score,
    widen_interval,
)

FIRST_SAMPLE = 2**20


class Scan:
    """A reconstruction, what is true, and predictions of its left-out sets."""

    def __init__(self, case, configuration):
        self.case, self.seed = case, configuration.sampler_seed
        prior, device = load_prior_for(configuration)
        self.road = SliceReconstructor.of_scan(case.raw, configuration, prior, device)
        loaded = self.road.load(0)
        self.acquisition = loaded.acquisition
        self.result = self.road.draw(loaded).result
        n_samples = len(self.result.samples)
        errors = maps_errors(self.acquisition, n_samples, self.seed, 0)
        self.errors = torch.zeros(()) if errors is None else errors
        self.head = head_mask(case.truth[None])[0]

    def sets(self, count: int) -> list:
        """Left-out sets, and the scan calibrated without each."""
        measured = combined_mask(self.road.raw, 0, self.road.mask)
        seed = stream_seed(self.seed, 0, 1)
        folds = choose_left_out(measured, center_block(measured), count, seed)
        return [(fold, self.road.prepare(0, left_out=fold)) for fold in folds]

    def compare(self, number: int, fold: np.ndarray, acquisition, n_evaluations: int):
        """Energies of one set."""
        first = FIRST_SAMPLE * (number + 1)
        samples = sample_posterior(
            self.road.prior,
            *acquisition.problem(),
            n_samples=2,
            n_evaluations=n_evaluations,
            generator=torch.Generator().manual_seed(self.seed),
            first_sample=first,
        ).samples
        kspace = apply_to_coils(acquisition.whitening, self.case.raw.read_slice(0))
        return compare_left_out(
            acquisition.sets(uncompressed=True),
            torch.as_tensor(fold),
            torch.as_tensor(kspace / np.float32(acquisition.scale)),
            samples,
            acquisition.noise_std,
            2 * n_evaluations,
            None,
            maps_errors(acquisition, N_MAPS_ERRORS, self.seed, 0, first),
        )

    def statistics(self, factors):
        """Intervals of the scan with factors, in its own units."""
        drawn = self.result.samples - self.errors
        drawn = dataclasses.replace(self.result, samples=drawn)
        scaled = with_factors(drawn, factors, self.acquisition)
        weight = self.acquisition.rss_weight.numpy() * self.acquisition.scale
        samples = (scaled.samples + self.errors).numpy() * weight
        return sample_statistics(samples, antithetic_groups(range(len(samples))))

    def figures(self, factors) -> tuple[float, float]:
        """Coverage of 90 % intervals, and deviation over error."""
        found, true, head = self.statistics(factors), self.case.truth, self.head
        std = predictive_std(found.lower, found.upper, found.degrees_of_freedom)
        error = found.magnitude_mean - true
        covered = ((found.lower <= true) & (true <= found.upper))[head].mean()
        return float(covered), float(np.sqrt((std[head] ** 2).sum() / (error[head] ** 2).sum()))

    def conformal(self, factors) -> tuple[float, float]:
        """Mean width and score of intervals that a common factor makes hold 90 % of the object."""
        found, true, head = self.statistics(factors), self.case.truth, self.head
        factor = volume_score(true, found.lower, found.upper, head)
        lower, upper = widen_interval(found.lower, found.upper, factor)
        missed = (lower - true).clip(0) + (true - upper).clip(0)
        width = (upper - lower)[head].mean()
        return float(width), float(width + 2 / 0.1 * missed[head].mean())


def tell(scan: Scan, energies: list, label: str) -> None:
    """Print a line for each number of sets."""
    for count in range(1, len(energies) + 1):
        rows = []
        for chosen in itertools.combinations(energies, count):
            factors = fit_factors(chosen, (), scan.seed)
            if factors is not None:
                rows.append([factors.overall, factors.overall_error, *scan.figures(factors)])
        if rows:
            mean, scatter = np.mean(rows, 0), np.std(rows, 0)
            print(
                f"  {label}, {count} sets: factor {mean[0]:.2f} +/- {scatter[0]:.2f} (stated "
                f"{mean[1]:.2f}), coverage {mean[2]:.3f} +/- {scatter[2]:.3f}, deviation / error "
                f"{mean[3]:.2f}",
                flush=True,
            )


def main() -> None:
    """Print a few lines for each scan."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", shared))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=shared / "images")
    parser.add_argument("--anatomies", default=",".join(ANATOMIES))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--accelerations", default="4,8")
    parser.add_argument("--evaluations", default="20,30")
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--share", type=float, default=6, help="one part of so many is left out")
    parser.add_argument("--seed", type=int, default=702)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", MriAlpsWarning)
    left_out.SHARE = 1 / options.share
    for anatomy, acceleration in itertools.product(
        options.anatomies.split(","), map(float, options.accelerations.split(","))
    ):
        (image,) = images_of(options.images, anatomy, 1, options.size, options.seed)
        configuration = ReconstructionConfiguration(
            prior="brain-small", mask="equispaced", acceleration=acceleration, seed=options.seed
        )
        scan = Scan(simulated(image, anatomy, stream_seed(options.seed, 0)), configuration)
        if scan.acquisition.n_sets > 1:
            continue
        covered, ratio = scan.figures(None)
        print(f"{anatomy} {acceleration:g}x: drawn {covered:.3f}, {ratio:.2f}", flush=True)
        sets = scan.sets(options.sets)
        for n_evaluations in map(int, options.evaluations.split(",")):
            energies = [scan.compare(i, *one, n_evaluations) for i, one in enumerate(sets)]
            tell(scan, energies, f"{n_evaluations} evaluations")
        one, bands = (scan.conformal(f) for f in (None, fit_factors(energies, (), scan.seed)))
        print(f"  bands: width {bands[0] / one[0]:.3f}, score {bands[1] / one[1]:.3f}")


if __name__ == "__main__":
    main()
