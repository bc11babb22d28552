"""Denoising score matching under the EDM weighting."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mri_alps.core.random import standard_normal


def denoising_loss(
    denoiser: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    sigma: torch.Tensor,
    sigma_data: float,
    generator: torch.Generator,
    known: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted squared error of each image, about 1 for a denoiser that knows nothing.

    lambda(sigma) |D(x + sigma n, sigma) - x|^2 / (2 H W), lambda = (sigma^2 + sigma_data^2) /
    (sigma sigma_data)^2 (Karras et al., NeurIPS 2022, equation 5 and table 1), per real
    component.

    Parameters
    ----------
    denoiser : callable
        (x complex (n, H, W), sigma (n,)) -> complex (n, H, W).
    images : torch.Tensor
        Complex (n, H, W), clean.
    sigma : torch.Tensor
        (n,) per real component.
    sigma_data : float
        The preconditioning's.
    generator : torch.Generator
        Source of the noise, on the images' device.
    known : torch.Tensor, optional
        Boolean (n, H, W), the pixels that count; all if left out.

    Returns
    -------
    torch.Tensor
        (n,).
    """
    noise = standard_normal(images.shape, generator, images.dtype)
    denoised = denoiser(images + sigma[:, None, None] * noise, sigma)
    square = torch.view_as_real(denoised - images).square().mean(-1)
    if known is None:
        error = square.mean((1, 2))
    else:
        error = (square * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
    return error * (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
