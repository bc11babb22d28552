"""Seconds of one core that commands take: start-up, inspect, preview, and all but the samples.

    python benchmarks/benchmark_commands.py [--scan FILE.h5] [--runs 5]

The scan is `brain_axial_8ch.h5` of the shared data unless another one is named: 256x256, 8 coils,
every fourth line and 20 in the centre. Commands are processes of their own, one after the other and
round after round on one core; seconds are the processor's, of the process and its children, of
which the median and the range are printed, so that other work on the machine counts for little
(its load makes the same command up to 1.5 times as long). Two samples of five evaluations show what
hardly depends on their number. The preview is there when its picture is, and the command is stopped
then. BART is timed if it is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

MRI_ALPS = [sys.executable, "-m", "mri_alps"]
UNDERSAMPLED = ["--mask", "equispaced", "--acceleration", "4", "--device", "cpu"]
UNCALIBRATED = [*UNDERSAMPLED, "--self-calibration", "off"]


def run(*command: str | Path) -> float:
    """Processor seconds of a command and its children."""
    before = psutil.Process().cpu_times()
    subprocess.run(command, check=True, capture_output=True)
    after = psutil.Process().cpu_times()
    return sum(getattr(after, x) - getattr(before, x) for x in ("children_user", "children_system"))


def run_until(there: Path, *command: str | Path) -> float:
    """Processor seconds of a command until a file is there; it is stopped then."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not there.exists():
            assert process.poll() is None, f"{command} ended without {there}"
            time.sleep(0.005)
        used = psutil.Process(process.pid).cpu_times()
        process.kill()
    return used.user + used.system


def write_for_bart(scan: Path, folder: Path) -> None:
    """Write the slice, undersampled as the commands have it."""
    from mri_alps.pipeline import ReconstructionConfiguration, open_scan, undersampling_mask
    from mri_alps.rawdata import kspace_to_cfl, write_cfl

    settings = ReconstructionConfiguration(mask="equispaced", acceleration=4)
    raw = open_scan(scan, settings)
    mask = undersampling_mask(raw, settings)
    write_cfl(folder / "kspace", kspace_to_cfl((raw.read_slice(0) * mask)[None]))


def cases(scan: Path, folder: Path) -> dict[str, Callable[[], float]]:
    """What is timed, by name."""
    command = [*MRI_ALPS, "reconstruct", scan, *UNCALIBRATED, "--overwrite", "-o"]

    def preview() -> float:
        shutil.rmtree(folder / "preview", ignore_errors=True)
        picture = folder / "preview" / f"{scan.stem}_preview.png"
        return run_until(picture, *command, folder / "preview", "--preview")

    def reconstruct(n_samples: int, n_evaluations: int) -> float:
        counts = ("--n-samples", str(n_samples), "--n-evaluations", str(n_evaluations))
        return run(*command, folder / "out", *counts)

    found: dict[str, Callable[[], float]] = {
        "import torch": lambda: run(sys.executable, "-c", "import torch"),
        "inspect --header-only": lambda: run(*MRI_ALPS, "inspect", "--header-only", scan),
        "inspect": lambda: run(*MRI_ALPS, "inspect", scan),
        "inspect, undersampled": lambda: run(*MRI_ALPS, "inspect", scan, *UNDERSAMPLED[:-2]),
        "reconstruct until the preview": preview,
        "reconstruct, 2 samples of 5": lambda: reconstruct(2, 5),
        "reconstruct, 8 samples of 20": lambda: reconstruct(8, 20),
    }
    if shutil.which("bart"):
        write_for_bart(scan, folder)
        kspace, maps, image = (folder / name for name in ("kspace", "maps", "image"))
        found["bart ecalib and pics"] = lambda: (
            run("bart", "ecalib", "-m1", kspace, maps)
            + run("bart", "pics", "-l1", "-r0.01", "-i60", kspace, maps, image)
        )
    return found


def main() -> None:
    """Print the table."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", shared))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scan", type=Path, default=shared / "raw" / "brain_axial_8ch.h5")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        timed = cases(options.scan, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for each in timed.values():  # files are in memory and compiled code in its cache
            each()
        for _ in range(options.runs):
            for name, each in timed.items():
                seconds[name].append(each())
    print(f"load of the machine: {os.getloadavg()[1]:.1f} of {os.cpu_count()} cores\n")
    print("| command | s, median | least | most |\n|---|---|---|---|")
    for name, found in seconds.items():
        print(f"| {name} | {statistics.median(found):.1f} | {min(found):.1f} | {max(found):.1f} |")


if __name__ == "__main__":
    main()
