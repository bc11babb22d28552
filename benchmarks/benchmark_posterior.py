"""Samplers against exact posteriors, per number of score evaluations.

    python benchmarks/benchmark_posterior.py [--quick] [--methods alps,xgp1] [--part large]

Small: 16x16 complex images, 4 coils, a 1-D mask with R=4 and 2 centre lines; a Gaussian and an
8-component mixture prior; moderate and small noise; 256 samples for each of several
measurements. Spectra are estimated from the score alone, so nothing but the score is known.
"solver" is the default method as it solves images of any size (`dense_limit=0`).

Large: what `mri-alps verify` does, at the sizes of scans: the Gaussian prior of the package at 96
to 320 pixels, 8 coils, lines and points, 4x and 8x, 20 evaluations. On one busy core 96 pixels take
7 minutes and 128 pixels 13; all four sizes take some two hours. Bounds allow for the few samples;
what is within them may still be off, look at the figures of all rows together.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mri_alps
from mri_alps import sample_posterior
from mri_alps.core.errors import DivergenceError, MriAlpsWarning
from mri_alps.diagnostics.exact_gaussian import GaussianProblem
from mri_alps.diagnostics.exactness import verify_gaussian
from mri_alps.sampling import estimate_prior_spectrum
from mri_alps.sampling.path import AlpsConfiguration
from mri_alps.sampling.restarts import sample_alps
from tests.sampling import posterior_bed as bed

NOISE = {"moderate": 0.4, "small": 0.02}
EVALUATIONS = (20, 50, 100, 300)
METHODS = ("alps", "solver", "xgp1", "csgm", "dps")
COLUMNS = ("mean", "std", "wasserstein", "weights", "coverage")
SHAPE = (16, 16)
SIZES, LARGE_NOISE = (96, 128, 192, 320), (0.01, 0.03, 0.1, 0.3)


def solver(task):
    """The default method without dense factors."""
    return sample_alps(task, AlpsConfiguration(dense_limit=0))


def run(score_model, spectrum, operator, noise_std, measurements, method, n_evaluations, n):
    """Return the average figures, chains lost, restarts, operator cost and seconds."""
    generator = torch.Generator().manual_seed(100)
    rows, lost, restarts, normals = [], 0, 0, 0.0
    started = time.perf_counter()
    for measurement in measurements:
        try:
            result = sample_posterior(
                score_model,
                operator,
                measurement.data,
                noise_std,
                n_samples=n,
                n_evaluations=n_evaluations,
                method=solver if method == "solver" else method,
                prior_spectrum=spectrum,
                generator=generator,
            )
        except DivergenceError as error:
            print(f"    raised: {error}")
            lost += n
            continue
        assert result.n_evaluations <= n_evaluations
        cost = result.diagnostics.get("operator", {}).get("normals_per_evaluation", float("nan"))
        normals += cost / len(measurements)
        restarts += result.diagnostics.get("n_restarts", 0)
        outside = bed.FlippedOutside(getattr(score_model, "prior", score_model)).outside
        gone = outside(result.samples, score_model.sigma_min)
        lost += int(gone.sum())
        if bool(torch.isfinite(result.samples.abs()).all()):
            rows.append(bed.compare(result.samples, measurement, generator))
    seconds = time.perf_counter() - started
    figures = {k: sum(r[k] for r in rows) / len(rows) for k in rows[0]} if rows else {}
    return figures, lost, restarts, normals, seconds


def line(label, outcome, n_evaluations, n_components, n_total, slack=1.0):
    """One row of the table, with pass or what failed."""
    figures, lost, restarts, normals, seconds = outcome
    if not figures:
        return f"{label:<12} {n_evaluations:>4}   no finite samples; lost {lost}/{n_total}"
    numbers = " ".join(f"{figures[c]:>11.3f}" for c in COLUMNS)
    failed = bed.failures(figures, n_evaluations, n_components, slack)
    verdict = "pass" if not failed else "FAIL " + ",".join(failed)
    tail = f"{100 * lost / n_total:>6.2f} {restarts:>4} {normals:>5.1f} {seconds:>6.1f}"
    return f"{label:<12} {n_evaluations:>4} {numbers} {tail}  {verdict}"


def heading(title):
    print(f"\n{title}")
    names = " ".join(f"{c:>11}" for c in COLUMNS)
    print(f"{'method':<12} {'NFE':>4} {names} {'lost %':>6} {'rst':>4} {'A^HA':>5} {'s':>6}")


def bounds_row(n_components):
    for n, b in bed.BOUNDS.items():
        wasserstein = b["sw_1" if n_components == 1 else "sw"]
        print(
            f"{'(bound)':<12} {n:>4} {b['mean']:>11} {'1 +- ' + str(b['std']):>11} "
            f"{wasserstein:>11} {b['weights']:>11} {'+- ' + str(b['coverage']):>11}"
        )


def small(options):
    """Print the tables of 16x16 images; return how many rows are beyond the bounds."""
    n, n_measurements, evaluations = options.samples, options.measurements, EVALUATIONS
    if options.quick:
        n, n_measurements, evaluations = 32, 1, (20,)
    print(f"{n} samples, {n_measurements} measurements")
    failed = 0
    for n_components in (1, 8):
        prior, operator = bed.sense_bed(n_components, SHAPE)
        name = "Gaussian" if n_components == 1 else f"mixture of {n_components}"
        models = {
            "": prior,
            "5 % error": bed.SmoothError(prior, SHAPE),
            "sign flip": bed.FlippedOutside(prior),
        }
        spectra = {
            key: estimate_prior_spectrum(model, SHAPE, dtype=torch.complex128)
            for key, model in models.items()
        }
        for noise_name, noise_std in NOISE.items():
            generator = torch.Generator().manual_seed(7)
            measurements = [
                bed.measure(prior, operator, noise_std, generator) for _ in range(n_measurements)
            ]
            total = n * n_measurements
            heading(f"{name}, {noise_name} noise ({noise_std})")
            bounds_row(n_components)
            for method in options.methods.split(","):
                for n_evaluations in evaluations:
                    outcome = run(
                        prior, spectra[""], operator, noise_std, measurements, method,
                        n_evaluations, n,
                    )  # fmt: skip
                    row = line(method, outcome, n_evaluations, n_components, total)
                    failed += method in ("alps", "solver") and "FAIL" in row
                    print(row, flush=True)
            if options.no_robustness:
                continue
            for key in ("5 % error", "sign flip"):
                budget = 20 if options.quick else 100
                outcome = run(
                    models[key], spectra[key], operator, noise_std, measurements, "alps", budget, n
                )
                slack = 1.5 if key == "5 % error" else 1.0
                print(line(key, outcome, budget, n_components, total, slack), flush=True)
    return failed


def large(sizes, noise_stds):
    """Print the table of Gaussian posteriors at the sizes of scans; return the rows that fail."""
    names = ("all", "low", "whitened", "mean", "coverage")
    print("\nGaussian, 8 coils, 20 evaluations: standard deviation over exact, of all frequencies,")
    print("of unmeasured low ones, and whitened; error of the mean; coverage of 90 % intervals")
    print(
        f"{'size':>4} {'mask':<6} {'R':>1} {'noise':>5} {'n':>3} "
        + " ".join(f"{name:>8}" for name in names)
        + f" {'A^HA':>5} {'s':>6} {'exact s':>7}"
    )
    failed, started = 0, time.perf_counter()
    for size, pattern, acceleration, noise_std in itertools.product(
        sizes, ("lines", "points"), (4, 8), noise_stds
    ):
        problem = GaussianProblem((size, size), pattern, acceleration, noise_std)
        n = 8 + 16 * 96**2 // size**2  # the larger, the more a sample says
        found = verify_gaussian(problem, n_samples=n, n_draws=n)
        beyond = [name for name, f in zip(names, found.figures, strict=True) if not f.passed]
        failed += not found.passed
        print(
            f"{size:>4} {pattern:<6} {acceleration} {noise_std:>5} {found.n_samples:>3} "
            + " ".join(f"{figure.value:>8.3f}" for figure in found.figures)
            + f" {found.normals:>5.1f} {found.seconds:>6.1f} {found.reference_seconds:>7.1f}  "
            + ("FAIL " + ",".join(beyond) if beyond else "pass"),
            flush=True,
        )
    print(f"{time.perf_counter() - started:.0f} seconds")
    return failed


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small pass: 96 pixels only")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--measurements", type=int, default=4)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--no-robustness", action="store_true")
    parser.add_argument("--part", choices=("small", "large", "both"), default="both")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="of the large part")
    parser.add_argument("--noise", default=",".join(map(str, LARGE_NOISE)), help="likewise")
    options = parser.parse_args(arguments)
    print(
        f"mri_alps {mri_alps.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()} {platform.system()}, "
        f"{torch.get_num_threads()} thread(s)"
    )
    failed = small(options) if options.part != "large" else 0
    if options.part != "small":
        sizes = [96] if options.quick else [int(size) for size in options.sizes.split(",")]
        failed += large(sizes, [float(noise) for noise in options.noise.split(",")])
    print(f"\nrows of the default method beyond the bounds: {failed}")
    return failed


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        main()
