"""Every second line and no calibration lines: does BART's joint estimation find image and maps?

    python benchmarks/study_no_calibration.py [--anatomies head] [--size 128] [--seed 71]

The images and coils of `benchmark_self_calibration.py`, given to `bart nlinv` (Uecker et al., Magn
Reson Med 60:674, 2008) with and without eight lines in the middle. Printed: signal over error of
the magnitude in the object, in dB, at the best scale, of its image and of zero filling; and the
alignment of its maps with the true ones, the median and the tenth percentile of pixels.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import coil_maps
from benchmark_self_calibration import images_of, simulated

from mri_alps.core.fourier import ifftc
from mri_alps.core.random import stream_seed
from mri_alps.evaluation.coverage import head_mask

STEPS = 12


def write(path: Path, kspace: np.ndarray) -> None:
    """Write (coils, H, W) as BART's (H, W, 1, coils)."""
    array = kspace.transpose(1, 2, 0)[:, :, None].astype(np.complex64)
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n")
    array.ravel(order="F").tofile(path.with_suffix(".cfl"))


def read(path: Path) -> np.ndarray:
    """Return a file of BART without axes of length 1."""
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F").squeeze()


def quality(image: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> float:
    """Signal over error in dB, at the scale that fits best."""
    found, true = image[inside], truth[inside]
    rest = found * (found * true).sum() / (found**2).sum() - true
    return float(10 * np.log10((true**2).sum() / (rest**2).sum()))


def main() -> None:
    """Print a line for each anatomy, without and with lines in the middle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", "../shared/data"))
    parser.add_argument("--images", type=Path, default=shared / "images")
    parser.add_argument("--anatomies", default="head")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=71)
    options = parser.parse_args()
    for anatomy in options.anatomies.split(","):
        magnitude = next(images_of(options.images, anatomy, 1, options.size, options.seed))
        case = simulated(magnitude, anatomy, stream_seed(options.seed, 0))
        truth, kspace = case.truth, case.raw.read_slice(0)
        inside, true_maps = head_mask(truth[None])[0], coil_maps(truth.shape).numpy()
        for n_lines in (0, 8):
            mask = np.arange(truth.shape[1]) % 2 == 0
            middle = truth.shape[1] // 2
            mask[middle - n_lines // 2 : middle + n_lines // 2] = True
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                write(folder / "kspace", kspace * mask)
                files = (str(folder / one) for one in ("kspace", "image", "maps"))
                subprocess.run(["bart", "nlinv", f"-i{STEPS}", *files], check=True)
                image, maps = np.abs(read(folder / "image")), read(folder / "maps")
            maps = maps.transpose(2, 0, 1)
            norm = np.sqrt((np.abs(maps) ** 2).sum(0))
            aligned = np.abs((maps.conj() * true_maps).sum(0)) / np.maximum(norm, 1e-9)
            zero_filled = ifftc(torch.as_tensor(kspace * mask)).abs().square().sum(0).sqrt().numpy()
            found = max(quality(one, truth, inside) for one in (image, image * norm))
            median, low = np.quantile(aligned[inside], (0.5, 0.1))
            print(
                f"{anatomy}, {n_lines} calibration lines: {found:.1f} dB (zero-filled "
                f"{quality(zero_filled, truth, inside):.1f}), alignment {median:.3f}, {low:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
