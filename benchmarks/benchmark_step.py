"""Where a sampler step's time goes: 320x320, 15 coils, R=4 lines, brain-small, one core.

    python benchmarks/benchmark_step.py [--core 1] [--samples 1] [--prior brain-small]

Prints the median time of a step and of its network evaluation, the time of the set-up (loading
the compiled kernels included), and torch.profiler's table of some steps. Everything but the
network has to take at most 60 ms a step, where one sample is drawn. Times are those that the
thread ran. The coils see a head-shaped ellipse; with --full the object fills the field of view,
which is the worst case of the preconditioner.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import resource
import statistics
import time

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
BOUND_MS = 60.0
NOISE_STD = 0.03

# The time that this thread ran: whatever else runs on the core does not count.
clock = time.thread_time


def make_scan(shape, n_coils, n_lines, full, seed=0):
    """Return k-space, mask and normalised coil maps of an ellipse with some structure."""
    import torch

    from mri_alps.core.random import standard_normal
    from mri_alps.operators import SenseOperator

    generator = torch.Generator().manual_seed(seed)
    height, width = shape
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None]
    angles = 2 * torch.pi * torch.arange(n_coils) / n_coils
    maps = torch.stack(
        [
            torch.polar(
                torch.exp(-((y - 1.1 * a.sin()) ** 2 + (x - 1.1 * a.cos()) ** 2) / 1.2),
                a + 0.7 * y * a.cos() + 0.7 * x * a.sin(),
            )
            for a in angles
        ]
    )
    maps = maps / maps.abs().square().sum(0).sqrt()
    inside = torch.ones(shape, dtype=torch.bool) if full else (y / 0.86) ** 2 + (x / 0.68) ** 2 < 1
    image = inside * (0.6 + 0.3 * torch.cos(9 * y) * torch.cos(7 * x))
    maps = maps * inside
    mask = torch.zeros(width, dtype=torch.bool)
    mask[:: width // n_lines] = True
    mask[width // 2 - 13 : width // 2 + 13] = True
    operator = SenseOperator(maps, mask)
    kspace = operator.forward(image.to(torch.complex64))
    noise = standard_normal(kspace.shape, generator, kspace.dtype)
    return operator, kspace + NOISE_STD * noise * mask


class TimedPrior:
    """A score model that knows how long its evaluations took."""

    def __init__(self, prior):
        self.prior, self.seconds = prior, []
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max
        self.prior_spectrum = prior.prior_spectrum

    def score(self, x, sigma):
        """Evaluate, timed."""
        start = clock()
        score = self.prior.score(x, sigma)
        self.seconds.append(clock() - start)
        return score

    def denoise(self, x, sigma):
        """Not used by the default sampler."""
        raise NotImplementedError


def run(prior, operator, kspace, n_samples, n_evaluations, stop_after=None, profiler=None):
    """Sample; return the seconds of set-up, of each step and its evaluation, and the phases."""
    import torch

    from mri_alps.sampling import sample_posterior

    timed = TimedPrior(prior)
    marks, phases = [], []

    def callback(info):
        marks.append(clock())
        phases.append(info.phase)
        if profiler is not None:
            profiler.step()
        return "stop" if stop_after is not None and info.step >= stop_after else None

    start = clock()
    sample_posterior(
        timed,
        operator,
        kspace,
        NOISE_STD,
        n_samples=n_samples,
        n_evaluations=n_evaluations,
        generator=torch.Generator().manual_seed(0),
        callback=callback,
    )
    steps = [b - a for a, b in itertools.pairwise(marks)]
    setup = marks[0] - start - timed.seconds[0]
    return setup, steps, timed.seconds[1 : len(steps) + 1], phases[1:]


def best_of(work, n=7):
    """Seconds of the fastest call."""
    seconds = []
    for _ in range(n):
        start = clock()
        work()
        seconds.append(clock() - start)
    return min(seconds)


def read_rate():
    """Rate at which this core reads memory that no cache holds, GB/s."""
    import torch

    data = torch.randn(1 << 25)
    return 4e-9 * data.numel() / best_of(data.sum)


def sgemm_rate():
    """Rate of a matrix product in single precision on this core, GF/s."""
    import torch

    matrix = torch.randn(768, 768)
    return 2e-9 * 768**3 / best_of(lambda: matrix @ matrix)


def network_work(prior, image):
    """Multiply-adds of one evaluation, counted as two operations each, GF."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        prior.score(image, 1.0)
    return 1e-9 * counter.get_total_flops()


def print_profile(prior, operator, kspace, arguments):
    """Print torch.profiler's table over the steps from the third on."""
    import torch
    from torch.profiler import ProfilerActivity, profile, schedule

    with profile(
        activities=[ProfilerActivity.CPU], schedule=schedule(wait=2, warmup=1, active=6)
    ) as profiler:
        run(prior, operator, kspace, arguments.samples, arguments.evaluations, 10, profiler)
    table = profiler.key_averages().table(
        sort_by="self_cpu_time_total", row_limit=22, max_name_column_width=32
    )
    print(f"torch.profiler, 6 steps, torch {torch.__version__}\n{table}")


def main():
    """Print the figures; exit with 1 if a step costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--core", type=int, default=None, help="core to pin to (default: the last)")
    parser.add_argument("--samples", type=int, default=1, help="samples in a batch")
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--coils", type=int, default=15)
    parser.add_argument("--shape", type=int, nargs=2, default=(320, 320))
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--full", action="store_true", help="the object fills the field of view")
    parser.add_argument("--no-profile", action="store_true")
    arguments = parser.parse_args()
    for variable in THREAD_VARIABLES:  # read when the libraries are loaded
        os.environ[variable] = "1"
    if hasattr(os, "sched_setaffinity"):
        core = max(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
        os.sched_setaffinity(0, {core})

    import torch

    from mri_alps.priors import load_prior

    torch.set_num_threads(1)
    prior = load_prior(arguments.prior)
    shape = tuple(arguments.shape)
    operator, kspace = make_scan(shape, arguments.coils, shape[1] // 4, arguments.full)
    arrays = (prior, operator, kspace, arguments.samples, arguments.evaluations)
    setup, steps, network, phases = run(*arrays)
    outside = [1e3 * (a - b) for a, b in zip(steps, network, strict=True)]
    print(
        f"python {platform.python_version()}, torch {torch.__version__}; {arguments.coils} coils, "
        f"{shape[0]}x{shape[1]}, {arguments.samples} samples, {arguments.evaluations} evaluations"
    )
    print(f"set-up once per slice     {setup:8.2f} s")
    print(f"step                      {1e3 * statistics.median(steps):8.1f} ms")
    print(f"  network                 {1e3 * statistics.median(network):8.1f} ms")
    ordinary = statistics.median(outside)
    print(f"  everything else, median {ordinary:8.1f} ms, mean {statistics.mean(outside):.1f} ms")
    for phase in dict.fromkeys(phases):
        own = [a for a, b in zip(outside, phases, strict=True) if b == phase]
        print(f"    {phase:8s} {len(own):3d} steps, median {statistics.median(own):8.1f} ms")
    sgemm = sgemm_rate()
    print(f"memory is read at {read_rate():.1f} GB/s, sgemm {sgemm:.0f} GF/s on this core")
    work = arguments.samples * network_work(prior, torch.zeros((1, *shape), dtype=kspace.dtype))
    rate = work / statistics.median(network)
    share = 100 * rate / sgemm
    print(f"network: {work:.1f} GF an evaluation, {rate:.0f} GF/s, {share:.0f} % of sgemm")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process {peak:7.0f} MB")
    if not arguments.no_profile:
        print_profile(prior, operator, kspace, arguments)
    if arguments.samples == 1:
        mean = statistics.mean(outside)
        verdict = "met" if mean <= BOUND_MS else "MISSED"
        print(f"\nbound {BOUND_MS:g} ms outside the network: mean {mean:.1f} ms, {verdict}")
        raise SystemExit(mean > BOUND_MS)


if __name__ == "__main__":
    main()
