"""Denoising of held-out subjects, anatomy by anatomy: priors against each other and oracle TV.

    python benchmarks/benchmark_anatomies.py SET.npz --prior brain-small --prior runs/anatomy-small

SET.npz is made by `data_scripts/make_training_set.py`, which says who is held out. Priors are
names, weights files or folders of runs that may still go on; the first is what the others are
compared with. Images and PSNR are those of `benchmark_denoising.py`: complex, scaled to 1 at the
99th percentile of their magnitude, sigma per real component, a peak of 1, the prior is told sigma
alone; the same images and noise every time. `--tv` adds total variation with its strength chosen
for every image and level to minimise the true error, which takes far longer than the priors.
`--scan` adds slices of a fully sampled raw scan, combined with the maps that the program estimates;
their own noise is part of what is compared with, so that only differences between priors count.
`--mirrored` adds the mean over the four mirrorings in which samples see a network. `--trained`
takes slices of the training set instead: more of the like brings no more than what is gained there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from benchmark_denoising import SIGMAS, psnr, total_variation, with_prior

from mri_alps.calibration import prepare_slice
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.operators import sense_operator
from mri_alps.priors import load_prior
from mri_alps.rawdata import read_raw
from mri_alps.training.images import ImageSet, split
from mri_alps.training.sources import load_images
from mri_alps.training.validation import validation_images

HELD_OUT = "*/held-out/*"
Estimator = Callable[[torch.Tensor, torch.Tensor, float], float]


def of_prior(name: str) -> Estimator:
    """PSNR of a prior's posterior mean."""
    prior = load_prior(name)
    return lambda noisy, truth, sigma: psnr(with_prior(prior, noisy, sigma), truth.numpy())


def of_mirrorings(name: str) -> Estimator:
    """PSNR of the mean of what a prior says of the image and of its three mirror images."""
    prior = load_prior(name)

    def estimate(noisy: torch.Tensor, truth: torch.Tensor, sigma: float) -> float:
        found = []
        for axes in ((), (0,), (1,), (0, 1)):
            denoised = with_prior(prior, noisy.flip(axes), sigma)
            found.append(torch.as_tensor(denoised).flip(axes).numpy())
        return psnr(np.mean(found, axis=0), truth.numpy())

    return estimate


def of_total_variation(noisy: torch.Tensor, truth: torch.Tensor, sigma: float) -> float:
    """PSNR of the best of all strengths."""
    return max(psnr(x, truth.numpy()) for x in total_variation(noisy.numpy(), sigma))


def by_anatomy(images: ImageSet) -> dict[str, ImageSet]:
    """Divide images by the anatomy in their group's name, held-out ones or others."""
    parts: dict[str, list] = {}
    for record in images.records:
        where = "held-out/" if "held-out/" in record.group else "/"
        anatomy = record.group.partition(where)[2].split("/")[0]
        parts.setdefault(anatomy, []).append(record)
    return {anatomy: ImageSet(tuple(records)) for anatomy, records in parts.items()}


def of_scan(path: Path) -> list[torch.Tensor]:
    """Coil-combined complex images of up to three slices of a fully sampled raw scan."""
    raw = read_raw(path)
    chosen = np.linspace(0, raw.n_slices - 1, min(3, raw.n_slices)).round().astype(int)
    acquisitions = [prepare_slice(raw, int(index)) for index in chosen]
    return [sense_operator(x.sets(), x.mask).adjoint(x.kspace) for x in acquisitions]


def scores(estimator: Estimator, images: list[torch.Tensor]) -> np.ndarray:
    """(levels,) mean PSNR in dB."""
    rows = []
    for index, image in enumerate(images):
        image = image / torch.quantile(image.abs().flatten(), 0.99)
        row = []
        for level, sigma in enumerate(SIGMAS):
            generator = torch.Generator().manual_seed(stream_seed(1, level, index))
            noisy = image + sigma * standard_normal(image.shape, generator, image.dtype)
            row.append(estimator(noisy, image, sigma))
        rows.append(row)
    return np.mean(rows, axis=0)


def line(*cells: str) -> str:
    """A row of the table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="npz of make_training_set.py")
    parser.add_argument("--prior", action="append", help="repeatable; brain-small if left out")
    parser.add_argument("--images", type=int, default=12, help="slices per anatomy")
    parser.add_argument("--scan", type=Path, action="append", default=[], help="repeatable")
    parser.add_argument("--mirrored", action="store_true", help="also in the mean of mirror images")
    parser.add_argument("--trained", action="store_true", help="slices of the training set")
    parser.add_argument("--tv", action="store_true", help="with oracle total variation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.prior or ["brain-small"]
    estimators = {name: of_prior(name) for name in names}
    if arguments.mirrored:
        estimators |= {f"{name}, four mirrorings": of_mirrorings(name) for name in names}
    if arguments.tv:
        estimators["TV (oracle)"] = of_total_variation
    trained, held_out = split(load_images([arguments.data]), 0.1, [HELD_OUT], 0)
    print(line("anatomy", "slices", "denoiser", *(f"{sigma:g}" for sigma in SIGMAS)))
    print("|---" * (3 + len(SIGMAS)) + "|")
    parts = {
        anatomy: validation_images(part, arguments.images, seed=0)
        for anatomy, part in by_anatomy(trained if arguments.trained else held_out).items()
    }
    for name, images in (parts | {path.name: of_scan(path) for path in arguments.scan}).items():
        first = None
        for denoiser, estimator in estimators.items():
            found = scores(estimator, images)
            if first is None:
                first, cells = found, [f"{value:.2f}" for value in found]
            else:
                pairs = zip(found, found - first, strict=True)
                cells = [f"{value:.2f} ({gain:+.2f})" for value, gain in pairs]
            print(line(name, str(len(images)), denoiser, *cells), flush=True)


if __name__ == "__main__":
    main()
