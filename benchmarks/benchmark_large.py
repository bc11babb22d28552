"""Time and memory of large slices: set-up and steps outside the network, up to 640x640, 32 coils.

    python benchmarks/benchmark_large.py [--json FILE] [--figure FILE.png] [--samples 4]

The posterior under a Gaussian prior, whose score costs next to nothing, of an ellipse that coils
around it see (see `benchmark_step.py`): every fourth line is measured, and 8 % of them in the
centre. Each size is a process of its own, which has sampled a small image first, so that libraries
and kernels are loaded. Set-up is the operator, the problem and its preconditioner; peaks are what
the kernel says of the process beyond what it held with data and maps. `N log N x coils` is the
seconds of a step over that product, in nanoseconds: constant where cost grows so. --own gives every
line eigenvectors of its own, as small images have them. Seconds are those of one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

CASES = (
    ((128, 128), 8), ((192, 192), 8), ((256, 256), 8), ((320, 320), 15), ((384, 320), 15),
    ((512, 512), 15), ((640, 368), 15), ((640, 368), 32), ((640, 640), 15), ((640, 640), 32),
)  # fmt: skip
NOISE_STD = 0.03
N_EVALUATIONS = 12


def status(field: str) -> float:
    """A figure of /proc/self/status, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(next(x for x in text.splitlines() if x.startswith(field)).split()[1]) * 1024e-6


def measure(shape: tuple[int, int], n_coils: int, n_samples: int, own: bool) -> dict:
    """Seconds and peaks of one size, in this process."""
    import torch
    from benchmark_step import make_scan

    from mri_alps.inverse_problem.covariance import make_covariance
    from mri_alps.inverse_problem.problem import make_problem
    from mri_alps.operators import SenseOperator, sense
    from mri_alps.priors import GaussianPrior
    from mri_alps.sampling import sample_posterior

    torch.set_num_threads(1)
    sense.SHARED_LIMIT = 1 << 60 if own else sense.SHARED_LIMIT
    prior = GaussianPrior.power_law()
    marks: list[float] = []

    def sample(operator, kspace, n: int):
        return sample_posterior(
            prior, operator, kspace, NOISE_STD, n_samples=n, n_evaluations=N_EVALUATIONS,
            generator=torch.Generator().manual_seed(0),
            callback=lambda info: marks.append(time.thread_time()),
        )  # fmt: skip

    sample(*make_scan((192, 192), 8, 48, False), 1)
    whole, kspace = make_scan(shape, n_coils, shape[1] // 4, False)
    maps, mask = whole.sensitivity_maps, whole.mask
    del whole, marks[:]
    gc.collect()
    if sys.platform == "linux":  # what was freed does not hide what is taken now
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    held = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    start = time.thread_time()
    operator = SenseOperator(maps, mask)
    problem = make_problem(operator, kspace, NOISE_STD)
    operator.normal(torch.zeros((1, *shape), dtype=maps.dtype))  # packs the maps
    make_covariance(problem)
    setup, setup_peak = time.thread_time() - start, status("VmHWM") - held
    result = sample(operator, kspace, n_samples)
    step = (marks[-1] - marks[0]) / (len(marks) - 1)
    product = math.prod(shape) * math.log2(math.prod(shape)) * n_coils
    return {
        "shape": shape, "coils": n_coils, "inputs": 16e-6 * n_coils * math.prod(shape),
        "setup": setup, "setup_peak": setup_peak, "samples": n_samples, "step": step,
        "per_product": 1e9 * step / n_samples / product, "peak": status("VmHWM") - held,
        "normals": result.diagnostics["operator"]["normals_per_evaluation"],
    }  # fmt: skip


def print_row(found: dict) -> None:
    """One row of the table."""
    height, width = found["shape"]
    print(
        f"| {height}x{width} | {found['coils']} | {found['inputs']:.0f} | {found['setup']:.2f} | "
        f"{found['setup_peak']:.0f} | {found['step']:.2f} | {found['normals']:.1f} | "
        f"{found['per_product']:.2f} | {found['peak']:.0f} |",
        flush=True,
    )


def draw(rows: list[dict], path: Path) -> None:
    """Seconds and memory against N log N x coils, with lines of slope one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pixels = [math.prod(row["shape"]) for row in rows]
    x = [n * math.log2(n) * row["coils"] for n, row in zip(pixels, rows, strict=True)]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    kinds = (("setup", "step", "seconds"), ("setup_peak", "peak", "MB beyond data and maps"))
    for axis, (first, second, label) in zip(axes, kinds, strict=True):
        for name, marker, text in ((first, "o", "set-up"), (second, "s", "step of all samples")):
            text = text if label == "seconds" or name == first else "sampling"
            values = [row[name] for row in rows]
            axis.loglog(x, values, marker, label=text)
            middle = sorted(v / at for v, at in zip(values, x, strict=True))[len(x) // 2]
            axis.loglog([min(x), max(x)], [middle * min(x), middle * max(x)], "k:", linewidth=0.8)
        axis.set_xlabel("N log2 N x coils")
        axis.set_ylabel(label)
        axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table; each size is a child."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--own", action="store_true", help="every line its own eigenvectors")
    parser.add_argument("--case", type=int, help="measure this one here, and print it as JSON")
    parser.add_argument("--most", type=int, default=len(CASES), help="so many of the sizes")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--figure", type=Path, help="draw them here")
    options = parser.parse_args()
    if options.case is not None:
        shape, n_coils = CASES[options.case]
        print(json.dumps(measure(shape, n_coils, options.samples, options.own)))
        return
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    print(f"{options.samples} samples; {platform.machine()}, Python {platform.python_version()}\n")
    print(
        "| size | coils | inputs (MB) | set-up (s) | its peak (MB) | step (s) | A^H A per "
        "evaluation | ns per N log N x coils and sample | peak of sampling (MB) |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for case in range(min(options.most, len(CASES))):
        command = [sys.executable, __file__, "--case", str(case), "--samples", str(options.samples)]
        command += ["--own"] if options.own else []
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        rows.append(json.loads(done.stdout))
        print_row(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.figure:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
