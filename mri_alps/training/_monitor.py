"""What is looked at while a run goes on: held-out losses and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mri_alps.training._pictures import denoising_picture, draw_samples, save_grid
from mri_alps.training._spectrum import level_grid, radial_spectrum
from mri_alps.training.validation import DEFAULT_SIGMAS, evaluate_denoiser, validation_images

if TYPE_CHECKING:
    from mri_alps.training._logs import RunLog
    from mri_alps.training._loop import StepReport, Trainer
    from mri_alps.training._state import Progress
    from mri_alps.training.images import ImageSet

Denoiser = Callable[[torch.Tensor, float], torch.Tensor]
_SPECTRUM_LEVELS, _SPECTRUM_IMAGES = 16, 8
_PICTURE_SIGMAS = (0.05, 0.2, 0.5, 2.0)


class Monitor:
    """Validates the averaged weights at intervals, on process 0.

    Parameters
    ----------
    trainer : Trainer
        The run.
    held_out : ImageSet
        Patients that are not trained on.
    log : RunLog
        Where results go.
    minutes : float
        Time between validations; there is one at the end, too.
    n_images : int
        Held-out slices that are denoised at each level.
    sample_shape : tuple of int
        (n, H, W) of the unconditional samples.
    n_evaluations : int
        Network evaluations per unconditional sample.
    """

    def __init__(
        self,
        trainer: Trainer,
        held_out: ImageSet,
        log: RunLog,
        minutes: float,
        n_images: int = 16,
        sample_shape: tuple[int, int, int] = (4, 256, 256),
        n_evaluations: int = 60,
    ):
        self.trainer, self.log, self.seconds = trainer, log, minutes * 60
        self.sample_shape, self.n_evaluations = sample_shape, n_evaluations
        device = trainer.fabric.device
        seed = trainer.config.seed
        self.images = [x.to(device) for x in validation_images(held_out, n_images, seed)]
        self._last = time.monotonic()
        self._validated = -1

    def step(self, report: StepReport) -> None:
        """Log a step, and validate when it is time."""
        self.log.step(report)
        if time.monotonic() - self._last > self.seconds:
            self.validate(report.progress)
            self._last = time.monotonic()

    def finish(self, report: StepReport | None) -> None:
        """Validate once more and close the log."""
        progress = self.trainer.progress
        is_last = progress.step >= self.trainer.config.steps
        # A session that was killed in its last validation has left no step for this one to take.
        lacks = is_last and not self.log.has_validation(progress.step)
        if lacks or (report is not None and progress.step != self._validated):
            self.validate(progress)
        self.log.close()

    def validate(self, progress: Progress) -> None:
        """Score the averaged weights, draw pictures, save the weights with their spectrum.

        The scores are written last: they tell that all the rest is there.
        """
        self._validated = progress.step
        model = self.trainer.averaged_model()
        levels = [s for s in DEFAULT_SIGMAS if model.sigma_min <= s <= model.sigma_max]
        scores = evaluate_denoiser(model.denoise, self.images, levels, model.sigma_data)
        sigmas = level_grid(model.sigma_min, model.sigma_max, _SPECTRUM_LEVELS)
        images = self.images[:: max(len(self.images) // _SPECTRUM_IMAGES, 1)]
        self.trainer.spectrum = radial_spectrum(model, images, sigmas)
        self.trainer.save_averaged()
        folder = Path(self.trainer.output) / "pictures"
        name = f"{progress.step:07d}.png"
        rows = self.images[:: max(len(self.images) // 4, 1)][:4]
        shown = [s for s in _PICTURE_SIGMAS if model.sigma_min <= s <= model.sigma_max]
        on_device = _on_cpu(model.denoise, self.trainer.fabric.device)
        denoising_picture(on_device, [x.cpu() for x in rows], shown, folder / f"denoised_{name}")
        generator = torch.Generator().manual_seed(self.trainer.config.seed)
        samples = draw_samples(
            on_device,
            self.sample_shape,
            model.sigma_min,
            model.sigma_max,
            self.n_evaluations,
            generator,
            self.trainer.spectrum.image(self.sample_shape[1:]),
        )
        save_grid([list(samples)], folder / f"samples_{name}")
        self.log.validation(progress, scores)


def _on_cpu(denoise: Denoiser, device: torch.device) -> Denoiser:
    """Let a denoiser on any device serve callers on the CPU."""

    def call(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return denoise(x.to(device), sigma).cpu()

    return call
