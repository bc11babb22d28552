"""Throughput of two workers of one core each against one worker, on this machine.

    python tests/benchmarks/benchmark_scaling.py [--slices 12] [--json scaling.json]

The same scans are reconstructed by a local cluster of one process and then of two, each pinned to
a core of its own, after a warm-up that starts the processes and loads everything. Reading,
calibration, saving slices and putting the files together count. The files must be the same, bit
by bit; the times per slice are what `simulate_cluster.py` takes.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

REQUIRED = 1.8
N_SCANS = 4


def write_scans(folder: Path, n_slices: int, shape: tuple[int, int]) -> list[Path]:
    """Write scans of four coils."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "app"))
    from simulated_scan import simulate

    from mri_alps.rawdata.fastmri_writer import write_fastmri

    paths = [folder / f"scan{number}.h5" for number in range(N_SCANS)]
    for number, path in enumerate(paths):
        kspace, _ = simulate(n_slices // N_SCANS, seed=number, shape=shape)
        write_fastmri(path, kspace, recon_matrix=shape)
    return paths


def time_workers(n_workers: int, paths: list[Path], output: Path, configuration) -> dict:
    """Return seconds of a run with so many workers, without their start."""
    from mri_alps.cluster.engine import Engine
    from mri_alps.cluster.local import connect
    from mri_alps.reconstruction.scan_job import Setup
    from mri_alps.reconstruction.volume import load_prior_for

    prior, device = load_prior_for(configuration)
    setup = Setup(configuration, prior, device, configuration.prior, n_threads=1)
    with connect(n_workers, None, configuration.device, 1) as client:
        client.wait_for_workers(n_workers)
        (output / "warm").mkdir(parents=True)
        Engine(client, output / "warm", setup).run(paths[:2])
        (output / "timed").mkdir()
        started = time.perf_counter()
        results = Engine(client, output / "timed", setup).run(paths)
        seconds = time.perf_counter() - started
    assert all(outcome.status == "finished" for outcome in results.outcomes)
    return {"workers": n_workers, "seconds": seconds, "busy": results.occupation.share}


def same_files(first: Path, second: Path, paths: list[Path]) -> bool:
    """Compare all images of two folders, bit by bit."""
    import numpy as np

    from mri_alps.reconstruction import load_reconstruction

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
    parser.add_argument("--slices", type=int, default=24, help="in all, a multiple of 4")
    parser.add_argument("--size", type=int, default=128, help="of a slice")
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--prior", default="gaussian")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    from mri_alps.reconstruction import ReconstructionConfiguration

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
                f"{found[-1]['busy']:.1%}",
                flush=True,
            )
        assert same_files(root / "1" / "timed", root / "2" / "timed", paths), "results differ"
    speed_up = found[0]["seconds"] / found[1]["seconds"]
    verdict = "met" if speed_up >= REQUIRED else "MISSED"
    print(f"speed-up {speed_up:.2f} (at least {REQUIRED}: {verdict}), files bit-identical")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    if options.json:
        options.json.write_text(json.dumps({"runs": found, "speed_up": speed_up}))
    return 0 if speed_up >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
