"""Pictures of a designed mask for the documentation, from a synthetic phantom.

    python benchmarks/make_mask_pictures.py --output FOLDER

Writes the phantom's scan, designs a mask on it (FOLDER/designed.png: lines, curve, worth of each)
and compares it at 8x with two rivals (FOLDER/study/masks_8x.png: masks, means, deviations, errors).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from mask_scans import coil_maps

from mri_alps.cli.design_mask import run_design_mask
from mri_alps.cli.masks import run_masks
from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal
from mri_alps.masks.design import DesignSettings
from mri_alps.pipeline import ReconstructionConfiguration
from mri_alps.rawdata.fastmri.writer import write_fastmri

SIDE = 96
NOISE_STD = 0.012


def phantom() -> torch.Tensor:
    """Shepp and Logan's, with a smooth phase, complex64."""
    import sigpy

    image = torch.from_numpy(abs(sigpy.shepp_logan((SIDE, SIDE)))).float()
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    return torch.polar(image, 0.8 * x - 0.5 * y + 0.6 * x * y)


def main() -> None:
    """Write the scan, the mask, the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    images = coil_maps(8, SIDE, generator) * phantom()
    noise = NOISE_STD * standard_normal(images.shape, generator, torch.complex64)
    scan = folder / "phantom.h5"
    write_fastmri(
        scan,
        (fftc(images) + noise).numpy()[None],
        reconstruction=images.abs().square().sum(0).sqrt().numpy()[None],
    )
    configuration = ReconstructionConfiguration(
        n_samples=3, n_evaluations=20, center_fraction=8 / SIDE
    )
    run_design_mask([scan], folder / "designed.npy", DesignSettings(24), configuration, (8,))
    masks = [str(folder / "designed_8x.npy"), "partial-fourier", "poisson-lines"]
    run_masks([scan], folder / "study", masks, [8], configuration)


if __name__ == "__main__":
    main()
