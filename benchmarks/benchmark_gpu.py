"""All that has to be known of a GPU, in at most ten minutes.

    python benchmarks/benchmark_gpu.py [--device cuda] [--quick] [--budget 600] [--output gpu.md]

In this order: the tests that want a CUDA device, `mri-alps check-device` and `mri-alps verify`;
milliseconds of A^H A and of a sampler's step, the network's share beside them, for batches of 1 to
32 samples of a slice of 15 coils, 640 x 368; an evaluation of the network plain, replayed from a
CUDA graph, in bfloat16, and with gates compiled by torch.compile; the reconstruction of a volume of
16 slices, 8 samples x 40 evaluations. Printed, and written as they are known, are rows of a
Markdown table with the peak memory and the share of the card's limit, which is measured too. A part
that fails says so in its row, and one that the budget no longer allows is left out by name; then
the exit status is 1. With ``--device cpu --quick`` the same runs on a CPU, at sizes that say
nothing; compiling is then left out.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
CUDA_TESTS = ("tests/operators/test_noncartesian_cuda.py", "tests/diagnostics/test_check_device.py")
NOISE_STD = 0.03
WANTED_VOLUME_S, WANTED_REST = 20.0, 0.2
STEPS = 6
"""Steps that are timed, after two that load and plan; of guided diffusion, as all early ones."""
TO_COME = 100
"""Evaluations of the run that these steps are the first of."""


@dataclass(frozen=True)
class Sizes:
    """What is run: of a slice, of the volume, and how often."""

    shape: tuple[int, int]
    n_coils: int
    batches: tuple[int, ...]
    n_slices: int
    n_samples: int
    n_evaluations: int
    n_repeats: int


FULL = Sizes((640, 368), 15, (1, 2, 4, 8, 16, 32), 16, 8, 40, 9)
QUICK = Sizes((64, 48), 4, (1, 2), 2, 2, 6, 3)


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    what: str
    found: str
    peak: str = ""
    share: str = ""
    passed: bool = True

    def __str__(self) -> str:
        """Return it as Markdown."""
        verdict = "" if self.passed else "**FAILED** "
        return f"| {self.what} | {verdict}{self.found} | {self.peak} | {self.share} |"


@dataclass(frozen=True)
class Bench:
    """What every part is given."""

    device: torch.device
    sizes: Sizes
    prior_name: str
    deadline: float

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.deadline - time.monotonic()

    @functools.cached_property
    def prior(self) -> Any:
        """The network, on the device."""
        from mri_alps.priors import load_prior

        return load_prior(self.prior_name, device=self.device)

    @functools.cached_property
    def scan(self) -> Any:
        """A simulated slice."""
        from mri_alps.diagnostics.device_check import make_scan

        return make_scan(self.sizes.shape, self.sizes.n_coils, "lines")

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def median_ms(self, work: Callable[[], object]) -> float:
        """Median milliseconds of a call, after two that prepare."""
        times = []
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with torch.no_grad():
            for _ in range(self.sizes.n_repeats + 2):
                self.wait()
                start = time.perf_counter()
                work()
                self.wait()
                times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times[2:])

    def peak(self) -> str:
        """Peak memory since the last `median_ms` or reset."""
        if self.device.type != "cuda":
            return ""
        return f"{torch.cuda.max_memory_allocated(self.device) / 2**30:.2f} GiB"


def run_command(bench: Bench, name: str, *arguments: str) -> Row:
    """Run Python in the repository; the row has the last line that it prints."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=max(1, bench.left),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Row(name, "no time was left", passed=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    passed = done.returncode == 0
    said = lines[-1].strip("= ") if lines else ""
    return Row(name, said if "pytest" in arguments or not passed else "passed", passed=passed)


def checks(bench: Bench) -> Iterator[Row]:
    """Tests, check-device, verify."""
    yield run_command(bench, "tests", "-m", "pytest", "-q", "-k", "cuda", *CUDA_TESTS)
    own = ("--device", str(bench.device))
    quick = ("--quick",) if bench.sizes is QUICK else ()
    yield run_command(bench, "check-device", "-m", "mri_alps", "check-device", *own, *quick)
    if bench.sizes is not QUICK:
        yield run_command(bench, "verify", "-m", "mri_alps", "verify", *own)


def matrix_rate(bench: Bench, dtype: torch.dtype) -> float:
    """Operations a second of a matrix product."""
    n = 8192 if bench.device.type == "cuda" else 512
    matrix = torch.randn((n, n), device=bench.device).to(dtype)
    return 2 * n**3 / bench.median_ms(lambda: matrix @ matrix) * 1e3


def copy_rate(bench: Bench) -> float:
    """Bytes a second, read and written, of a copy."""
    data = torch.empty(1 << (28 if bench.device.type == "cuda" else 22), device=bench.device)
    target = torch.empty_like(data)
    return 8 * data.numel() / bench.median_ms(lambda: target.copy_(data)) * 1e3


def rates(bench: Bench) -> Iterator[Row]:
    """What the card can do."""
    for dtype in (torch.float32, torch.bfloat16):
        rate = matrix_rate(bench, dtype)
        yield Row(f"matrix product, {str(dtype)[6:]}", f"{rate / 1e12:.2f} TF/s")
    yield Row("copy", f"{copy_rate(bench) / 1e9:.0f} GB/s")


def make_operator(bench: Bench) -> Any:
    """The SENSE operator of the simulated slice, on the device."""
    from mri_alps.operators import SenseOperator

    scan = bench.scan
    return SenseOperator(scan.sensitivity_maps.to(bench.device), scan.mask.to(bench.device))


def normal_rows(bench: Bench) -> Iterator[Row]:
    """A^H A; its limit is reading the maps and x once, and writing the result."""
    operator, rate = make_operator(bench), copy_rate(bench)
    for n in bench.sizes.batches:
        x = bench.scan.image.to(bench.device).expand(n, -1, -1).contiguous()
        found = bench.median_ms(functools.partial(operator.normal, x))
        least = 1e3 * 8 * (operator.sensitivity_maps.numel() + 2 * x.numel()) / rate
        share = f"{least / found:.0%} of copying maps and images once"
        yield Row(f"A^H A, batch of {n}", f"{found:.3f} ms", bench.peak(), share)


class TimedPrior:
    """A score model that waits for the device around its evaluations, and counts the time."""

    def __init__(self, prior: Any, wait: Callable[[], None]):
        self._prior, self._wait, self.seconds = prior, wait, []
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max
        self.prior_spectrum = prior.prior_spectrum

    def score(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Evaluate, timed."""
        self._wait()
        start = time.perf_counter()
        found = self._prior.score(x, sigma)
        self._wait()
        self.seconds.append(time.perf_counter() - start)
        return found

    def denoise(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Not used by the default sampler."""
        raise NotImplementedError


def step_rows(bench: Bench) -> Iterator[Row]:
    """Step and network; median over the first steps of a run of `TO_COME`."""
    from mri_alps.sampling import sample_posterior

    for n in bench.sizes.batches:
        timed, marks = TimedPrior(bench.prior, bench.wait), []

        def callback(info: Any, marks: list[float] = marks) -> str | None:
            bench.wait()
            marks.append(time.perf_counter())
            return "stop" if info.step >= STEPS + 2 else None

        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(bench.device)
        start = time.perf_counter()
        sample_posterior(
            timed, make_operator(bench), bench.scan.kspace.to(bench.device), NOISE_STD,
            n_samples=n, n_evaluations=TO_COME, generator=torch.Generator().manual_seed(0),
            callback=callback,
        )  # fmt: skip
        setup = marks[0] - start
        steps = [b - a for a, b in itertools.pairwise(marks)][1:]
        network = timed.seconds[2 : len(steps) + 2]
        step = statistics.median(steps)
        rest = statistics.median(a - b for a, b in zip(steps, network, strict=True)) / step
        found = f"{1e3 * step:.2f} ms, {1e3 * step / n:.2f} ms a sample; set-up {setup:.2f} s"
        goal = "met" if rest < WANTED_REST else "missed"
        share = f"{rest:.0%} outside the network (wanted {WANTED_REST:.0%}: {goal})"
        yield Row(f"step, batch of {n}", found, bench.peak(), share)


def network_rows(bench: Bench) -> Iterator[Row]:
    """An evaluation plain, its gates compiled, from a CUDA graph, and in bfloat16."""
    from torch.utils.flop_counter import FlopCounterMode

    n = min(8, max(bench.sizes.batches))
    x = torch.randn((n, *bench.sizes.shape), dtype=torch.complex64, device=bench.device)
    sigma = torch.tensor(0.3, device=bench.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        bench.prior.score(x, sigma)
    work = counter.get_total_flops()

    def row(name: str, dtype: torch.dtype, call: Callable[[], object]) -> Row:
        rate = matrix_rate(bench, dtype)
        found = bench.median_ms(call)
        share = f"{work / found * 1e3 / rate:.0%} of matrix products in {str(dtype)[6:]}"
        return Row(f"network, batch of {n}, {name}", f"{found:.2f} ms", bench.peak(), share)

    evaluate = functools.partial(bench.prior.score, x, sigma)
    yield row("plain", torch.float32, evaluate)
    if bench.device.type == "cuda":
        yield row("CUDA graph", torch.float32, captured(evaluate))
    else:
        yield Row("network, CUDA graph", "a CPU has none")
    bench.prior.autocast_dtype = torch.bfloat16
    try:
        yield row("bfloat16", torch.bfloat16, evaluate)
    finally:
        bench.prior.autocast_dtype = None
    if bench.sizes is QUICK:
        yield Row("network, gates compiled", "left out with --quick")
        return
    compiled = compiled_copy(bench)
    yield row("gates compiled", torch.float32, functools.partial(compiled.score, x, sigma))


def captured(evaluate: Callable[[], torch.Tensor]) -> Callable[[], object]:
    """Return what replays an evaluation from a CUDA graph; raise if it computes anything else."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad():
        with torch.cuda.stream(side):
            for _ in range(3):
                expected = evaluate()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = evaluate()
    graph.replay()
    difference = float((found - expected).norm() / expected.norm())
    if not difference < 1e-3:
        raise RuntimeError(f"the graph's result differs by {difference:.1e}")
    return graph.replay


def compiled_copy(bench: Bench) -> Any:
    """A network of its own with gates compiled, as training with --compile has them."""
    from mri_alps.priors import load_prior
    from mri_alps.training._loop import _compile_gates

    prior = load_prior(bench.prior_name, device=bench.device)
    _compile_gates(prior)
    return prior


def volume_rows(bench: Bench) -> Iterator[Row]:
    """A whole file, calibration, reading and writing included."""
    import numpy as np

    from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file
    from mri_alps.rawdata.fastmri.writer import write_fastmri

    sizes = bench.sizes
    configuration = ReconstructionConfiguration(
        prior=bench.prior_name, n_samples=sizes.n_samples, n_evaluations=sizes.n_evaluations,
        device=str(bench.device),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "volume.h5")
        kspace = bench.scan.kspace.numpy()
        write_fastmri(
            path, np.broadcast_to(kspace, (sizes.n_slices, *kspace.shape)),
            mask=bench.scan.mask.numpy(), recon_matrix=sizes.shape,
        )  # fmt: skip
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(bench.device)
        start = time.perf_counter()
        reconstruct_to_file(path, Path(folder, "out"), configuration)
        seconds = time.perf_counter() - start
    goal = "met" if seconds < WANTED_VOLUME_S else "missed"
    if bench.sizes is QUICK:
        goal = "says nothing with --quick"
    name = f"volume, {sizes.n_slices} slices, {sizes.n_samples} x {sizes.n_evaluations}"
    share = f"wanted {WANTED_VOLUME_S:g} s: {goal}"
    yield Row(name, f"{seconds:.1f} s", bench.peak(), share)


PARTS = {
    "checks": checks,
    "rates": rates,
    "A^H A": normal_rows,
    "step": step_rows,
    "network": network_rows,
    "volume": volume_rows,
}


def run_parts(bench: Bench) -> Iterator[Row]:
    """All parts; what fails is a row, and does not keep the next from running."""
    for name, part in PARTS.items():
        rows = part(bench)
        while True:
            if bench.left < 0:
                yield Row(name, "no time was left for it, or for its rest", passed=False)
                break
            try:
                row = next(rows)
            except StopIteration:
                break
            except Exception as error:  # the minutes of a card are few
                yield Row(name, f"{type(error).__name__}: {error}".splitlines()[0], passed=False)
                break
            yield row


def describe(bench: Bench) -> str:
    """Device, versions, sizes."""
    import platform

    from mri_alps.pipeline.provenance import versions

    card = platform.processor() or platform.machine()
    if bench.device.type == "cuda":
        card = f"{torch.cuda.get_device_name(bench.device)}, CUDA {torch.version.cuda}"
    names = ", ".join(f"{name} {value}" for name, value in versions().items())
    height, width = bench.sizes.shape
    return (
        f"{card}; {names}; {bench.prior_name}; {bench.sizes.n_coils} x {height}x{width}, 4x lines"
    )


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="sizes that are through in a moment")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds in all")
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--output", type=Path, help="write the table here too, row by row")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("there is no CUDA device: give --device cpu --quick to rehearse")
    deadline = time.monotonic() + options.budget
    bench = Bench(
        torch.device(options.device), QUICK if options.quick else FULL, options.prior, deadline
    )
    text = f"{describe(bench)}\n\n| | | peak memory | of the limit |\n|---|---|---|---|"
    passed = True
    for line in itertools.chain([text], run_parts(bench)):
        passed &= isinstance(line, str) or line.passed
        print(line, flush=True)
        if options.output:
            with options.output.open("w" if line is text else "a", encoding="utf-8") as file:
                file.write(f"{line}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
