"""What is taken for the noise of simulated scans, over what it is, and how many are warned of.

    python benchmarks/study_noise_witnesses.py --seed 7101 --scans 100 --images FOLDER

Scans are those of `benchmark_calibration_faults.py`, of the kinds that concern noise. Nothing is
reconstructed: later checks of maps and images tell more of them than is counted here. The noise of
filtered k-space is over that before the filter, which is what its centre has.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
from calibration_faults import draw_scan, write_scan

from mri_alps.calibration import calibrate_volume
from mri_alps.rawdata import read_raw

KINDS = (
    "none",
    "filtered k-space",
    "noise scan too quiet",
    "noise scan too loud",
    "loud coil",
)


def measure(seed: int, index: int, kind: str, images: Path | None) -> tuple[float, bool]:
    """Level that is taken over the true one, and whether there was a warning."""
    scan = draw_scan(seed, index, kind, images)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        path = Path(folder) / "scan.h5"
        arguments = write_scan(scan, path)
        raw = read_raw(path)
        warnings.simplefilter("always")
        found = calibrate_volume(raw, arguments.get("mask"))
    level = np.sqrt(np.diag(found.noise_covariance).real.mean())
    return float(level) / scan.noise_std, bool(caught)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=7101)
    parser.add_argument("--scans", type=int, default=100, help="of each kind")
    parser.add_argument("--images", type=Path, help="folder of .npz files; phantoms if left out")
    options = parser.parse_args()
    print("| kind | scans | warned of | level over the truth: 5, 50, 95 %, largest |")
    print("|---|---|---|---|")
    for kind in KINDS:
        found = [measure(options.seed, i, kind, options.images) for i in range(options.scans)]
        levels, told = np.transpose(found)
        spread = ", ".join(f"{x:.2f}" for x in np.quantile(levels, [0.05, 0.5, 0.95, 1]))
        print(f"| {kind} | {len(found)} | {int(told.sum())} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
