"""The radial spectrum of a trained prior, measured on real images.

Samplers precondition with it. They can estimate one by sampling the prior; this one, from
images, needs no samples, holds for every image size, and is stored with the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal, stream_seed
from mri_alps.priors import PriorSpectrum, frequency_radius, in_float32, largest_curvature

if TYPE_CHECKING:
    from mri_alps.priors import ScoreModel


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
    """Noise levels spaced evenly in the logarithm, float64 (count,).

    Parameters
    ----------
    sigma_min, sigma_max : float
        Lowest and highest level.
    count : int
        Levels.
    """
    return torch.logspace(math.log10(sigma_min), math.log10(sigma_max), count, dtype=torch.float64)


_FOR_CURVATURE = 4  # images


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
        bins = torch.bucketize(frequency_radius(image.shape), self.edges).flatten()
        self.total.index_add_(0, bins, power.flatten())
        self.count.index_add_(0, bins, torch.ones_like(power.flatten()))

    def mean(self) -> torch.Tensor:
        """Return (K,); a bin without samples takes the nearest lower filled one's value."""
        filled = (self.count > 0).nonzero()[:, 0]
        values = self.total[filled] / self.count[filled]
        index = torch.searchsorted(filled, torch.arange(len(self.count)), right=True) - 1
        return values[index.clamp(min=0)]

    def on_grid(self, shape: Sequence[int]) -> torch.Tensor:
        """Return the mean on the centred grid of `shape`, float64."""
        return self.spread(self.mean(), self.frequencies, shape)

    @staticmethod
    def spread(
        values: torch.Tensor, frequencies: torch.Tensor, shape: Sequence[int]
    ) -> torch.Tensor:
        """Bring radial values (K,) to the centred grid of `shape`."""
        ones = torch.ones(1, len(values))
        radial = PriorSpectrum(torch.ones(1), values, ones, ones, frequencies)
        return radial.image(shape)


def radial_spectrum(
    prior: ScoreModel,
    images: Sequence[torch.Tensor],
    sigmas: torch.Tensor,
    frequencies: torch.Tensor | None = None,
    seed: int = 0,
) -> PriorSpectrum:
    """Measure a prior's spectrum on images that are like its training images.

    With x_0 = image + sigma_min n, x = x_0 + v^(1/2) n' and v = sigma^2 - sigma_min^2: the
    power of the score at x, of the error x_0 - (x + v score), and of the images, averaged over
    images and directions; the excess and the curvature as `PriorSpectrum` defines them, both
    averaged over images. The images' mean is taken to be zero: their global phase is arbitrary.

    Parameters
    ----------
    prior : ScoreModel
        A prior of complex images (n, H, W) of any size.
    images : sequence of torch.Tensor
        Complex (H, W), clean, scaled as the prior expects.
    sigmas : torch.Tensor
        (L,) increasing noise levels per real component; the first is the prior's `sigma_min`.
    frequencies : torch.Tensor, optional
        (K,) increasing bin centres in cycles per pixel; `frequency_grid()` if left out.
    seed : int
        Decides the noise.

    Returns
    -------
    PriorSpectrum
        With `frequencies`.
    """
    frequencies = frequency_grid() if frequencies is None else frequencies.double()
    image_power = RadialMean(frequencies)
    for image in images:
        image_power.add(image)
    with in_float32(prior):
        rows = [
            _Level(prior, float(sigma), image_power, seed + index).measure(images)
            for index, sigma in enumerate(sigmas)
        ]
    score_power, error_power, excess, curvature = zip(*rows, strict=True)
    return PriorSpectrum(
        sigmas=sigmas.double(),
        image_power=image_power.mean(),
        score_power=torch.stack(score_power),
        error_power=torch.stack(error_power),
        frequencies=frequencies,
        excess=torch.tensor(excess, dtype=torch.float64),
        curvature=torch.tensor(curvature, dtype=torch.float64),
    )


class _Level:
    """Measurements at one noise level."""

    def __init__(self, prior: ScoreModel, sigma: float, image_power: RadialMean, seed: int):
        self.prior, self.sigma, self.seed = prior, sigma, seed
        self.image_power = image_power
        self.variance = max(sigma**2 - prior.sigma_min**2, 0.0)

    def measure(
        self, images: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, float, float]:
        """Return score power (K,), error power (K,), excess and curvature."""
        scores, errors = (RadialMean(self.image_power.frequencies) for _ in range(2))
        pairs, excesses = [], []
        for index, image in enumerate(images):
            generator = torch.Generator().manual_seed(stream_seed(self.seed, 9, index))
            noise = standard_normal((2, *image.shape), generator, image.dtype).to(image.device)
            smoothed = image + self.prior.sigma_min * noise[0]
            x = smoothed + math.sqrt(self.variance) * noise[1]
            score = self.prior.score(x[None], self.sigma)[0]
            scores.add(score)
            errors.add(smoothed - x - self.variance * score)
            total = self.image_power.on_grid(image.shape) + self.variance
            departure = fftc(score.cpu()) + fftc(x.cpu()) / total
            excesses.append(float((departure.abs().double().square() * total).sum()))
            pairs.append((x, score))
        fisher = scores.mean().clamp_min(1e-300)
        largest = [self._curvature(x, score, 1 / fisher) for x, score in pairs[:_FOR_CURVATURE]]
        # Up to rounding the error is zero at the lowest level, where nothing was added.
        error = errors.mean().clamp_min(1e-12 * self.sigma**2)
        excess = sum(excesses) / len(excesses)
        return scores.mean(), error, excess, sum(largest) / len(largest)

    def _curvature(self, x: torch.Tensor, score: torch.Tensor, variance: torch.Tensor) -> float:
        """Largest eigenvalue of W H W, W = F^(-1/2)."""
        grid = RadialMean.spread(variance, self.image_power.frequencies, x.shape)
        root = grid.sqrt().to(torch.float32)
        generator = torch.Generator().manual_seed(stream_seed(self.seed, 10))
        return largest_curvature(
            lambda moved: self.prior.score(moved[None], self.sigma)[0],
            lambda y: ifftc(root * fftc(y.cpu())).to(x.device),
            x,
            score,
            standard_normal(x.shape, generator, torch.complex64).to(x.device),
        )
