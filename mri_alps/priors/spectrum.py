"""Second-order knowledge of a prior, per noise level and spatial frequency.

Samplers precondition with it. Nothing here decides what is sampled, only how fast: a wrong
spectrum costs evaluations, not correctness.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from mri_alps.core.errors import ShapeError


def frequency_radius(shape: Sequence[int]) -> torch.Tensor:
    """Return |k| in cycles per pixel on the centred grid of `shape`, float64.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image, any number of axes.
    """
    total = torch.zeros(tuple(shape), dtype=torch.float64)
    for axis, n in enumerate(shape):
        k = (torch.arange(n, dtype=torch.float64) - n // 2) / n
        view = [1] * len(shape)
        view[axis] = n
        total = total + k.reshape(view) ** 2
    return total.sqrt()


STEIN_LIMIT = 0.15
"""How far Stein's identity may be off for a score to count as that of a density. Exact scores are
off by up to 0.06 (estimated from 8 to 64 draws), brain-small by 0.4."""


@dataclass(frozen=True)
class PriorSpectrum:
    """Fourier power of the prior and of its score, per real component.

    Powers are those of the centred orthonormal transform: white noise of standard deviation s
    has the power s^2 at every frequency. They are given per radial frequency, which serves
    images of any size, or on the full grid of one image shape.

    Attributes
    ----------
    sigmas : torch.Tensor
        (L,) increasing noise levels; the first stands for the prior itself.
    image_power : torch.Tensor
        E |FFT(x - E x)|^2 / 2 of the prior, (K,) or (*shape).
    score_power : torch.Tensor
        E |FFT(score)|^2 / 2 at each level over the smoothed prior: its Fisher information,
        (L, K) or (L, *shape).
    error_power : torch.Tensor
        E |FFT(x0 - D(x0 + sigma n))|^2 / 2: the mean posterior variance of the prior given its
        noisy version, (L, K) or (L, *shape).
    frequencies : torch.Tensor or None
        (K,) increasing |k| in cycles per pixel; None for powers on a full grid.
    excess : torch.Tensor or None
        (L,) how far the smoothed prior is from a Gaussian of its own spectrum, as relative
        Fisher information in units of squared standard deviations; None if not measured.
    curvature : torch.Tensor or None
        (L,) largest eigenvalue found of the Hessian of -log p relative to the Fisher
        information; None if not measured.
    stein : torch.Tensor or None
        (4,) E Re <x - E x, -score> per value at the lowest level, over draws of the score's own,
        in quarters of the frequencies by |k|. It is 1 for the score of a density (Stein's
        identity); None if not measured, as for networks, whose draws it takes many evaluations
        to make.
    """

    sigmas: torch.Tensor
    image_power: torch.Tensor
    score_power: torch.Tensor
    error_power: torch.Tensor
    frequencies: torch.Tensor | None = None
    excess: torch.Tensor | None = None
    curvature: torch.Tensor | None = None
    stein: torch.Tensor | None = None

    @property
    def is_of_a_density(self) -> bool:
        """Whether the score is known to obey Stein's identity at the lowest level."""
        return self.stein is not None and bool((self.stein - 1).abs().max() < STEIN_LIMIT)

    def image(self, shape: Sequence[int]) -> torch.Tensor:
        """Power of the prior on the centred grid of `shape`, float64.

        Parameters
        ----------
        shape : sequence of int
            Image shape.

        Raises
        ------
        ShapeError
            If the spectrum is held on the grid of another shape.
        """
        return self._spread(self.image_power, shape).clamp_min(_tiny(self.image_power))

    def fisher(self, sigma: float, shape: Sequence[int]) -> torch.Tensor:
        """Fisher information of the prior smoothed to `sigma`, per frequency.

        Above half the noise the denoiser's error is the better estimate and is used in
        Gaussian-equivalent form, C = v P / (v + P); below it, the power of the score.

        Parameters
        ----------
        sigma : float
            Noise level per real component.
        shape : sequence of int
            Image shape.

        Returns
        -------
        torch.Tensor
            Float64, `shape`, positive.
        """
        variance = max(sigma**2 - self.levels[0] ** 2, 0.0)
        return 1 / (self._equivalent_image(sigma, shape) + variance)

    def posterior_variance(self, sigma: float, shape: Sequence[int]) -> torch.Tensor:
        """Mean posterior variance of the prior given its version smoothed to `sigma`.

        Per frequency and real component: that of the Gaussian with the same Fisher information,
        which is the measured error of the denoiser wherever that is below half the noise.

        Parameters
        ----------
        sigma : float
            Noise level per real component, above the lowest.
        shape : sequence of int
            Image shape.

        Returns
        -------
        torch.Tensor
            Float64, `shape`, positive.
        """
        variance = max(sigma**2 - self.levels[0] ** 2, 1e-12 * sigma**2)
        return 1 / (1 / self._equivalent_image(sigma, shape) + 1 / variance)

    def to(self, device: torch.device | str) -> PriorSpectrum:
        """Return the spectrum with its tensors on `device`.

        Parameters
        ----------
        device : torch.device or str
            Where grids are to be made.
        """
        moved = {name: value.to(device) for name, value in self.tensors().items()}
        return PriorSpectrum.from_tensors(moved)

    @cached_property
    def levels(self) -> list[float]:
        """The noise levels as numbers: read from the device once."""
        return [float(sigma) for sigma in self.sigmas.tolist()]

    @cached_property
    def _nodes(self) -> tuple[float, ...]:
        return () if self.frequencies is None else tuple(self.frequencies.double().tolist())

    @cached_property
    def _powers(self) -> list[torch.Tensor]:
        """Logarithm of `_equivalent_power` of each level."""
        return [self._equivalent_power(i).log() for i in range(len(self.levels))]

    @cached_property
    def _last_grid(self) -> dict[tuple[float, tuple[int, ...]], torch.Tensor]:
        return {}

    def _equivalent_image(self, sigma: float, shape: Sequence[int]) -> torch.Tensor:
        """Power on the grid of the Gaussian with the same Fisher information at `sigma`."""
        key = (float(sigma), tuple(shape))
        kept = self._last_grid
        if key not in kept:
            found = self._spread(self._equivalent_profile(sigma), shape)
            kept.clear()  # a level's grid is asked for several times, then never again
            kept[key] = found
        return kept[key]

    def _equivalent_profile(self, sigma: float) -> torch.Tensor:
        levels, powers = self.levels, self._powers
        upper = min(bisect_left(levels, sigma), len(levels) - 1)
        lower = max(upper - 1, 0)
        weight = 0.0
        if upper != lower:
            span = math.log(levels[upper] / levels[lower])
            weight = min(max(math.log(sigma / levels[lower]) / span, 0.0), 1.0)
        return ((1 - weight) * powers[lower] + weight * powers[upper]).exp()

    def _equivalent_power(self, level: int) -> torch.Tensor:
        """Power of the Gaussian with the same Fisher information at this level."""
        sigma, base = self.levels[level], self.levels[0]
        variance = sigma**2 - base**2
        from_score = 1 / self.score_power[level].double().clamp_min(1e-300) - variance
        if variance <= 0:
            return from_score.clamp_min(_tiny(from_score))
        error = self.error_power[level].double()
        shrinkage = (error / variance).clamp(0, 0.99)
        from_error = error / (1 - shrinkage)
        # The prior at the lowest level is smoothed, so no power of it lies below that noise.
        floor = base**2 if base > 0 else 1e-6 * variance
        return torch.where(shrinkage < 0.5, from_error, from_score).clamp_min(floor)

    def _spread(self, values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Bring (K,) radial values, or values on the grid, to the centred grid of `shape`."""
        values = values.double()
        if self.frequencies is None:
            if tuple(values.shape) != tuple(shape):
                raise ShapeError(
                    f"the prior's spectrum is held for images of shape {tuple(values.shape)}, "
                    f"found {tuple(shape)}: estimate it for this shape with "
                    "estimate_prior_spectrum"
                )
            return values
        upper, weight, folded = _radial_plan(tuple(shape), self._nodes, values.device)
        logs = values.clamp_min(_tiny(values)).log()
        radial = torch.lerp(logs[upper - 1], logs[upper], weight).exp()
        for axis, index in enumerate(folded):
            radial = radial.index_select(axis, index)
        return radial

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the contents for a safetensors file, names without prefix."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> PriorSpectrum:
        """Rebuild a spectrum from `tensors()`.

        Parameters
        ----------
        tensors : mapping of str to torch.Tensor
            As `tensors` returned them.
        """
        return cls(**{name: tensors.get(name) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]


@lru_cache(maxsize=8)
def _radial_plan(
    shape: tuple[int, ...], nodes: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    """Interpolate piecewise linearly from radial values to the centred grid of `shape`.

    Constant beyond the ends. One orthant is interpolated, between the nodes before `upper` and
    `upper` with `weight`, and unfolded by the index of |k| along each axis.
    """
    orthant = tuple(n // 2 + 1 for n in shape)
    radius = frequency_radius(shape)[tuple(slice(0, n) for n in orthant)]
    at = torch.tensor(nodes, dtype=torch.float64)
    upper = torch.searchsorted(at, radius.contiguous()).clamp(1, len(nodes) - 1)
    weight = ((radius - at[upper - 1]) / (at[upper] - at[upper - 1])).clamp(0, 1)
    # k = 0 is the last index of the orthant, which begins at the lowest frequency.
    folded = tuple((n // 2 - (torch.arange(n) - n // 2).abs()).to(device) for n in shape)
    return upper.to(device), weight.to(device), folded


def _tiny(values: torch.Tensor) -> torch.Tensor:
    return (values.abs().amax() * 1e-12).clamp_min(1e-300)
