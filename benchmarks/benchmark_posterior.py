"""Samplers against exact posteriors, per number of score evaluations.

    python benchmarks/benchmark_posterior.py [--quick] [--methods alps,xgp1]

16x16 complex images, 4 coils, a 1-D mask with R=4 and 2 centre lines; a Gaussian and an
8-component mixture prior; moderate and small noise; 256 samples for each of several
measurements. Spectra are estimated from the score alone, so nothing but the score is known.
"""

from __future__ import annotations

import argparse
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
from mri_alps.sampling import estimate_prior_spectrum
from tests.sampling import posterior_bed as bed

NOISE = {"moderate": 0.4, "small": 0.02}
EVALUATIONS = (20, 50, 100, 300)
METHODS = ("alps", "xgp1", "csgm", "dps")
COLUMNS = ("mean", "std", "wasserstein", "weights", "coverage")
SHAPE = (16, 16)


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
                method=method,
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


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small pass, for tests")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--measurements", type=int, default=4)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--no-robustness", action="store_true")
    options = parser.parse_args(arguments)
    n, n_measurements = options.samples, options.measurements
    evaluations = EVALUATIONS
    if options.quick:
        n, n_measurements, evaluations = 32, 1, (20,)
    print(
        f"mri_alps {mri_alps.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()} {platform.system()}, "
        f"{torch.get_num_threads()} thread(s); {n} samples, {n_measurements} measurements"
    )
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
                    failed += method == "alps" and "FAIL" in row
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
    print(f"\nrows of the default method beyond the bounds: {failed}")
    return failed


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        main()
