"""Combine raw multi-coil volumes into the images that a prior is trained on, once.

Reads fastMRI volumes, brain and knee together as they lie there, and keeps for each the complex
images of its slices, combined with the calibration of this package, with their noise level, their
patient and their anatomy. Before it starts it says what there is of each anatomy, how many hours it
will take and how much disk; with --dry-run that is all. A run that was interrupted goes on.

    python data_scripts/combine_fastmri.py brain/multicoil_train knee/multicoil_train \\
        --images images --dry-run
    python data_scripts/combine_fastmri.py brain/multicoil_train knee/multicoil_train \\
        --images images --processes 8
    mri-alps train brain/multicoil_train knee/multicoil_train --cache images \\
        --config recipe.json --output run

with recipe.json holding {"count_noise": true, "balance_anatomies": true}: noise is not learnt as
anatomy, and brains do not outnumber knees.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from mri_alps.calibration import calibrate_volume
from mri_alps.core.errors import InputFileError, MriAlpsError, MriAlpsWarning
from mri_alps.pipeline.inputs import find_scans
from mri_alps.rawdata import RawKSpace, read_raw
from mri_alps.training.raw_images import (
    anatomy_of,
    are_kept,
    check_fully_sampled,
    combine_coils,
    patient_of,
    read_raw_images,
)

_BYTES = 8  # of a complex64 pixel
_TIMED = 3  # scans of which a slice is combined to see how long it takes
_GIB = 2**30


class Volume(NamedTuple):
    """What a header says: everything that time and disk depend on."""

    path: Path
    anatomy: str
    patient: str
    n_slices: int
    work: int  # samples of k-space of all slices and coils
    disk: int

    @classmethod
    def of(cls, raw: RawKSpace) -> Volume:
        """Read what is needed of an opened scan."""
        height, width = raw.shape
        pixels = raw.crop[0] * raw.crop[1]
        return cls(
            path=Path(raw.path),
            anatomy=anatomy_of(raw) or "unknown",
            patient=patient_of(raw),
            n_slices=raw.n_slices,
            work=raw.n_slices * raw.n_coils * height * width,
            disk=raw.n_slices * pixels * _BYTES,
        )


def look(paths: Sequence[Path]) -> tuple[list[Volume], list[str]]:
    """Open every file; return the volumes, and a sentence for each file that cannot be used."""
    volumes, unusable = [], []
    for number, path in enumerate(paths, 1):
        try:
            raw = read_raw(path)
            check_fully_sampled(raw)
            volumes.append(Volume.of(raw))
        except (MriAlpsError, OSError) as error:
            unusable.append(str(error))
        if number % 200 == 0:
            print(f"looked at {number} of {len(paths)} files", flush=True)
    return volumes, unusable


def seconds_per_sample(volumes: Sequence[Volume]) -> float:
    """Time the combination of the middle slice of a few volumes, spread over all, on one core."""
    chosen = volumes[:: max(len(volumes) // _TIMED, 1)][:_TIMED]
    seconds = work = 0.0
    for volume in chosen:
        raw = read_raw(volume.path)
        calibration = calibrate_volume(raw)  # once a volume, small beside its slices
        started = time.perf_counter()
        combine_coils(raw, raw.n_slices // 2, calibration)
        seconds += time.perf_counter() - started
        work += volume.work / volume.n_slices
    return seconds / work


def plan(volumes: Sequence[Volume], images: Path, processes: int) -> list[str]:
    """Say what there is, and what the rest of it will take."""
    lines = []
    for anatomy, count in sorted(Counter(v.anatomy for v in volumes).items()):
        found = [v for v in volumes if v.anatomy == anatomy]
        lines.append(
            f"{anatomy}: {count} volumes of {len({v.patient for v in found})} patients, "
            f"{sum(v.n_slices for v in found)} slices"
        )
    missing = [v for v in volumes if not are_kept(v.path, images)]
    lines.append(f"{len(volumes) - len(missing)} of {len(volumes)} volumes are in {images} already")
    if missing:
        hours = seconds_per_sample(missing) * sum(v.work for v in missing) / processes / 3600
        disk = sum(v.disk for v in missing) / _GIB
        free = free_bytes(images) / _GIB
        lines.append(
            f"the other {len(missing)} take about {hours:.2g} hours on {processes} process(es) "
            f"and {disk:.3g} GiB of disk; {free:.3g} GiB are free"
        )
        if disk > free:
            raise InputFileError(
                f"{images} has {free:.3g} GiB left and needs {disk:.3g}: make room, or give "
                "--images a folder on a larger disk"
            )
    return lines


def free_bytes(folder: Path) -> int:
    """Free bytes where a folder is or will be."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def combine(path: Path, images: Path) -> str:
    """Combine one volume; return what went wrong, or nothing."""
    import torch

    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", MriAlpsWarning)
            read_raw_images(path, images)
    except (MriAlpsError, OSError) as error:
        return str(error)
    return ""


def combine_all(volumes: Sequence[Volume], images: Path, processes: int) -> int:
    """Combine what is missing; return how many failed."""
    missing = [v.path for v in volumes if not are_kept(v.path, images)]
    images.mkdir(parents=True, exist_ok=True)
    failed = 0
    started = time.perf_counter()
    for number, (path, error) in enumerate(_results(missing, images, processes), 1):
        left = (time.perf_counter() - started) / number * (len(missing) - number) / 3600
        state = "FAILED" if error else "done"
        print(f"[{number}/{len(missing)}] {path.name}: {state}, {left:.2g} hours left", flush=True)
        if error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    return failed


def _results(paths: Sequence[Path], images: Path, processes: int) -> Iterable[tuple[Path, str]]:
    if processes == 1:
        yield from ((path, combine(path, images)) for path in paths)
        return
    # Forked children of a process whose libraries have threads may hang.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from zip(paths, pool.map(combine, paths, [images] * len(paths)), strict=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if every volume is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", help="folders, files or patterns")
    parser.add_argument("--images", type=Path, required=True, help="folder for mri-alps train")
    parser.add_argument("--processes", type=int, default=1, help="volumes at a time")
    parser.add_argument("--dry-run", action="store_true", help="say what it will take, no more")
    options = parser.parse_args(arguments)
    if options.processes < 1:
        parser.error(f"--processes is at least 1, found {options.processes}")
    try:
        volumes, unusable = look(find_scans(options.inputs))
        for sentence in unusable:
            print(f"left out: {sentence}", file=sys.stderr)
        if not volumes:
            raise InputFileError("no volume can be used: give fully sampled raw scans")
        print("\n".join(plan(volumes, options.images, options.processes)), flush=True)
        if options.dry_run:
            return 0
        failed = combine_all(volumes, options.images, options.processes)
    except (MriAlpsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(volumes) - failed} of {len(volumes)} volumes are in {options.images}")
    return 1 if failed or unusable else 0


if __name__ == "__main__":
    sys.exit(main())
