"""Expected efficiency of a cluster run from measured times, and where it breaks.

    python benchmarks/simulate_cluster.py [--measure] [--sampling 10]

With --measure the stages around the sampler are timed on this machine with a slice of fastMRI's
size (16 coils, 640 x 368): reading and calibration, saving, putting a volume together. They and
the time that a slice's samples take (--sampling; see `seconds` in the result of a run on your
device) go into a discrete simulation of `mri_alps.pipeline.cluster.engine`: one client that opens,
hands out, collects and assembles, four tasks in flight per worker and two of them in progress,
tasks of four slices, reading ahead within and across tasks, a calibration task per volume, a file
system of limited bandwidth.
"""

from __future__ import annotations

import argparse
import heapq
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

TASKS_PER_WORKER = 4  # as the engine has it
IN_PROGRESS = 2  # of them, the threads of a worker


@dataclass(frozen=True)
class Model:
    """Seconds of each stage; the defaults were measured on one core of an AMD EPYC."""

    n_volumes: int = 1000
    n_slices: int = 16
    n_workers: int = 64
    per_task: int = 4
    sampling: float = 10.0
    sampling_spread: float = 0.05  # relative standard deviation
    loading: float = 2.44
    saving: float = 0.038
    calibration: float = 0.183
    opening: float = 0.048  # client, per volume
    handling: float = 0.003  # client, per task
    assembling: float = 0.038  # client, per slice
    slice_bytes: float = 16 * 640 * 368 * 8 + 8e6  # read and written
    bandwidth: float = 2e9  # bytes per second, of the shared file system


class Worker:
    """One device, and a loader that prepares the next slice while it samples."""

    def __init__(self, model: Model):
        self.model, self.loader_free, self.device_free = model, 0.0, 0.0

    def work(self, start: float, n_slices: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return when a task that begins at `start` ends, and how long it samples."""
        model, sampled = self.model, 0.0
        spread = model.sampling * model.sampling_spread
        for _ in range(n_slices):
            self.loader_free = max(self.loader_free, start) + model.loading
            seconds = max(rng.normal(model.sampling, spread), 0.1 * model.sampling)
            begins = max(self.loader_free, self.device_free)
            # The next one but one is loaded when there is a place for it.
            self.loader_free = max(self.loader_free, self.device_free - model.loading)
            self.device_free = begins + seconds
            sampled += seconds
        return self.device_free + model.saving, sampled


def simulate(model: Model, seed: int = 0) -> dict[str, float]:
    """Return makespan, efficiency and how busy client and file system are."""
    rng = np.random.default_rng(seed)
    queue: deque[tuple[int, int]] = deque()  # (volume, slices); 0 slices is a calibration
    events: list[tuple[float, int, int, int, int]] = []  # (time, order, worker, volume, slices)
    workers = [Worker(model) for _ in range(model.n_workers)]
    idle = [(0.0, number) for _ in range(IN_PROGRESS) for number in range(model.n_workers)]
    left = [model.n_slices] * model.n_volumes
    now, client_free, files_free = 0.0, 0.0, 0.0
    outstanding, opened, order = 0, 0, 0
    sampled = client_busy = 0.0
    while True:
        # The client sends out volumes until every worker has something to go on with.
        while opened < model.n_volumes and outstanding < TASKS_PER_WORKER * model.n_workers:
            n_tasks = -(-model.n_slices // model.per_task)
            cost = model.opening + n_tasks * model.handling
            client_free = max(client_free, now) + cost
            client_busy += cost
            queue.append((opened, 0))
            outstanding += n_tasks
            opened += 1
        while idle and queue:
            volume, count = queue.popleft()
            _, number = heapq.heappop(idle)  # the worker that has the least to do
            if count == 0:
                end = max(now, client_free) + model.calibration
            else:
                end, samples = workers[number].work(now, count, rng)
                sampled += samples
                files_free = max(files_free, now) + count * model.slice_bytes / model.bandwidth
                end = max(end, files_free)
            heapq.heappush(events, (end, order, number, volume, count))
            order += 1
        if not events:
            break
        now, _, number, volume, count = heapq.heappop(events)
        heapq.heappush(idle, (workers[number].device_free, number))
        if count == 0:
            sizes = [model.per_task] * (model.n_slices // model.per_task)
            sizes += [rest] if (rest := model.n_slices % model.per_task) else []
            queue.extendleft((volume, size) for size in sizes)
            continue
        outstanding -= 1
        left[volume] -= count
        cost = model.handling + (model.assembling * model.n_slices if left[volume] == 0 else 0)
        client_free = max(client_free, now) + cost
        client_busy += cost
    makespan = max(now, client_free)
    return {
        "hours": makespan / 3600,
        "efficiency": sampled / (model.n_workers * makespan),
        "client": client_busy / makespan,
        "files": model.n_volumes * model.n_slices * model.slice_bytes / model.bandwidth / makespan,
    }


def measure() -> dict[str, float]:
    """Time the stages around the sampler with a slice of fastMRI's size."""
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from mri_alps.calibration import calibrate_volume
    from mri_alps.core.fourier import fftc
    from mri_alps.pipeline import ReconstructionConfiguration
    from mri_alps.pipeline.scan_job import RunContext, ScanJob
    from mri_alps.pipeline.volume import load_prior_for
    from mri_alps.rawdata import read_raw
    from mri_alps.rawdata.fastmri.writer import write_fastmri
    from tests.pipeline.simulated_scan import grid, phantom

    shape, n_coils, rng = (640, 368), 16, np.random.default_rng(0)
    y, x = grid(shape)
    angles = 2 * np.pi * np.arange(n_coils) / n_coils
    maps = [np.exp(-((y - np.sin(a)) ** 2 + (x - np.cos(a)) ** 2) + 1j * a) for a in angles]
    images = torch.from_numpy(np.stack(maps) * phantom(0, shape))[None].repeat(2, 1, 1, 1)
    kspace = fftc(images.to(torch.complex64)).numpy()
    kspace += 0.02 * rng.standard_normal((*kspace.shape, 2)).astype("f4").view("c8")[..., 0]
    configuration = ReconstructionConfiguration(
        prior="gaussian", n_samples=8, n_evaluations=2, mask="equispaced", device="cpu"
    )
    found: dict[str, float] = {}

    def timed(name, work, count=1):
        # CPU time: with one thread it is the wall time of a core that has nothing else to do.
        started = time.process_time()
        result = work()
        found[name] = (time.process_time() - started) / count
        return result

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fastmri(folder / "scan.h5", kspace, recon_matrix=(320, 320))
        context = RunContext(configuration, *load_prior_for(configuration), "gaussian")
        (folder / "out").mkdir()
        job = ScanJob(folder / "scan.h5", folder / "out", context)
        timed("opening", job.open)
        job.calibrate()
        mask, road = job.reconstructor.mask, job.reconstructor
        timed("calibration", lambda: calibrate_volume(read_raw(job.path), mask))
        loaded = timed("loading", lambda: road.load(0))
        sampled = road.draw(loaded)
        result = timed("saving", lambda: _save(job, road.reduce(sampled)))
        job.store.write(replace(result, index=1))
        timed("assembling", job.assemble, count=2)
        job.release()
    return found


def _save(job, result):
    job.store.write(result)
    return result


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--measure", action="store_true", help="time the stages here first")
    parser.add_argument("--sampling", type=float, nargs="+", default=[5.0, 10.0, 20.0, 40.0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--volumes", type=int, default=1000)
    options = parser.parse_args()
    base = Model(n_volumes=options.volumes)
    if options.measure:
        found = measure()
        print("measured, s: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
        base = replace(base, **found)
    print(f"{base.n_volumes} volumes of {base.n_slices} slices")
    print("| s per slice | workers | hours | efficiency | client busy | file system busy |")
    print("|---|---|---|---|---|---|")
    for sampling in options.sampling:
        for n_workers in options.workers:
            model = replace(base, sampling=sampling, n_workers=n_workers)
            r = simulate(model)
            print(
                f"| {sampling:g} | {n_workers} | {r['hours']:.2f} | {r['efficiency']:.1%} | "
                f"{r['client']:.1%} | {r['files']:.1%} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
