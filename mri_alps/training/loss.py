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
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted squared error of each image, about 1 for a denoiser that knows nothing.

    lambda(sigma) |D(x + sigma n, sigma) - x|^2 / (2 H W), lambda = (sigma^2 + sigma_data^2) /
    (sigma sigma_data)^2 (Karras et al., NeurIPS 2022, equation 5 and table 1), per real
    component.

    Noise that the images have is known to the denoiser as part of the level, and it does not learn
    it: where x = x0 + s m is all that is known of x0, m and n white, E[s m | x + r n] is
    E[(s^2 / r) n | x + r n], so that x - (s^2 / r) n is a target with the same mean as x0. It is
    weighted by (r / sigma)^4, which is the error in predicting x itself (Daras et al., "Consistent
    Diffusion Meets Tweedie", ICML 2024).

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
    noise : torch.Tensor, optional
        (n, H, W), the standard deviation s of the noise that the images have. The level is then
        the root of sigma^2 and its largest square, the same in all pixels.

    Returns
    -------
    torch.Tensor
        (n,).
    """
    white = standard_normal(images.shape, generator, images.dtype)
    added = sigma[:, None, None]
    target, weight = images, torch.ones_like(added)
    if noise is not None:
        sigma = torch.hypot(sigma, noise.amax((1, 2)))
        added = (sigma[:, None, None] ** 2 - noise**2).sqrt()
        target = images - noise**2 / added * white
        weight = (added / sigma[:, None, None]) ** 4
    denoised = denoiser(images + added * white, sigma)
    square = torch.view_as_real(denoised - target).square().mean(-1) * weight
    if known is None:
        error = square.mean((1, 2))
    else:
        error = (square * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
    return error * (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
