"""From a run to a weights file to share: averaged weights, spectrum, held-out figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mri_alps.priors import NOVELTY_KEY, load_prior_file, reference_errors, save_prior
from mri_alps.training._spectrum import level_grid, radial_spectrum
from mri_alps.training._state import PRIOR
from mri_alps.training.config import TrainingConfig
from mri_alps.training.images import split
from mri_alps.training.sources import load_images
from mri_alps.training.validation import DEFAULT_SIGMAS, evaluate_denoiser, validation_images


def export_prior(
    run: Path, data: Sequence[Path], output: Path, n_images: int = 24, n_levels: int = 24
) -> list[dict[str, Any]]:
    """Write a run's averaged weights, in float16, with spectrum and held-out figures.

    Parameters
    ----------
    run : Path
        Folder of the run; its `prior.safetensors` is read, so the run may go on.
    data : sequence of Path
        The run's data; its held-out patients are evaluated.
    output : Path
        Weights file to write.
    n_images : int
        Held-out slices for spectrum and figures.
    n_levels : int
        Noise levels of the spectrum.

    Returns
    -------
    list of dict
        `sigma`, `loss` and `psnr` for each noise level, as stored in the file.
    """
    run = Path(run)
    model = load_prior_file(run / PRIOR)
    # Half precision is half the file, and what is measured below is what the file holds.
    weights = {name: value.half() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    recipe = TrainingConfig(**model.provenance["config"])
    images = load_images(data, run / "cache")
    _, held_out = split(images, recipe.validation_fraction, recipe.validation_groups, recipe.seed)
    chosen = validation_images(held_out, n_images, recipe.seed)
    scores = [
        asdict(score)
        for score in evaluate_denoiser(model.denoise, chosen, DEFAULT_SIGMAS, model.sigma_data)
    ]
    sigmas = level_grid(model.sigma_min, model.sigma_max, n_levels)
    spectrum = radial_spectrum(model, chosen, sigmas)
    provenance = {
        **model.provenance,
        "validation": scores,
        NOVELTY_KEY: reference_errors(model, chosen),
    }
    save_prior(output, model, weights, spectrum, provenance)
    return scores


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    data: Annotated[list[Path], typer.Argument(help="The run's data.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Weights file to write.")],
    n_images: Annotated[int, typer.Option("--images", help="Held-out slices to look at.")] = 24,
) -> None:
    """Write a run's averaged weights in float16, and print its figures and hash."""
    scores = export_prior(run, data, output, n_images)
    print("| sigma | weighted loss | PSNR in dB |\n|---|---|---|")
    for score in scores:
        print(f"| {score['sigma']:g} | {score['loss']:.4f} | {score['psnr']:.2f} |")
    print(f"\nSHA-256 {load_prior_file(output).checkpoint_sha256}")


if __name__ == "__main__":
    typer.run(export)
