"""Estimating a prior's spectrum from its score alone, by unconditional sampling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal
from mri_alps.priors.curvature import largest_curvature
from mri_alps.priors.gaussian import apply_filter
from mri_alps.priors.network import in_float32
from mri_alps.priors.spectrum import PriorSpectrum, frequency_radius
from mri_alps.sampling.schedules import karras_ladder
from mri_alps.sampling.score import CountedScore, require_score_model

if TYPE_CHECKING:
    from mri_alps.priors.protocol import ScoreModel

N_LEVELS = 14
N_ODE_STEPS = 24


def estimate_prior_spectrum(
    score_model: ScoreModel,
    shape: Sequence[int],
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.complex64,
    n_images: int | None = None,
) -> PriorSpectrum:
    """Estimate the Fourier power of a prior and of its score at every noise level.

    Draws images from the prior by the probability-flow ODE (Heun's method), then measures
    score, denoising error, distance from a Gaussian and largest curvature at noise levels
    between `sigma_min` and `sigma_max`. Takes about 140 evaluations on a batch of images.

    Parameters
    ----------
    score_model : ScoreModel
        The prior.
    shape : sequence of int
        Image shape, without slices or samples.
    generator : torch.Generator, optional
        Source of randomness, on the device where the prior runs; seed 0 on the CPU if left out.
    dtype : torch.dtype
        Complex or real, as the images will be.
    n_images : int, optional
        Batch size; between 8 and 64 by image size if left out.

    Returns
    -------
    PriorSpectrum
        On the full grid of `shape`. Reuse it: `sample_posterior(..., prior_spectrum=...)`.
    """
    return count_and_estimate(score_model, shape, generator, dtype, n_images)[0]


def count_and_estimate(
    score_model: ScoreModel,
    shape: Sequence[int],
    generator: torch.Generator | None,
    dtype: torch.dtype,
    n_images: int | None = None,
) -> tuple[PriorSpectrum, int]:
    """Estimate as `estimate_prior_spectrum` does; also return the evaluations spent.

    Parameters
    ----------
    score_model, shape, generator, dtype, n_images
        As there.
    """
    require_score_model(score_model)
    shape = tuple(int(n) for n in shape)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    pixels = int(torch.Size(shape).numel())
    n = n_images or min(max(2**15 // pixels, 8), 64)
    estimator = _Estimator(CountedScore(score_model), shape, generator, dtype, n)
    with in_float32(score_model):
        return estimator.run(), estimator.score.count


class _Estimator:
    def __init__(
        self,
        score: CountedScore,
        shape: tuple[int, ...],
        generator: torch.Generator,
        dtype: torch.dtype,
        n: int,
    ):
        self.score, self.shape, self.generator = score, shape, generator
        self.dtype, self.n = dtype, n
        self.dims = tuple(range(-len(shape), 0))
        self.parts = 2 if dtype.is_complex else 1

    def run(self) -> PriorSpectrum:
        images = self._sample_prior()
        center = images.mean(0, keepdim=True)
        image_power = self._power(images - center) * self.n / (self.n - 1)
        low, high = self.score.sigma_min, self.score.sigma_max
        sigmas = torch.logspace(math.log10(low), math.log10(high), N_LEVELS, dtype=torch.float64)
        rows = [self._level(images, center, image_power, float(sigma)) for sigma in sigmas]
        score_power, error_power, excess, curvature = (list(r) for r in zip(*rows, strict=True))
        return PriorSpectrum(
            sigmas=sigmas,
            image_power=image_power.cpu(),
            score_power=torch.stack(score_power).cpu(),
            error_power=torch.stack(error_power).cpu(),
            excess=torch.tensor(excess, dtype=torch.float64),
            curvature=torch.tensor(curvature, dtype=torch.float64),
            stein=self._stein(images, center),
        )

    def _noise(self) -> torch.Tensor:
        return standard_normal((self.n, *self.shape), self.generator, self.dtype)

    def _sample_prior(self) -> torch.Tensor:
        """Probability-flow ODE from sigma_max, dx/dsigma = -sigma score (Karras et al. 2022)."""
        score, top = self.score, self.score.sigma_max
        x = self._start(top)
        ladder = karras_ladder(top, score.sigma_min, N_ODE_STEPS)
        for sigma, following in itertools.pairwise(ladder):
            slope = -sigma * score.score(x, sigma)
            euler = x + (following - sigma) * slope
            corrected = -following * score.score(euler, following)
            x = x + (following - sigma) * (slope + corrected) / 2
        return x

    def _start(self, sigma: float) -> torch.Tensor:
        """Draw at sigma_max from the Gaussian whose linear score agrees with the prior's.

        There the score is nearly linear, -(x - mean) / (P + sigma^2): a regression on x gives
        P even where it exceeds sigma_max^2.
        """
        variance = torch.full(self.shape, sigma**2, dtype=torch.float64)
        variance = variance.to(self.generator.device)
        mean = torch.zeros(self.shape, dtype=self.dtype, device=self.generator.device)
        for _ in range(3):
            noise = self._filter(self._noise(), variance.sqrt())
            value = self.score.score(mean + noise, sigma)
            centred = value - value.mean(0, keepdim=True)
            slope = -self._cross(centred, noise - noise.mean(0, keepdim=True))
            slope = slope / self._power(noise - noise.mean(0, keepdim=True))
            variance = 1 / slope.clamp(1e-12, 1 / sigma**2)
            mean = (mean + noise + self._filter(value, variance)).mean(0)
        return mean + self._filter(self._noise(), variance.sqrt())

    def _level(
        self, images: torch.Tensor, center: torch.Tensor, image_power: torch.Tensor, sigma: float
    ) -> tuple[torch.Tensor, torch.Tensor, float, float]:
        variance = max(sigma**2 - self.score.sigma_min**2, 0.0)
        x = images + math.sqrt(variance) * self._noise()
        score = self.score.score(x, sigma)
        error = images - (x + variance * score)
        score_power = self._smooth(self._power(score))
        error_power = self._smooth(self._power(error))
        total = image_power + variance
        departure = score + self._filter(x - center, 1 / total)
        excess = float((self._power(departure) * total).sum()) * self.parts
        # What the estimate of the spectrum itself, from n images, adds to the excess.
        sampling_error = float(((image_power / total) ** 2).sum()) * self.parts / self.n
        root = (1 / score_power).sqrt()
        curvature = largest_curvature(
            lambda moved: self.score.score(moved, sigma),
            lambda y: self._filter(y, root),
            x,
            score,
            self._noise(),
            len(self.dims),
        )
        return score_power, error_power, excess - 2 * sampling_error, curvature

    def _stein(self, images: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
        """Stein's identity in quarters of the frequencies, at the lowest level."""
        score = self.score.score(images, self.score.sigma_min)
        product = -self._cross(images - center, score) * self.n / (self.n - 1)
        order = frequency_radius(self.shape).flatten().argsort(stable=True)
        quarters = product.cpu().flatten()[order].tensor_split(4)
        return torch.stack([quarter.mean() for quarter in quarters])

    def _power(self, x: torch.Tensor) -> torch.Tensor:
        """Mean over images of |FFT|^2 per real component; real images have one component."""
        return self._cross(x, x)

    def _cross(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        wide = torch.complex128
        product = fftc(a.to(wide), self.dims).conj() * fftc(b.to(wide), self.dims)
        return product.real.mean(0) / self.parts

    def _filter(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return apply_filter(x, weight.to(x.real.dtype), self.dims)

    def _smooth(self, power: torch.Tensor) -> torch.Tensor:
        """Shrink the estimate of each frequency towards the radial mean by its noise.

        The ratio to the radial mean has the variance 1 / dof if the prior is isotropic; what
        it has beyond that is kept.
        """
        power = power.clamp_min(1e-300)
        radial = _radial_mean(power, self.shape)
        ratio = (power / radial).log()
        noise = 2 / (self.n * self.parts)
        keep = max(0.0, 1 - noise / max(float(ratio.var()), 1e-30))
        return radial * (keep * ratio).exp()


def _radial_mean(power: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Average over shells one grid step thick, brought back to the grid."""
    radius = frequency_radius(shape).to(power.device)
    shell = (radius * max(shape)).round().long()
    count = torch.zeros(int(shell.max()) + 1, dtype=power.dtype, device=power.device)
    total = torch.zeros_like(count)
    count.index_add_(0, shell.flatten(), torch.ones_like(power).flatten())
    total.index_add_(0, shell.flatten(), power.flatten())
    return (total / count.clamp_min(1))[shell]
