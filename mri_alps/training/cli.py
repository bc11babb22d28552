"""The command `mri-alps train`."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import typer

from mri_alps.training.config import TrainingConfig
from mri_alps.training.images import split
from mri_alps.training.sources import load_images


def train(
    data: list[Path] = typer.Argument(..., help="Files or folders of training images."),
    output: Path = typer.Option(..., "--output", help="Folder of the run; resumed if it exists."),
    config: Path = typer.Option(None, "--config", help="JSON file with the recipe."),
    steps: int = typer.Option(None, "--steps", help="Length of the run in steps."),
    validate: list[str] = typer.Option([], "--validate", help="Patients or volumes to hold out."),
) -> None:
    """Train a prior."""
    import dataclasses

    from lightning.fabric import Fabric

    from mri_alps.training.loop import Trainer

    recipe = TrainingConfig.from_file(config) if config else TrainingConfig()
    if steps:
        recipe = dataclasses.replace(recipe, steps=steps)
    if validate:
        recipe = dataclasses.replace(recipe, validation_groups=tuple(validate))
    images = load_images(data)
    training, held_out = split(
        images, recipe.validation_fraction, recipe.validation_groups, recipe.seed
    )
    facts = {
        "fingerprint": training.fingerprint(),
        "n_images": len(training),
        "held_out_groups": held_out.groups,
    }
    fabric = Fabric(accelerator="cpu", devices=1, precision=recipe.precision)
    fabric.launch()
    output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(fabric, recipe, training, output, facts)
    log = open(output / "losses.csv", "a", newline="")
    writer = csv.writer(log)
    began = [time.time(), 0.0, 0]

    def on_step(report) -> None:
        for sigma, loss in zip(report.sigma.tolist(), report.losses.tolist()):
            writer.writerow([report.progress.step, f"{sigma:.4g}", f"{loss:.5g}"])
        began[1] += report.losses.mean().item()
        began[2] += 1
        if report.progress.step % 50 == 0:
            log.flush()
            print(
                f"step {report.progress.step} images {report.progress.images_seen} "
                f"seconds {report.progress.seconds:.0f} loss {began[1] / began[2]:.4f} "
                f"lr {report.learning_rate:.2g}",
                flush=True,
            )
            began[1:] = [0.0, 0]

    trainer.run(recipe.steps, on_step=on_step)


if __name__ == "__main__":
    typer.run(train)
