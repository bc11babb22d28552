"""Throughput of two workers of one core each against one worker, on this machine.

    python benchmarks/benchmark_scaling.py [--slices 48] [--json scaling.json]

The same scans are reconstructed with the network by a local cluster of one process and then of
two, all threads of each pinned to a core of its own. Client and scheduler may use any core: beside
one worker they have the other core to themselves, beside two they take from them what they need,
so the ratio is not flattered. Before the clock starts, the processes have loaded everything and
reconstructed a scan. Reading, calibration, saving slices and putting the files together count. The
files must be the same, bit by bit. Takes about four minutes where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import psutil

REQUIRED = 1.8
N_SCANS = 4


def write_scans(folder: Path, n_slices: int, shape: tuple[int, int]) -> list[Path]:
    """Write scans of four coils, and after them a small one to warm up with."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from mri_alps.rawdata.fastmri.writer import write_fastmri
    from tests.pipeline.simulated_scan import simulate

    counts = [n_slices // N_SCANS] * N_SCANS + [4]
    paths = [folder / f"scan{number}.h5" for number in range(len(counts))]
    for number, (path, count) in enumerate(zip(paths, counts, strict=True)):
        kspace, _ = simulate(count, seed=number, shape=shape)
        write_fastmri(path, kspace, recon_matrix=shape)
    return paths


def pin(core: int) -> None:
    """Keep all threads of this process on one core; later ones inherit it."""
    for thread in psutil.Process().threads():
        os.sched_setaffinity(thread.id, {core})


def time_workers(n_workers: int, paths: list[Path], output: Path, configuration) -> dict:
    """Return seconds of a run with so many workers, without their start."""
    from mri_alps.pipeline.cluster.engine import Engine
    from mri_alps.pipeline.cluster.local import connect
    from mri_alps.pipeline.scan_job import RunContext
    from mri_alps.pipeline.volume import load_prior_for

    *paths, warm = paths
    prior, device = load_prior_for(configuration)
    context = RunContext(configuration, prior, device, configuration.prior, n_threads=1)
    with connect(n_workers, None, configuration.device, 1) as client:
        client.wait_for_workers(n_workers)
        workers = client.scheduler_info(n_workers=-1)["workers"]
        for core, address in zip(sorted(os.sched_getaffinity(0)), workers, strict=False):
            client.run(pin, core, workers=[address])
        (output / "warm").mkdir(parents=True)
        Engine(client, output / "warm", context).run([warm])
        (output / "timed").mkdir()
        started, used = time.perf_counter(), time.process_time()
        results = Engine(client, output / "timed", context).run(paths)
        seconds, client_seconds = time.perf_counter() - started, time.process_time() - used
    failed = [outcome.reason for outcome in results.outcomes if outcome.status != "finished"]
    assert not failed, failed
    return {
        "workers": n_workers,
        "seconds": seconds,
        "busy": results.occupation.share,
        "client_cpu_seconds": client_seconds,
    }


def same_files(first: Path, second: Path, paths: list[Path]) -> bool:
    """Compare all images of two folders, bit by bit."""
    import numpy as np

    from mri_alps.pipeline import load_reconstruction

    return all(
        np.array_equal(
            load_reconstruction(first / path.name).posterior_mean,
            load_reconstruction(second / path.name).posterior_mean,
        )
        for path in paths
    )


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--slices", type=int, default=48, help="in all, a multiple of 4")
    parser.add_argument("--size", type=int, default=128, help="of a slice")
    parser.add_argument("--evaluations", type=int, default=10)
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    from mri_alps.pipeline import ReconstructionConfiguration

    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: this process may use one only")
    configuration = ReconstructionConfiguration(
        prior=options.prior, n_samples=4, n_evaluations=options.evaluations, mask="equispaced",
        device="cpu",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = write_scans(root, options.slices, (options.size, options.size))
        found = []
        for n in (1, 2):
            found.append(time_workers(n, paths, root / str(n), configuration))
            print(
                f"{n} worker(s): {found[-1]['seconds']:.1f} s, "
                f"{options.slices / found[-1]['seconds']:.3f} slices/s, busy "
                f"{found[-1]['busy']:.1%}, CPU time of client and scheduler "
                f"{found[-1]['client_cpu_seconds']:.1f} s",
                flush=True,
            )
        assert same_files(root / "1" / "timed", root / "2" / "timed", paths[:-1]), "results differ"
    speed_up = found[0]["seconds"] / found[1]["seconds"]
    verdict = "met" if speed_up >= REQUIRED else "MISSED"
    print(f"speed-up {speed_up:.2f} (at least {REQUIRED}: {verdict}), files bit-identical")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    if options.json:
        options.json.write_text(json.dumps({"runs": found, "speed_up": speed_up}))
    return 0 if speed_up >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
