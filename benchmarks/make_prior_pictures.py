"""The pictures of the model cards: what priors draw when nothing was measured.

    python benchmarks/make_prior_pictures.py [--prior brain-small --prior anatomy-small]
        [--size 192] [--rows 2] [--columns 6] [--seed 0] [--output docs/pages/images]

Magnitudes of the first draws of the seed, none chosen, by reverse diffusion of 100 evaluations
from a Gaussian with the prior's own spectrum; each is as bright as its 99.5th percentile allows.
Writes prior_samples_NAME.png for each prior.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from benchmark_coverage import network_images
from PIL import Image

from mri_alps.priors import load_prior
from mri_alps.training._pictures import save_grid


def picture(path: Path, images: list[torch.Tensor], columns: int) -> None:
    """Write a grid of magnitudes, in few greys so that the file is small."""
    shown = [image / image.abs().flatten().quantile(0.995) for image in images]
    save_grid([shown[i : i + columns] for i in range(0, len(shown), columns)], path)
    with Image.open(path) as image:
        small = image.convert("L").quantize(32)
    small.save(path, optimize=True)


def main() -> None:
    """Write a picture for each prior."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    images = Path(__file__).resolve().parents[1] / "docs" / "pages" / "images"
    parser.add_argument("--prior", action="append", help="repeatable; both packaged if left out")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=images, help="folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.prior or ["brain-small", "anatomy-small"]:
        count = options.rows * options.columns
        drawn = network_images(load_prior(name), count, options.size, options.seed)
        path = options.output / f"prior_samples_{Path(name).stem}.png"
        picture(path, drawn, options.columns)
        print(f"{path}: {path.stat().st_size / 1024:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
