"""How well a denoiser does on held-out patients, per noise level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.training._batches import whole_image

if TYPE_CHECKING:
    from mri_alps.training.images import ImageSet

DEFAULT_SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class LevelScore:
    """Result at one noise level.

    Attributes
    ----------
    sigma : float
        Noise level per real component.
    loss : float
        EDM-weighted squared error; about 1 for a denoiser that knows nothing.
    psnr : float
        Of the complex image in dB, mean over images; the peak is each image's largest
        magnitude.
    """

    sigma: float
    loss: float
    psnr: float


def validation_images(held_out: ImageSet, count: int, seed: int) -> list[torch.Tensor]:
    """Choose slices, spread over the set, and give magnitudes a fixed phase.

    Parameters
    ----------
    held_out : ImageSet
        Slices of patients that are not trained on.
    count : int
        At most this many.
    seed : int
        Decides the phases.

    Returns
    -------
    list of torch.Tensor
        Complex64 (H, W) each, scaled like training images.
    """
    positions = np.linspace(0, len(held_out) - 1, min(count, len(held_out))).round().astype(int)
    images = []
    for position in positions:
        generator = torch.Generator().manual_seed(stream_seed(seed, 7, int(position)))
        images.append(whole_image(held_out.records[position], generator))
    return images


def evaluate_denoiser(
    denoise: Callable[[torch.Tensor, float], torch.Tensor],
    images: Sequence[torch.Tensor],
    sigmas: Sequence[float],
    sigma_data: float,
    seed: int = 0,
) -> list[LevelScore]:
    """Denoise each image at each level, with the same noise every time.

    Parameters
    ----------
    denoise : callable
        (x complex (1, H, W), sigma) -> complex (1, H, W).
    images : sequence of torch.Tensor
        Complex (H, W), clean, of any sizes.
    sigmas : sequence of float
        Noise levels per real component.
    sigma_data : float
        Of the loss's weighting.
    seed : int
        Decides the noise.

    Returns
    -------
    list of LevelScore
        One for each level.
    """
    scores = []
    for level, sigma in enumerate(sigmas):
        errors, psnrs = [], []
        for index, image in enumerate(images):
            generator = torch.Generator().manual_seed(stream_seed(seed, 8, level, index))
            noise = standard_normal(image.shape, generator, image.dtype).to(image.device)
            difference = denoise((image + sigma * noise)[None], sigma)[0] - image
            errors.append(difference.abs().square().mean().item() / 2)
            peak = image.abs().max().square().item()
            psnrs.append(10 * np.log10(peak / max(2 * errors[-1], 1e-30)))
        weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
        scores.append(LevelScore(sigma, weight * float(np.mean(errors)), float(np.mean(psnrs))))
    return scores
