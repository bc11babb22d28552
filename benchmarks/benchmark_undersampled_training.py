"""A prior trained from undersampled scans alone, against one trained on the images themselves.

    python benchmarks/benchmark_undersampled_training.py FOLDER [--steps 2000] [--rounds 2]

FOLDER is a new one; scans and both trainings go there. Heads of `shared/data/images` at 64 x 64
(the periphery of their k-space left out), with simulated phase, are seen by eight simulated coils
with noise of 0.02 of the image scale, in volumes of a few slices; the mask, every fourth line with
eight in the centre, has another offset for each volume. `mri-alps train --from-undersampled` gets
these files, `mri-alps train` the same scans fully sampled and with a tenth of the noise, both with
the same network, recipe and number of steps. Held-out patients are in neither; their fully sampled
scans, combined in the same way, are denoised by both. The noise level is given, since 64 x 64 have
no room without signal to measure it. Exits with 1 if the first loses more than 1 dB at any level,
or if the other is no better than a Gaussian prior: in 480 steps neither had left the plateau of a
network that knows nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from mri_alps.core.random import stream_seed
from mri_alps.expectation_maximisation import RoundSettings, train_from_undersampled
from mri_alps.masks import make_mask
from mri_alps.operators import SenseOperator, simulate
from mri_alps.priors import load_prior
from mri_alps.rawdata.fastmri.writer import write_fastmri
from mri_alps.training import SessionOptions, run_session
from mri_alps.training._augmentation import reduce_matrix
from mri_alps.training._batches import to_tensor
from mri_alps.training.images import ImageRecord, ImageSet, split
from mri_alps.training.sources import load_images
from mri_alps.training.validation import evaluate_denoiser, validation_images

SIZE, N_COILS, NOISE_STD = 64, 8, 0.02
ACCELERATION, CENTER_FRACTION = 4, 0.125
SLICES_PER_VOLUME = 4
HELD_OUT = ("openms*/09", "openms*/20", "cheng*/block9")
SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
ALLOWED_LOSS = 1.0
RECIPE = {
    "unet": {
        "channels": [16, 24, 32],
        "encoder_blocks": [1, 1, 2],
        "decoder_blocks": [1, 1, 2],
        "embedding_size": 32,
    },
    "plans": [{"size": SIZE, "batch_size": 8, "sigma_min": 0.008, "sigma_max": 12.0}],
    "sigma_data": 0.4,
    "warmup_steps": 50,
    "learning_rate": 2e-3,
}


def heads(folder: Path, n_volumes: int) -> tuple[list[list[torch.Tensor]], ...]:
    """Complex (64, 64) images in volumes, and in volumes of held-out patients."""
    names = ("openms_longitudinal_256_u8.npz", "cheng_every3rd_256_u8.npz")
    records = load_images([folder / name for name in names]).records
    training, held_out = split(ImageSet(records), 0.1, HELD_OUT, 0)
    chosen = np.linspace(0, len(training) - 1, n_volumes * SLICES_PER_VOLUME).round().astype(int)
    images = phased([training.records[i] for i in chosen], 1)
    volumes = [images[i::n_volumes] for i in range(n_volumes)]
    last = np.linspace(0, len(held_out) - 1, 4 * SLICES_PER_VOLUME).round().astype(int)
    others = phased([held_out.records[i] for i in last], 2)
    return volumes, [others[i::4] for i in range(4)]


def phased(records: list[ImageRecord], seed: int) -> list[torch.Tensor]:
    """Reduce to the matrix and give a phase; scaled to 1."""
    small = []
    for record in records:
        image = reduce_matrix(to_tensor(record.image), SIZE)
        height, width = image.shape
        square = torch.zeros(SIZE, SIZE)
        top, left = (SIZE - height) // 2, (SIZE - width) // 2
        square[top : top + height, left : left + width] = image.clamp(min=0)
        small.append(ImageRecord(square.numpy(), record.group))
    return validation_images(ImageSet(tuple(small)), len(small), seed)


def coils() -> torch.Tensor:
    """Complex (coils, 64, 64): loops around the head, of unit sum of squares."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing="ij")
    angles = 2 * torch.pi * torch.arange(N_COILS) / N_COILS
    cy, cx = 1.2 * angles.cos()[:, None, None], 1.2 * angles.sin()[:, None, None]
    magnitude = 1 / (0.3 + (y - cy) ** 2 + (x - cx) ** 2)
    maps = torch.polar(magnitude, 0.6 * (cy * y + cx * x) + angles[:, None, None])
    return maps / maps.abs().square().sum(0).sqrt()


def write_scans(volumes: list[list[torch.Tensor]], folder: Path, acceleration: float) -> None:
    """FastMRI files, one for each volume; fully sampled ones have a tenth of the noise."""
    folder.mkdir(parents=True)
    maps = coils()
    for number, images in enumerate(volumes):
        shape = (SIZE, SIZE)
        mask = np.ones((1, SIZE), bool)
        if acceleration > 1:
            mask = make_mask("equispaced", shape, acceleration, CENTER_FRACTION, seed=number)
        operator = SenseOperator(maps, torch.as_tensor(mask).expand(shape))
        generator = torch.Generator().manual_seed(stream_seed(3, number))
        noise_std = NOISE_STD if acceleration > 1 else NOISE_STD / 10
        kspace = [simulate(operator, image, noise_std, generator).numpy() for image in images]
        write_fastmri(
            folder / f"volume{number:03d}.h5",
            np.stack(kspace),
            mask=mask.reshape(-1) if acceleration > 1 else None,
            attributes={"patient_id": f"volume{number:03d}"},
        )


def psnr(prior, images: list[torch.Tensor]) -> list[float]:
    """Mean PSNR in dB at each level, as in validation."""
    scores = evaluate_denoiser(prior.denoise, images, SIGMAS, 0.4)
    return [score.psnr for score in scores]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--evaluations", type=int, default=24)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    shared = Path(os.environ.get("MRI_ALPS_SHARED_DATA", shared)) / "images"
    if not shared.is_dir():
        raise SystemExit(f"no images at {shared}: set MRI_ALPS_SHARED_DATA")
    folder = arguments.folder
    volumes, others = heads(shared, arguments.volumes)
    if not (folder / "held_out").exists():
        write_scans(volumes, folder / "scans", ACCELERATION)
        write_scans(volumes, folder / "full", 1)
        write_scans(others, folder / "held_out", 1)
    combined = load_images([folder / "held_out"], folder / "cache")
    held_out = validation_images(combined, len(combined), 0)
    recipe = RECIPE | {"steps": arguments.steps, "decay_steps": arguments.steps // 4}
    options = SessionOptions(
        device="cpu", validate_minutes=1e6, show_progress=False, changes=recipe
    )
    started = time.perf_counter()
    run_session([folder / "full"], folder / "from_images", options)
    between = time.perf_counter()
    settings = RoundSettings(
        rounds=arguments.rounds, posterior_evaluations=arguments.evaluations, noise_std=NOISE_STD
    )
    train_from_undersampled([folder / "scans"], folder / "from_undersampled", options, settings)
    ended = time.perf_counter()
    record = json.loads((folder / "from_undersampled" / "rounds.json").read_text())
    print(f"{between - started:.0f} s from images, {ended - between:.0f} s from undersampled scans")
    print("left-out lines, dB above the noise, before and after each round:",
          ", ".join(f"{x:.2f}" for x in record["left_out_db"]))  # fmt: skip
    rows = {
        f"round {n}": psnr(load_prior(folder / "from_undersampled" / f"round{n}"), held_out)
        for n in range(1, arguments.rounds + 1)
    }
    rows["from undersampled"] = psnr(load_prior(folder / "from_undersampled"), held_out)
    rows["from images"] = psnr(load_prior(folder / "from_images"), held_out)
    rows["Gaussian"] = psnr(load_prior("gaussian"), held_out)
    print(f"\n| prior | {' | '.join(f'{sigma:g}' for sigma in SIGMAS)} |")
    print("|---" * (1 + len(SIGMAS)) + "|")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")
    loss = np.subtract(rows["from images"], rows["from undersampled"])
    print(f"| loss | {' | '.join(f'{value:.2f}' for value in loss)} |")
    if min(np.subtract(rows["from images"], rows["Gaussian"])[2:4]) < 0:
        raise SystemExit(
            "the prior from images is no better than a Gaussian at sigma 0.1 and 0.2: neither "
            "network has learnt enough to be compared, give more --steps"
        )
    if loss.max() > ALLOWED_LOSS:
        raise SystemExit(f"the largest loss is {loss.max():.2f} dB, allowed {ALLOWED_LOSS} dB")


if __name__ == "__main__":
    main()
