"""Time `SenseOperator.normal` against sigpy and a naive centred implementation.

    python tests/benchmarks/benchmark_normal.py [--core 1] [--repeats 15]

Everything runs on one pinned core with one thread, interleaved, so that a busy moment of the
machine hits all candidates alike; medians are compared. Correctness is checked first.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

CASES = [  # name, coils, (H, W), mask kind, batch
    ("1-D mask R=4", 15, (640, 368), "lines", 1),
    ("1-D mask R=4, batch 4", 15, (640, 368), "lines", 4),
    ("1-D mask R=4, first axis", 15, (640, 368), "rows", 1),
    ("1-D mask R=4", 15, (320, 320), "lines", 1),
    ("1-D mask R=4", 4, (256, 256), "lines", 1),
    ("1-D mask R=4, awkward length", 15, (640, 372), "lines", 1),
    ("1-D mask R=4, awkward length", 15, (640, 356), "lines", 1),
    ("2-D mask R=4", 15, (320, 320), "points", 1),
]
REQUIRED_CASE, REQUIRED_RATIO = 0, 2.5


def make_problem(n_coils, shape, kind, batch):
    """Return random maps, mask and images; values do not influence the time."""
    import torch

    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(n_coils, *shape, dtype=torch.complex64, generator=generator)
    images = torch.randn(batch, *shape, dtype=torch.complex64, generator=generator)
    mask_shape = {"lines": (1, shape[1]), "rows": (shape[0], 1), "points": shape}[kind]
    mask = torch.rand(mask_shape, generator=generator) < 0.25
    return maps, mask, images


def make_candidates(maps, mask, images):
    """Return the contenders as functions without arguments, by name."""
    import sigpy.mri
    import torch

    from mri_alps.fourier import fftc, ifftc
    from mri_alps.operators import SenseOperator

    operator = SenseOperator(maps, mask)
    reference = sigpy.mri.linop.Sense(
        maps.numpy(), weights=mask.expand(maps.shape[1:]).numpy().astype("float32")
    ).N
    arrays = images.numpy()

    def sigpy_normal():
        return torch.stack([torch.from_numpy(reference(array)) for array in arrays])

    def naive():
        kspace = fftc(maps * images[:, None]) * mask
        return (maps.conj() * ifftc(kspace * mask)).sum(1)

    return {"mri_alps": lambda: operator.normal(images), "sigpy": sigpy_normal, "naive": naive}


def interleaved_medians(candidates, repeats):
    """Return the median time of each candidate in ms."""
    times = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def processor_name():
    """Return the processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    """Print the table and the ratio that has to be met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=None, help="core to pin to (default: the last)")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    for variable in THREAD_VARIABLES:  # read when the libraries are loaded
        os.environ[variable] = "1"
    core = None
    if hasattr(os, "sched_setaffinity"):
        core = max(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
        os.sched_setaffinity(0, {core})

    import numpy
    import sigpy
    import torch

    torch.set_num_threads(1)
    print(f"{processor_name()}, {'core ' + str(core) if core is not None else 'not pinned'}")
    print(
        f"python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {numpy.__version__}, sigpy {sigpy.__version__}; load {os.getloadavg()[0]:.1f}\n"
    )
    print(f"{'ms per call, median':46}{'mri_alps':>10}{'sigpy':>10}{'naive':>10}   ratio to sigpy")
    ratios = []
    for name, n_coils, shape, kind, batch in CASES:
        candidates = make_candidates(*make_problem(n_coils, shape, kind, batch))
        results = {key: run() for key, run in candidates.items()}
        for key in ("sigpy", "naive"):
            error = (results["mri_alps"] - results[key]).norm() / results[key].norm()
            assert error < 1e-5, f"{name}: differs from {key} by {error:.1e}"
        medians = interleaved_medians(candidates, arguments.repeats)
        ratios.append(medians["sigpy"] / medians["mri_alps"])
        label = f"{n_coils} x {shape[0]}x{shape[1]}, {name}"
        times = "".join(f"{value:10.1f}" for value in medians.values())
        print(f"{label:46}{times}{ratios[-1]:10.2f}x", flush=True)
    ratio = ratios[REQUIRED_CASE]
    verdict = "met" if ratio >= REQUIRED_RATIO else "MISSED"
    print(f"\nrequired {REQUIRED_RATIO}x in the first row: {ratio:.2f}x, {verdict}")


if __name__ == "__main__":
    main()
