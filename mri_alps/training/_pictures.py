"""Pictures of a run: denoised images and unconditional samples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from mri_alps.core.fourier import ifftc
from mri_alps.core.random import standard_normal


def draw_samples(
    denoise: Callable[[torch.Tensor, float], torch.Tensor],
    shape: tuple[int, ...],
    sigma_min: float,
    sigma_max: float,
    n_evaluations: int,
    generator: torch.Generator,
    image_power: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw from the prior by the reverse stochastic differential equation, one call a level.

    From sigma to the next level s: x = D + (s / sigma)^2 (x - D) + s sqrt(1 - s^2/sigma^2) n,
    the exact step if D were constant (the ancestral step of Song et al., ICLR 2021, in the
    variance-exploding form). Levels follow Karras et al. (NeurIPS 2022) with rho = 7.

    Parameters
    ----------
    denoise : callable
        (x complex (n, H, W), sigma) -> complex (n, H, W).
    shape : tuple of int
        (n, H, W).
    sigma_min, sigma_max : float
        Last and first level.
    n_evaluations : int
        Calls of `denoise`, at least 2.
    generator : torch.Generator
        Source of randomness.
    image_power : torch.Tensor, optional
        (H, W) power of the prior per real component on the centred Fourier grid. The start is
        then drawn from the Gaussian of that power plus sigma_max^2, not from noise alone: near
        zero frequency images are far stronger than sigma_max.

    Returns
    -------
    torch.Tensor
        Complex64 (n, H, W), the posterior mean at the last level.
    """
    ramp = torch.linspace(0, 1, n_evaluations, dtype=torch.float64)
    ends = sigma_max ** (1 / 7), sigma_min ** (1 / 7)
    levels = ((ends[0] + ramp * (ends[1] - ends[0])) ** 7).tolist()
    x = levels[0] * standard_normal(shape, generator, torch.complex64)
    if image_power is not None:
        x = x + ifftc(image_power.sqrt() * standard_normal(shape, generator, torch.complex64))
        x = x.to(torch.complex64)
    for sigma, following in itertools.pairwise(levels):
        clean = denoise(x, sigma)
        ratio = (following / sigma) ** 2
        noise = standard_normal(shape, generator, torch.complex64)
        x = clean + ratio * (x - clean) + following * (1 - ratio) ** 0.5 * noise
    return denoise(x, levels[-1])


def denoising_picture(
    denoise: Callable[[torch.Tensor, float], torch.Tensor],
    images: Sequence[torch.Tensor],
    sigmas: Sequence[float],
    path: Path,
) -> None:
    """Save a grid: each image clean, then noisy and denoised magnitude at each level.

    Parameters
    ----------
    denoise : callable
        (x complex (1, H, W), sigma) -> complex (1, H, W).
    images : sequence of torch.Tensor
        Complex (H, W), one row each.
    sigmas : sequence of float
        Noise levels, two columns each.
    path : Path
        PNG file.
    """
    rows, titles = [], ["clean"]
    for sigma in sigmas:
        titles += [f"sigma {sigma:g}", "denoised"]
    for image in images:
        row = [image]
        for sigma in sigmas:
            generator = torch.Generator().manual_seed(1)
            noisy = image + sigma * standard_normal(image.shape, generator, image.dtype)
            row += [noisy, denoise(noisy[None], sigma)[0]]
        rows.append(row)
    save_grid(rows, path, titles)


def save_grid(
    rows: Sequence[Sequence[torch.Tensor]], path: Path, titles: Sequence[str] | None = None
) -> None:
    """Save magnitudes as a grid of grey pictures, each row on the scale of its first picture.

    Parameters
    ----------
    rows : sequence of sequences of torch.Tensor
        (H, W) each.
    path : Path
        PNG file; its folder is made.
    titles : sequence of str, optional
        One for each column.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(2.2 * columns, 2.35 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, row_axes in zip(rows, axes, strict=True):
        white = float(np.quantile(row[0].abs().cpu().numpy(), 0.995)) or 1.0
        for column, axis in enumerate(row_axes):
            axis.set_axis_off()
            if column < len(row):
                picture = row[column].abs().cpu().numpy()
                axis.imshow(picture, cmap="gray", vmin=0, vmax=white)
                if titles is not None and axis in axes[0]:
                    axis.set_title(titles[column], fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
