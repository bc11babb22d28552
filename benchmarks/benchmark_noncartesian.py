"""Radial and spiral scans: the speed of A^H A, and images against L1-wavelets.

    python benchmarks/benchmark_noncartesian.py speed [--core 1] [--repeats 15]
    python benchmarks/benchmark_noncartesian.py images [--sizes 128,192] [--images 3]
        [--accelerations 4,8] [--samples 16] [--evaluations 40] [--seed 0] [--no-bart]

`speed`: 8 coils, 256x256, 100 golden-angle spokes of 512 samples, complex64, on one pinned core,
interleaved; medians of the process' own CPU time as ratios, the error against a direct sum in
double precision, and a Cartesian A^H A beside it.

`images`: slices of patients that the prior (brain-small) was not trained on, measured by 8
simulated coils with noise of 0.05 along golden-angle spokes or spirals; the sampler gets the true
maps and noise level. Compared by complex PSNR with `bart pics -R W:3:0 -t`, whose weight is chosen
by the truth, and with CG-SENSE stopped by the truth. Coverage is that of 90 % predictive intervals
of the head's real and imaginary parts, and (magnitudes) that of the intervals that `reconstruct`
writes. Normals are applications of A^H A for each evaluation of
the prior; those of a Poisson-disc mask with the same noise are printed beside them. The first four
of the samples are what a run of four draws.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
REQUIRED = {"mrpro": 0.75, "sigpy": 0.4, "finufft": 0.15, "Cartesian": 4.5}


def speed(options: argparse.Namespace) -> bool:
    """Print ratios; return whether all are reached."""
    import numba
    import torch
    from noncartesian_peers import peers
    from normal_limits import medians

    from mri_alps.core.random import standard_normal
    from mri_alps.operators import NonCartesianSenseOperator, SenseOperator, golden_radial

    shape, generator = (256, 256), torch.Generator().manual_seed(options.seed)
    maps = standard_normal((8, *shape), generator, torch.complex64)
    x = standard_normal(shape, generator, torch.complex64)
    k = golden_radial(100, 512, shape)
    started = time.perf_counter()
    operator = NonCartesianSenseOperator(maps, k)
    setup = time.perf_counter() - started
    cartesian = SenseOperator(maps, torch.rand(shape, generator=generator) < 0.25)
    rivals = peers(maps, k)
    candidates = {"mri_alps": operator.normal, **rivals, "Cartesian": cartesian.normal}
    exact = _exact_normal(maps, k, x)
    times = medians({name: lambda f=f: f(x) for name, f in candidates.items()}, options.repeats)
    versions = f"torch {torch.__version__}, numba {numba.__version__}"
    print(
        f"{platform.processor() or platform.machine()}, one core; {versions}; set-up {setup:.2f} s"
    )
    print("| A^H A | ms | mri_alps / this | at most | error |\n|---|---|---|---|---|")
    reached = True
    for name, milliseconds in times.items():
        ratio = times["mri_alps"] / milliseconds
        limit = next((v for key, v in REQUIRED.items() if name.startswith(key)), math.nan)
        reached = reached and not ratio > limit
        error = "-"
        if name != "Cartesian":
            found = candidates[name](x).to(torch.complex128)
            error = f"{float((found - exact).norm() / exact.norm()):.1e}"
        print(f"| {name} | {milliseconds:.2f} | {ratio:.3f} | {limit:g} | {error} |")
    return reached


def _exact_normal(maps, k, x):
    """A^H A x by direct sums in double precision."""
    import torch

    height, width = x.shape
    k = k.reshape(-1, 2)
    waves = [
        torch.exp(-2j * math.pi * k[:, a, None] * (torch.arange(n) - n // 2) / n)
        for a, n in enumerate((height, width))
    ]
    total = torch.zeros(height, width, dtype=torch.complex128)
    for coil in maps.to(torch.complex128):
        samples = ((waves[0] @ (coil * x)) * waves[1]).sum(1)
        total += coil.conj() * (waves[0].mH @ (samples[:, None] * waves[1].conj()))
    return total / (height * width)


def images(options: argparse.Namespace) -> bool:
    """Print a row for each image and means of each case."""
    from noncartesian_case import make_cases

    heads = "case", "image", "CG", "L1 (weight)", "mean of 4", "mean of all", "coverage 4"
    heads = (*heads, "coverage all", "magnitudes 4", "magnitudes all", "misfit", "normals", "s")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for size in options.sizes:
        for kind in options.kinds:
            for acceleration in options.accelerations:
                if kind == "poisson" and acceleration != options.accelerations[0]:
                    continue
                cases = make_cases(kind, size, acceleration, options.images, options.seed)
                rows = [_measure(case, options, i) for i, case in enumerate(cases)]
                means = [sum(values) / len(rows) for values in zip(*rows, strict=True)]
                _print(cases[0].name, "**mean**", means, "")
    return True


def _measure(case, options: argparse.Namespace, index: int) -> list[float]:
    import torch
    from noncartesian_case import NOISE_STD, bart_wavelets

    from mri_alps import load_prior, sample_posterior
    from mri_alps.pipeline.cg_sense import cg_sense

    cg = max(case.psnr(cg_sense(case.operator, case.data, n)) for n in (4, 6, 8, 10, 12, 15, 20))
    l1, weight = math.nan, ""
    if case.k is not None and options.bart:
        l1, weight = bart_wavelets(case)
    started = time.perf_counter()
    found = sample_posterior(
        load_prior(options.prior), case.operator, case.data, NOISE_STD, n_samples=options.samples,
        n_evaluations=options.evaluations,
        generator=torch.Generator().manual_seed(options.seed + 1000 + index),
    )  # fmt: skip
    seconds, samples = time.perf_counter() - started, found.samples
    row = [
        cg, l1, case.psnr(samples[:4].mean(0)), case.psnr(samples.mean(0)),
        case.coverage(samples[:4]), case.coverage(samples),
        case.magnitude_coverage(samples[:4]), case.magnitude_coverage(samples),
        case.misfit(samples),
        found.diagnostics["operator"]["normals_per_evaluation"], seconds,
    ]  # fmt: skip
    unsolved = found.diagnostics["operator"]["unsolved"]
    _print(case.name, str(index), row, weight + (f", {unsolved} unsolved" if unsolved else ""))
    print(f"<!-- {case.name}, {index}: {case.where_held(samples)} -->", flush=True)
    return row


def _print(name: str, image: str, row: list[float], weight: str) -> None:
    cg, l1, four, every, coverage_four, coverage, held_four, held, misfit, normals, seconds = row
    print(
        f"| {name} | {image} | {cg:.2f} | {l1:.2f} ({weight}) | {four:.2f} | {every:.2f} | "
        f"{coverage_four:.3f} | {coverage:.3f} | {held_four:.3f} | {held:.3f} | {misfit:.3f} | "
        f"{normals:.1f} | {seconds:.0f} |",
        flush=True,
    )


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("speed", "images"))
    parser.add_argument("--core", type=int, help="pin to this core")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-bart", dest="bart", action="store_false")
    numbers = {"type": lambda text: [int(part) for part in text.split(",")]}
    parser.add_argument("--sizes", default=[128, 192], **numbers)
    parser.add_argument("--accelerations", default=[4, 8], **numbers)
    parser.add_argument("--kinds", default="radial,spiral,poisson")
    options = parser.parse_args()
    options.kinds = options.kinds.split(",")
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    os.environ.update(dict.fromkeys(THREADS, "1"))
    import torch

    torch.set_num_threads(1)
    return 0 if {"speed": speed, "images": images}[options.what](options) else 1


if __name__ == "__main__":
    raise SystemExit(main())
