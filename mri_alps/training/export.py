"""From a run to a weights file to share: averaged weights, spectrum, held-out figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import torch
import typer

from mri_alps.core.errors import ConfigurationError
from mri_alps.priors import (
    NOVELTY_KEY,
    NetworkPrior,
    load_prior_file,
    reference_errors,
    save_prior,
)
from mri_alps.training._spectrum import level_grid, radial_spectrum
from mri_alps.training._state import PRIOR
from mri_alps.training.config import TrainingConfig
from mri_alps.training.images import split
from mri_alps.training.sources import load_images
from mri_alps.training.validation import DEFAULT_SIGMAS, evaluate_denoiser, validation_images


def export_prior(
    run: Path,
    data: Sequence[Path],
    output: Path,
    n_images: int = 24,
    n_levels: int = 24,
    mean_with: Path | None = None,
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
    mean_with : Path, optional
        Weights of the same layout on the same path of training, an earlier state of it or a branch,
        of which and the run's the mean is taken (Wortsman et al., "Model soups", ICML 2022).

    Returns
    -------
    list of dict
        `sigma`, `loss` and `psnr` for each noise level, as stored in the file.
    """
    run = Path(run)
    model = load_prior_file(run / PRIOR)
    averaged, facts = model.state_dict(), dict(model.provenance)
    if mean_with is not None:
        other = load_prior_file(mean_with)
        if _network_of(other) != _network_of(model):
            raise ConfigurationError(
                f"{mean_with} is a network of another layout, or for other noise levels, than {run}"
            )
        weights_of_both = other.state_dict()
        averaged = {name: (value + weights_of_both[name]) / 2 for name, value in averaged.items()}
        facts["mean_of_steps"] = [other.provenance.get("step"), facts.get("step")]
    # Half precision is half the file, and what is measured below is what the file holds.
    weights = {name: value.half() for name, value in averaged.items()}
    too_large = [name for name, value in weights.items() if not value.isfinite().all()]
    if too_large:
        raise ConfigurationError(
            f"{run} has weights above {torch.finfo(torch.float16).max:.0f}, which half precision "
            f"cannot hold ({', '.join(too_large[:3])}): {PRIOR} of the run has them in float32"
        )
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
        **facts,
        "validation": scores,
        NOVELTY_KEY: reference_errors(model, chosen),
    }
    save_prior(output, model, weights, spectrum, provenance)
    return scores


def _network_of(prior: NetworkPrior) -> tuple[Any, ...]:
    """Layout and preconditioning, without which weights mean something else."""
    return prior.config, prior.sigma_data, prior.sigma_min, prior.sigma_max


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    data: Annotated[list[Path], typer.Argument(help="The run's data.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Weights file to write.")],
    n_images: Annotated[int, typer.Option("--images", help="Held-out slices to look at.")] = 24,
    mean_with: Annotated[
        Optional[Path],  # noqa: UP045 - typer resolves this at run time
        typer.Option(help="Weights of the same layout: the mean of both is written."),
    ] = None,
) -> None:
    """Write a run's averaged weights in float16, and print its figures and hash."""
    scores = export_prior(run, data, output, n_images, mean_with=mean_with)
    print("| sigma | weighted loss | PSNR in dB |\n|---|---|---|")
    for score in scores:
        print(f"| {score['sigma']:g} | {score['loss']:.4f} | {score['psnr']:.2f} |")
    print(f"\nSHA-256 {load_prior_file(output).checkpoint_sha256}")


if __name__ == "__main__":
    typer.run(export)
