"""Every second line and no calibration lines: does BART's joint estimation find image and maps?

    python benchmarks/study_no_calibration.py [--anatomies head] [--size 128] [--seed 71]
        [--raw FILE ...]

The images and coils of `benchmark_self_calibration.py`, given to `bart nlinv` (Uecker et al., Magn
Reson Med 60:674, 2008) with and without eight lines in the middle. Printed: signal over error of
the magnitude in the object, in dB, at the best scale, of its image and of zero filling; and the
alignment of its maps with the true ones, the median and the tenth percentile of pixels.

The same of the package's joint estimation, started from an image that is brightest in the middle of
the field of view and falls as a cosine towards its ends, which tells an object from what folds onto
it where the object is narrow. Fully sampled scans of --raw are judged by the maps of all of their
samples.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from benchmark_coverage import coil_maps
from benchmark_self_calibration import images_of, measured, simulated

from mri_alps.calibration.joint_estimation import WINDOW_FLOOR, estimate_jointly, smooth_window
from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.calibration.sensitivity import local_operators, maps_of
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import stream_seed
from mri_alps.evaluation.coverage import head_mask
from mri_alps.operators import SenseOperator

STEPS = 12
GRID, WIDTH, ROUNDS, REGION = 48, 7.0, 3, 32
"""Of the joint estimation from the middle: central samples, a coil's width in them, times that the
window is made anew of the image, and samples that maps are made of."""


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


def from_the_middle(kspace: torch.Tensor, mask: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitude and maps of a joint estimation whose object lies in the middle."""
    size = (min(GRID, kspace.shape[1]), min(GRID, kspace.shape[2]))
    data, measured = (
        center_crop(kspace * mask, size),
        center_crop(mask.expand(kspace.shape[1:]), size),
    )
    place = (torch.arange(size[1]) - size[1] // 2) / size[1]
    window = torch.cos(math.pi * place).clamp_min(WINDOW_FLOOR).expand(size)
    for _ in range(ROUNDS):
        images = estimate_jointly(data, measured, WIDTH, window)
        window = smooth_window(images)
    maps = maps_of_center(torch.where(measured, data, fftc(images)), kspace.shape)
    image = gaussian_mean(SenseOperator(maps, mask), kspace * mask, noise_of(kspace))
    return image.abs().numpy(), maps.numpy()


def maps_of_center(kspace: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """ESPIRiT's maps of the centre of k-space, of an image of `shape` (coils, H, W)."""
    center = center_crop(kspace, (REGION, REGION)).contiguous()
    height, width = shape[1:]
    return maps_of(
        local_operators(center.numpy(), (height, width), noise_std=noise_of(kspace), device="cpu")
    )


def noise_of(kspace: torch.Tensor) -> float:
    """Per real component, from a corner of k-space."""
    return float(kspace[:, :6, :6].abs().square().mean().div(2).sqrt())


def by_bart(kspace: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitude and maps of `bart nlinv`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "kspace", kspace)
        files = (str(folder / one) for one in ("kspace", "image", "maps"))
        subprocess.run(["bart", "nlinv", f"-i{STEPS}", *files], check=True)
        return np.abs(read(folder / "image")), read(folder / "maps").transpose(2, 0, 1)


def report(name: str, kspace: np.ndarray, truth: np.ndarray, true_maps: np.ndarray) -> None:
    """Print a line for each number of lines in the middle and each method."""
    inside = head_mask(truth[None])[0]
    kspace = (kspace / np.quantile(truth, 0.99)).astype(np.complex64)
    for n_lines in (0, 8):
        width = kspace.shape[2]
        mask = np.arange(width) % 2 == width // 2 % 2
        mask[(width - n_lines) // 2 : (width + n_lines) // 2] = True
        zero_filled = ifftc(torch.as_tensor(kspace * mask)).abs().square().sum(0).sqrt().numpy()
        print(
            f"{name}, {n_lines} calibration lines: zero-filled "
            f"{quality(zero_filled, truth, inside):.1f} dB"
        )
        methods = {
            "bart nlinv": by_bart(kspace * mask),
            "from the middle": from_the_middle(torch.as_tensor(kspace), torch.as_tensor(mask)),
        }
        for method, (image, maps) in methods.items():
            norm = np.sqrt((np.abs(maps) ** 2).sum(0))
            aligned = np.abs((maps.conj() * true_maps).sum(0)) / np.maximum(norm, 1e-9)
            found = max(quality(one, truth, inside) for one in (image, image * norm))
            median, low = np.quantile(aligned[inside], (0.5, 0.1))
            print(f"  {method}: {found:.1f} dB, alignment {median:.4f}, {low:.4f}", flush=True)


def main() -> None:
    """Print what comes of each scan."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", "../shared/data"))
    parser.add_argument("--images", type=Path, default=shared / "images")
    parser.add_argument("--anatomies", default="head")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--raw", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    for anatomy in options.anatomies.split(","):
        magnitude = next(images_of(options.images, anatomy, 1, options.size, options.seed))
        case = simulated(magnitude, anatomy, stream_seed(options.seed, 0))
        maps = coil_maps((options.size, options.size)).numpy()
        report(anatomy, case.raw.read_slice(0), case.truth, maps)
    for path in options.raw:
        case = measured(path)
        kspace = torch.as_tensor(case.raw.read_slice(case.raw.n_slices // 2))
        report(path.stem, kspace.numpy(), case.truth, maps_of_center(kspace, kspace.shape).numpy())


if __name__ == "__main__":
    main()
