"""Networks against each other: the ablation of equivariance, and a ladder of sizes in equal time.

    python benchmarks/benchmark_networks.py DATA... --output runs --steps 3000 \\
        --network equivariant --network two-channels
    python benchmarks/benchmark_networks.py DATA... --output runs --minutes 60 --device cuda

DATA is what `mri-alps train` takes. Every network starts from 0 with the same seed, batches and
recipe (`--config`, as `mri-alps train` takes it) and is trained for the same number of steps, or
for the same time: then a few steps are timed first and the schedule is as long as the time
allows, so that each ends with its learning rate at 0. Printed: parameters, size of the weights,
time of an evaluation of 256 x 256 on one CPU core, steps, and PSNR in dB of held-out images at
each level, of the averaged weights. Runs are kept and taken up again; without `--network`, all.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import torch

from mri_alps.core.random import standard_normal
from mri_alps.priors import NetworkPrior, UNetConfig, load_prior
from mri_alps.training import SessionOptions, choose_recipe, run_session
from mri_alps.training.images import split
from mri_alps.training.sources import load_images
from mri_alps.training.validation import evaluate_denoiser, validation_images

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PROBE_STEPS = 30
DECAY = 0.2  # share of the steps
NETWORKS = {  # changes of the recipe's network
    "equivariant": {},
    "two-channels": {"equivariant": False},
    "narrow": {"channels": (16, 16, 32, 56)},
    "wide": {"channels": (24, 40, 72, 120)},
    "deep at low resolution": {
        "channels": (16, 24, 48, 80, 80),
        "encoder_blocks": (1, 1, 2, 2, 4),
        "decoder_blocks": (1, 1, 2, 2, 4),
    },
    "shallow": {"encoder_blocks": (1, 1, 1, 1), "decoder_blocks": (1, 1, 1, 1)},
}


def milliseconds(prior: NetworkPrior) -> float:
    """Time of an evaluation of 256 x 256 on one core, the fastest of five."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    image = standard_normal((1, 256, 256), torch.Generator().manual_seed(0), torch.complex64)
    found = []
    for _ in range(5):
        started = time.perf_counter()
        prior.denoise(image, 0.1)
        found.append(1e3 * (time.perf_counter() - started))
    torch.set_num_threads(threads)
    return min(found)


def train(
    arguments: argparse.Namespace, name: str, unet: UNetConfig, options: SessionOptions
) -> NetworkPrior:
    """Train one network, or take up where it was, and return it."""
    output = arguments.output / name.replace(" ", "-")
    steps = arguments.steps
    if steps is None:
        changes = {"unet": unet.to_dict(), "steps": PROBE_STEPS, "warmup_steps": 0}
        probe = output / "probe"
        run_session(arguments.data, probe, dataclasses.replace(options, changes=changes))
        seconds = load_prior(probe).provenance["seconds"]
        steps = max(int(60 * arguments.minutes * PROBE_STEPS / seconds), 1)
    changes = {"unet": unet.to_dict(), "steps": steps, "decay_steps": int(DECAY * steps)}
    run_session(arguments.data, output / "run", dataclasses.replace(options, changes=changes))
    prior = load_prior(output / "run")
    assert isinstance(prior, NetworkPrior)
    return prior


def main() -> None:
    """Print a Markdown table, a row as soon as its network is trained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=Path, help="training data")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="of each network")
    length.add_argument("--minutes", type=float, help="of each network")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="repeatable")
    parser.add_argument("--config", type=Path, help="recipe, JSON")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=24, help="held-out slices")
    arguments = parser.parse_args()
    options = SessionOptions(
        config=arguments.config,
        device=arguments.device,
        show_progress=False,
        validate_minutes=float("inf"),
        cache=arguments.output / "cache",
    )
    recipe = choose_recipe(arguments.output, options)
    images = load_images(arguments.data, arguments.output / "cache")
    held_out = split(images, recipe.validation_fraction, recipe.validation_groups, recipe.seed)[1]
    chosen = validation_images(held_out, arguments.images, recipe.seed)
    levels = [sigma for sigma in SIGMAS if recipe.sigma_min <= sigma <= recipe.sigma_max]
    print(f"{len(chosen)} slices of {len(held_out.groups)} held-out groups; PSNR in dB\n")
    columns = ["network", "parameters", "MB", "ms", "steps", *(f"{sigma:g}" for sigma in levels)]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name in arguments.network or NETWORKS:
        unet = dataclasses.replace(recipe.unet, **NETWORKS[name])
        prior = train(arguments, name, unet, options)
        count = sum(parameter.numel() for parameter in prior.parameters())
        scores = evaluate_denoiser(prior.denoise, chosen, levels, prior.sigma_data)
        cells = [
            name,
            f"{count / 1e6:.2f} M",
            f"{4e-6 * count:.1f}",
            f"{milliseconds(prior):.0f}",
            str(prior.provenance["step"]),
            *(f"{score.psnr:.2f}" for score in scores),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
