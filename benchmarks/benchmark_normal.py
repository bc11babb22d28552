"""Time `SenseOperator.normal` and CG-SENSE against sigpy, deepinv and mrpro.

    python benchmarks/benchmark_normal.py [--core 1] [--repeats 9]

Everything runs on one pinned core with one thread, interleaved, so that a busy moment of the
machine hits all candidates alike; medians of the process' own CPU time are compared.
Correctness is checked first. The limit is the roofline of plain FFTs: a ratio above 100 % means
that fewer operations were needed, or that they ran faster than torch's FFT.
"""

from __future__ import annotations

import argparse
import os
import platform

from normal_limits import limit_ms, measure_core, medians, peak_extra_bytes, work
from normal_peers import make_peer, versions

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

CASES = [  # name, coils, (H, W), mask kind, batch, required ratio to the fastest peer
    ("lines", 15, (640, 368), "lines", 1, 2),
    ("lines, batch 4", 15, (640, 368), "lines", 4, 2),
    ("lines, first axis", 15, (640, 368), "rows", 1, None),
    ("lines", 15, (320, 320), "lines", 1, 2),
    ("lines", 4, (256, 256), "lines", 1, 2),
    ("lines, awkward length", 15, (640, 372), "lines", 1, 2),
    ("lines, awkward length", 15, (640, 356), "lines", 1, 2),
    ("points", 15, (320, 320), "points", 1, 2),
]
CG_ITERATIONS, CG_RATIO = 30, 4
EXTRA_MEMORY = 32 << 20


def make_problem(n_coils, shape, kind, batch):
    """Return random maps, mask (R = 4) and images; values do not influence the time."""
    import torch

    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(n_coils, *shape, dtype=torch.complex64, generator=generator)
    images = torch.randn(batch, *shape, dtype=torch.complex64, generator=generator)
    mask_shape = {"lines": (1, shape[1]), "rows": (shape[0], 1), "points": shape}[kind]
    mask = torch.rand(mask_shape, generator=generator) < 0.25
    return maps, mask, images


def make_candidates(maps, mask, images, peers):
    """Return the contenders as functions without arguments, by name; peers loop over a batch."""
    import torch

    from mri_alps.operators import SenseOperator

    operator = SenseOperator(maps, mask)
    candidates = {"mri_alps": lambda: operator.normal(images)}
    for name in peers:
        normal = make_peer(name, maps, mask)
        candidates[name] = lambda normal=normal: torch.stack([normal(x) for x in images])
    return candidates


def run_case(case, peers, core, repeats):
    """Check and time one case; return whether its ratio was reached."""
    name, n_coils, shape, kind, batch, required = case
    maps, mask, images = make_problem(n_coils, shape, kind, batch)
    candidates = make_candidates(maps, mask, images, peers)
    results = {key: run() for key, run in candidates.items()}
    for key, result in results.items():
        error = (results["mri_alps"] - result).norm() / result.norm()
        assert error < 1e-5, f"{name}: differs from {key} by {error:.1e}"
    del results
    times = medians(candidates, repeats)
    extra = peak_extra_bytes(candidates["mri_alps"])
    flops, n_bytes = work(n_coils, shape, kind, batch)
    limit = limit_ms(flops, n_bytes, core)
    own = times["mri_alps"]
    ratio = min((times[key] for key in peers), default=float("nan")) / own
    columns = f"{own:9.2f}" + "".join(f"{times[key]:9.1f}" for key in peers)
    verdict = (
        "" if required is None else f" ({'met' if ratio >= required else 'MISSED'} {required})"
    )
    output = 8 * images.numel()
    memory = "      -" if extra is None else f"{max(0, extra - output) / 2**20:7.1f}"
    print(
        f"{f'{n_coils} x {shape[0]}x{shape[1]}, {name}':38}{columns}{ratio:7.1f}x{verdict:12}"
        f"{flops / 1e6:8.0f}{n_bytes / 1e6:7.1f}{limit:8.2f}{100 * limit / own:6.0f} %{memory}",
        flush=True,
    )
    fits = extra is None or extra - output <= EXTRA_MEMORY
    return fits and (required is None or not peers or ratio >= required)


def run_cg(repeats):
    """Time 30 iterations of CG-SENSE against sigpy's; return whether the ratio was reached."""
    import sigpy.mri.app

    from mri_alps.operators import SenseOperator
    from mri_alps.pipeline.cg_sense import cg_sense

    maps, mask, images = make_problem(15, (320, 320), "lines", 1)
    operator = SenseOperator(maps, mask)
    kspace = operator.forward(images[0])
    weights = mask.expand(320, 320).numpy().astype("float32")

    def reference():
        return sigpy.mri.app.SenseRecon(
            kspace.numpy(),
            maps.numpy(),
            lamda=0.01,
            weights=weights,
            max_iter=CG_ITERATIONS,
            show_pbar=False,
        ).run()

    candidates = {
        "mri_alps": lambda: cg_sense(operator, kspace, CG_ITERATIONS, 0.01),
        "sigpy": reference,
    }
    import torch

    found, expected = candidates["mri_alps"](), torch.from_numpy(candidates["sigpy"]())
    assert (found - expected).norm() < 1e-3 * expected.norm(), "CG-SENSE differs from sigpy's"
    times = medians(candidates, repeats)
    ratio = times["sigpy"] / times["mri_alps"]
    print(
        f"\nCG-SENSE, {CG_ITERATIONS} iterations, 15 x 320x320, lines: {times['mri_alps']:.0f} ms, "
        f"sigpy {times['sigpy']:.0f} ms, {ratio:.1f}x "
        f"({'met' if ratio >= CG_RATIO else 'MISSED'} {CG_RATIO})"
    )
    return ratio >= CG_RATIO


def processor_name():
    """Return the processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def pin(core):
    """Use one thread on one core; return its number, None where cores cannot be chosen."""
    for variable in THREAD_VARIABLES:  # read when the libraries are loaded
        os.environ[variable] = "1"
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {core})
    return core


def main():
    """Print the table, and whether every bound was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=None, help="core to pin to (default: the last)")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    core = pin(arguments.core)

    import torch

    torch.set_num_threads(1)
    found = versions()
    peers = [name for name, version in found.items() if version]
    print(f"{processor_name()}, {'core ' + str(core) if core is not None else 'not pinned'}")
    installed = ", ".join(f"{name} {found[name]}" for name in peers)
    print(f"python {platform.python_version()}, torch {torch.__version__}, {installed}")
    for name in sorted(set(found) - set(peers)):
        print(f"{name} is not installed and is left out")
    rates = measure_core()
    print(
        f"this core: FFT {rates['fft']:.1f} GF/s, matrix products {rates['product']:.0f} GF/s, "
        f"copies {rates['memory']:.1f} GB/s; load {os.getloadavg()[0]:.1f}\n"
    )
    head = "".join(f"{name:>9}" for name in ("mri_alps", *peers))
    print(
        f"{'ms per call, median; mask R = 4':38}{head}{'fastest peer':>20}"
        f"{'MFLOP':>8}{'MB':>7}{'limit':>8}{'share':>8}{'+MiB':>7}"
    )
    met = [run_case(case, peers, rates, arguments.repeats) for case in CASES]
    if "sigpy" in peers:
        met.append(run_cg(3))
    print("\nall bounds met" if all(met) else f"\n{met.count(False)} bounds MISSED")


if __name__ == "__main__":
    main()
