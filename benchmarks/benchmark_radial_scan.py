"""A real golden-angle scan: fewer and fewer spokes against the image of all of them.

    python benchmarks/benchmark_radial_scan.py [FILE] [--spokes 200,89,55,34] [--samples 4]
        [--evaluations 20] [--prior brain-small] [--noise-std LEVEL] [--self-calibration scan|off]
        [--pictures FOLDER] [--seed 0]

FILE is a radial scan of one coil that is sampled (nearly) fully; by default
`../shared/data/raw/radial_abdomen_golden_1ch.npz`, or in $MRI_ALPS_SHARED_DATA. The reference is
the least-squares image of all spokes, their gradient delays corrected. The first N spokes go
through the program as `mri-alps reconstruct --shots N --correct-delays` has them: delays, noise,
scale and sampler know nothing of the others. Inside the body, where the reference is above a tenth
of its 99th percentile, are printed: the error of the least-squares image of N spokes (early
stopped) and of the posterior mean, relative to the reference; the share of pixels whose 90 %
interval holds the reference; root mean square of deviation over error; the data's misfit; the
delays found; seconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from mri_alps.calibration import calibrate_volume, prepare_slice
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.pipeline import reconstruct
from mri_alps.pipeline.cg_sense import cg_sense
from mri_alps.rawdata import RawTrajectoryData, read_raw

REFERENCE_ITERATIONS, FEW_ITERATIONS = 60, 12
DEFAULT = Path(
    os.environ.get("MRI_ALPS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"),
    "raw",
    "radial_abdomen_golden_1ch.npz",
)


def least_squares(raw: RawTrajectoryData, n_iterations: int) -> tuple[np.ndarray, float]:
    """Magnitude image in the units of the file, and what it leaves of the data, relative."""
    calibration = calibrate_volume(raw, correct_delays=True)
    acquisition = prepare_slice(raw, 0, calibration=calibration)
    operator, data, _ = acquisition.problem()
    image = cg_sense(operator, data, n_iterations)
    rest = float((data - operator.forward(image)).norm() / data.norm())
    return (image.abs() * acquisition.rss_weight * acquisition.scale).numpy(), rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--spokes", default="200,89,55,34")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--prior", default="brain-small")
    parser.add_argument("--noise-std", type=float)
    parser.add_argument("--self-calibration", choices=["off", "scan"], default="scan")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", MriAlpsWarning)
    torch.set_num_threads(1)
    raw = read_raw(options.file)
    assert isinstance(raw, RawTrajectoryData)
    reference, rest = least_squares(raw, REFERENCE_ITERATIONS)
    body = reference > 0.1 * np.percentile(reference, 99)
    print(f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}")
    print(
        f"{options.file.name}: {raw.n_shots} spokes of {raw.n_samples} samples; the least-squares "
        f"image leaves {rest:.4f} of the data (norm)"
    )
    if options.pictures:
        save(options.pictures / "reference.png", reference, reference)
    for count in options.spokes.split(","):
        started = time.perf_counter()
        part = raw.with_shots(count)
        simple = least_squares(part, FEW_ITERATIONS)[0]
        result = reconstruct(
            part,
            correct_delays=True,
            prior=options.prior,
            n_samples=options.samples,
            n_evaluations=options.evaluations,
            noise_std=options.noise_std,
            self_calibration=options.self_calibration,
            seed=options.seed,
        )
        mean, std = result.reconstruction[0], result.reconstruction_std[0]
        lower, upper = result.reconstruction_lower[0], result.reconstruction_upper[0]
        held = ((reference >= lower) & (reference <= upper))[body].mean()
        error = np.abs(mean - reference)[body]
        size = np.linalg.norm(reference[body])
        delays = calibrate_volume(part).delays
        told = f"{delays.first:.3f} {delays.second:.3f}" if delays else "not found"
        print(
            f"{count:>4} spokes, {options.prior}: least squares "
            f"{np.linalg.norm((simple - reference)[body]) / size:.3f}, mean "
            f"{np.linalg.norm(error) / size:.3f}, coverage {held:.3f}, deviation over error "
            f"{np.sqrt((std[body] ** 2).mean() / (error**2).mean()):.2f}, misfit "
            f"{result.scalars['data_misfit'][0]:.3f}, factor of the deviation "
            f"{result.scalars['uncertainty_factor'][0]:.2f}, delays {told}, "
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
        if options.pictures:
            save(options.pictures / f"{options.prior}_{count}_mean.png", mean, reference)
            save(options.pictures / f"{options.prior}_{count}_std.png", 5 * std, reference)
            save(options.pictures / f"{options.prior}_{count}_least_squares.png", simple, reference)


def save(path: Path, image: np.ndarray, reference: np.ndarray) -> None:
    import matplotlib.image

    path.parent.mkdir(parents=True, exist_ok=True)
    top = np.percentile(reference, 99.7)
    matplotlib.image.imsave(path, image, cmap="gray", vmin=0, vmax=top)


if __name__ == "__main__":
    main()
