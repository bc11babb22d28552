"""Radial power of images and of a denoiser's error, per noise level.

Samplers precondition with them: C(sigma, |k|) is the prior's posterior covariance at noise
level sigma, diagonal in the Fourier domain, and P(|k|) that of the prior itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from mri_alps.fourier import fftc
from mri_alps.random import standard_normal, stream_seed


def frequency_grid(count: int = 40) -> torch.Tensor:
    """Bin centres from 0 to the corner of k-space, denser towards 0 where power varies most.

    Parameters
    ----------
    count : int
        Number of bins.

    Returns
    -------
    torch.Tensor
        Float64 (count,) in cycles per pixel.
    """
    return math.sqrt(0.5) * torch.linspace(0, 1, count, dtype=torch.float64) ** 1.5


def level_grid(sigma_min: float, sigma_max: float, count: int = 24) -> torch.Tensor:
    """Noise levels spaced evenly in the logarithm, float64 (count,)."""
    return torch.logspace(math.log10(sigma_min), math.log10(sigma_max), count, dtype=torch.float64)


class RadialMean:
    """Running mean of a Fourier-domain power over directions and images of any size.

    Parameters
    ----------
    frequencies : torch.Tensor
        (K,) increasing bin centres in cycles per pixel; a sample counts for the nearest one.
    """

    def __init__(self, frequencies: torch.Tensor):
        self.frequencies = frequencies
        self.edges = (frequencies[1:] + frequencies[:-1]) / 2
        self.total = torch.zeros(len(frequencies), dtype=torch.float64)
        self.count = torch.zeros(len(frequencies), dtype=torch.float64)

    def add(self, image: torch.Tensor) -> None:
        """Take in |FFT(image)|^2 / 2 of a complex (H, W) image: per real component."""
        power = fftc(image.cpu()).abs().double().square() / 2
        bins = torch.bucketize(_radius(image.shape), self.edges).flatten()
        self.total.index_add_(0, bins, power.flatten())
        self.count.index_add_(0, bins, torch.ones_like(power.flatten()))

    def mean(self) -> torch.Tensor:
        """Return (K,); a bin without samples takes the nearest lower filled one's value."""
        filled = (self.count > 0).nonzero()[:, 0]
        values = self.total[filled] / self.count[filled]
        index = torch.searchsorted(filled, torch.arange(len(self.count)), right=True) - 1
        return values[index.clamp(min=0)]


def radial_spectrum(
    denoise: Callable[[torch.Tensor, float], torch.Tensor],
    images: Sequence[torch.Tensor],
    sigmas: torch.Tensor,
    frequencies: torch.Tensor | None = None,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """Measure error and image power over a set of images.

    error_power = E |FFT(x0 - D(x0 + sigma n, sigma))|^2 / 2 and image_power =
    E |FFT(x0)|^2 / 2, averaged over images and over directions, with the orthonormal transform:
    white noise of standard deviation s per real component has the power s^2 at every frequency.

    Parameters
    ----------
    denoise : callable
        (x complex (1, H, W), sigma) -> complex (1, H, W).
    images : sequence of torch.Tensor
        Complex (H, W), clean, any sizes, scaled as the prior expects.
    sigmas : torch.Tensor
        (L,) noise levels per real component.
    frequencies : torch.Tensor, optional
        (K,) increasing bin centres in cycles per pixel; `frequency_grid()` if left out.
    seed : int
        Decides the noise.

    Returns
    -------
    dict of str to torch.Tensor
        Float64 `sigmas` (L,), `frequencies` (K,), `error_power` (L, K), `image_power` (K,).
    """
    frequencies = frequency_grid() if frequencies is None else frequencies.double()
    image_power = RadialMean(frequencies)
    for image in images:
        image_power.add(image)
    rows = []
    for level, sigma in enumerate(sigmas.tolist()):
        error_power = RadialMean(frequencies)
        for index, image in enumerate(images):
            generator = torch.Generator().manual_seed(stream_seed(seed, 9, level, index))
            noise = standard_normal(image.shape, generator, image.dtype).to(image.device)
            error_power.add(image - denoise((image + sigma * noise)[None], sigma)[0])
        rows.append(error_power.mean())
    return {
        "sigmas": sigmas.double(),
        "frequencies": frequencies,
        "error_power": torch.stack(rows),
        "image_power": image_power.mean(),
    }


def _radius(shape: Sequence[int]) -> torch.Tensor:
    """|k| in cycles per pixel of a centred (H, W) grid, float64."""
    y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) / n for n in shape)
    return torch.hypot(y[:, None], x[None, :])
