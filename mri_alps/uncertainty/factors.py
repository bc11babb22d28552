"""How much wider than the posterior's deviation the true error is, as a function of |k|.

The error of a prediction of samples that were left out is compared with what the posterior says of
it: of the coil-combined contribution of these samples to the image,

    E |error|^2 = factor(|k|)^2 * predicted variance + noise.

Assumed is that samples which were left out are exchangeable, given |k|, with those which were
never measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mri_alps.core.errors import ConfigurationError
from mri_alps.uncertainty.coverage import LEVELS, observed_coverage, smallest_level

N_BANDS = 4
"""Bands of |k| that get a factor of their own, at most."""
TILES_PER_BAND = 8
"""Tiles of k-space that a band must hold."""
SLOPE = 1.0
"""Expected change of the logarithm of the squared factor from the centre to the edge of k-space, as
a standard deviation: what a slope is shrunk to zero with. It was 0.7 to 1.5, never negative, on
four simulated scans of three anatomies under a prior of heads."""
N_BOOTSTRAP = 200
"""Draws of tiles from which the errors of factors come."""
CERTAIN_NOISE = 0.75
"""Share of the noise's energy that is taken off the errors: its level is chosen so as not to be too
small, and is up to 17 % too large where the object fills the view; what is taken off too much makes
deviations too small."""
SMALLEST_FACTOR = 0.3
"""No deviation is made smaller than by this."""


@dataclass(frozen=True)
class LeftOutEnergies:
    """Energies of left-out samples in tiles of k-space, of one slice and one fold.

    Parameters
    ----------
    error, predicted, noise : numpy.ndarray
        (tiles,): of what was measured less what was predicted, of what the posterior samples say
        of this error, and of the noise in it.
    radius : numpy.ndarray
        (tiles,): |k| over the largest frequency along an axis.
    n_left_out : int
        Lines (or points) that were left out.
    n_evaluations : int
        Evaluations of the prior that this took.
    squared_error, variance : numpy.ndarray
        (pixels of the object,): of the contribution to the image, and what the posterior samples
        say of it.
    noise_variance : float
        Of the noise in it, in the mean over these pixels.
    n_samples : int
        Posterior samples behind the prediction.
    maps, maps_variance : numpy.ndarray or None
        (tiles,) and (pixels of the object,): what the error of uncertain sensitivity maps adds to
        `error` and `squared_error`; None where maps are certain.
    noise_has_signal : bool
        Whether the level of the noise may be far too large, since there is signal in what it was
        measured by.
    """

    error: np.ndarray
    predicted: np.ndarray
    noise: np.ndarray
    radius: np.ndarray
    n_left_out: int
    n_evaluations: int
    squared_error: np.ndarray
    variance: np.ndarray
    noise_variance: float
    n_samples: int
    maps: np.ndarray | None = None
    maps_variance: np.ndarray | None = None
    noise_has_signal: bool = False


@dataclass(frozen=True)
class UncertaintyFactors:
    """Factors by which deviations of samples from their mean are multiplied.

    Parameters
    ----------
    overall : float
        One factor for all of k-space.
    overall_error : float
        Its standard error.
    radius, factor, factor_error : tuple of float
        For each band of |k|: where it lies (over the largest frequency along an axis), its
        factor, shrunk towards `overall`, and that one's standard error.
    coverage_before, coverage_after : float
        Share of the left-out contributions, at pixels of the object, that the 90 % interval of
        their prediction holds.
    n_left_out : int
        Lines (or points) that were left out, all folds and slices together.
    n_evaluations : int
        Evaluations of the prior.
    slices : tuple of int
        Where they come from.
    nominal, observed_before, observed_after : tuple of float
        The same coverage for intervals of several nominal levels.
    """

    overall: float
    overall_error: float
    radius: tuple[float, ...]
    factor: tuple[float, ...]
    factor_error: tuple[float, ...]
    coverage_before: float
    coverage_after: float
    n_left_out: int
    n_evaluations: int
    slices: tuple[int, ...] = ()
    nominal: tuple[float, ...] = ()
    observed_before: tuple[float, ...] = ()
    observed_after: tuple[float, ...] = ()

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> UncertaintyFactors:
        """Return the factors whose fields JSON held.

        Parameters
        ----------
        record : dict
            What `dataclasses.asdict` returned.
        """
        values: dict[str, Any] = {}
        for name, value in record.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    def filter(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the factor of each frequency of a centred grid, float32 (H, W).

        Between the bands its logarithm is linear in |k|.

        Parameters
        ----------
        shape : tuple of int
            (H, W).
        """
        logarithm = np.interp(frequency_radius(shape), self.radius, np.log(self.factor))
        return np.exp(logarithm).astype(np.float32)


def frequency_radius(shape: tuple[int, int]) -> np.ndarray:
    """Return |k| over the largest frequency along an axis, on a centred grid, (H, W).

    Parameters
    ----------
    shape : tuple of int
        (H, W).
    """
    y, x = (2 * (np.arange(n) - n // 2) / n for n in shape)
    return np.hypot(y[:, None], x)


def fit_factors(
    energies: Sequence[LeftOutEnergies], slices: Sequence[int] = (), seed: int = 0
) -> UncertaintyFactors | None:
    """Fit factors to what was found on left-out samples, pooled over folds and slices.

    Each band's factor is the square root of (energy of the errors less that of the maps' and of the
    noise, of which `CERTAIN_NOISE` is taken off) over the predicted energy. Its error comes from a
    bootstrap over tiles, and it is shrunk towards a line in |k| as far as it is no farther from it
    than these errors (empirical Bayes). Where sensitivity maps are uncertain no factor is below 1:
    what is wrong next to the centre of k-space does not show in lines that lie farther out. Nor
    where signal passes for noise: errors are taken for noise, then, and next to nothing is left.

    Parameters
    ----------
    energies : sequence of LeftOutEnergies
        Of all folds and slices.
    slices : sequence of int
        For the record.
    seed : int
        Of the bootstrap.

    Returns
    -------
    UncertaintyFactors or None
        None where fewer than `TILES_PER_BAND` tiles are there.

    Raises
    ------
    ConfigurationError
        If numbers are not finite.
    """
    if not energies:
        return None
    names = ("error", "predicted", "noise", "radius")
    error, predicted, noise, radius = (
        np.concatenate([getattr(one, name) for one in energies]) for name in names
    )
    if len(error) < TILES_PER_BAND or predicted.sum() <= 0:
        return None
    if not all(np.isfinite(values).all() for values in (error, predicted, noise)):
        raise ConfigurationError("the energies of left-out samples hold NaN or Inf")
    of_maps = [np.zeros_like(one.error) if one.maps is None else one.maps for one in energies]
    excess = error - CERTAIN_NOISE * noise - np.concatenate(of_maps)
    generator = np.random.default_rng(seed)
    overall, overall_error = _log_ratio(excess, predicted, generator)
    n_bands = int(np.clip(len(error) // TILES_PER_BAND, 1, N_BANDS))
    bands = np.array_split(np.argsort(radius, kind="stable"), n_bands)
    found = [_log_ratio(excess[band], predicted[band], generator) for band in bands]
    ratios, errors = (np.array(values) for values in zip(*found, strict=True))
    # What is taken off too little makes bands of noise alone look wide: they follow the others.
    tiny = np.finfo(float).tiny
    doubt = [(1 - CERTAIN_NOISE) * noise[b].sum() / max(abs(excess[b].sum()), tiny) for b in bands]
    errors = np.hypot(errors, doubt)
    middle = np.array([np.average(radius[band], weights=predicted[band] + 1e-30) for band in bands])
    shrunk, shrunk_error = _shrink_to_line(ratios, errors, middle)
    is_doubtful = any(one.maps is not None or one.noise_has_signal for one in energies)
    smallest = 1.0 if is_doubtful else SMALLEST_FACTOR
    factor = np.maximum(np.exp(shrunk / 2), smallest)
    order = np.argsort(middle)
    scale = max(math.exp(overall / 2), smallest)
    before, after = _coverage(energies, 1.0), _coverage(energies, scale)
    return UncertaintyFactors(
        overall=scale,
        overall_error=scale * overall_error / 2,
        radius=tuple(float(middle[i]) for i in order),
        factor=tuple(float(factor[i]) for i in order),
        factor_error=tuple(float((factor * shrunk_error / 2)[i]) for i in order),
        coverage_before=before[LEVELS.index(0.9)],
        coverage_after=after[LEVELS.index(0.9)],
        n_left_out=sum(one.n_left_out for one in energies),
        n_evaluations=sum(one.n_evaluations for one in energies),
        slices=tuple(int(index) for index in slices),
        nominal=LEVELS,
        observed_before=before,
        observed_after=after,
    )


def _shrink_to_line(
    ratios: np.ndarray, errors: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shrink logarithms of bands towards a line in |k|, whose slope is shrunk towards zero.

    How far bands lie from the line beyond their errors is estimated with weights, so that one band
    of which nothing is known does not speak for the others (DerSimonian and Laird, Control Clin
    Trials 7:177, 1986). Returns logarithms and their standard errors.
    """
    weights = 1 / errors**2
    total = weights.sum()
    x = radius - np.average(radius, weights=weights)
    precision = (weights * x**2).sum() + 1 / SLOPE**2
    slope = (weights * x * ratios).sum() / precision
    line = np.average(ratios, weights=weights) + slope * x
    line_variance = 1 / total + x**2 / precision
    if len(ratios) < 3:
        return line, np.sqrt(line_variance)
    rest = ratios - line
    beyond = (weights * rest**2).sum() - (len(ratios) - 2)
    spread = max(0.0, beyond / (total - (weights**2).sum() / total))
    share = spread / (spread + errors**2)
    variance = share * errors**2 + (1 - share) ** 2 * line_variance
    return line + share * rest, np.sqrt(variance)


def _log_ratio(
    excess: np.ndarray, predicted: np.ndarray, generator: np.random.Generator
) -> tuple[float, float]:
    """Return the logarithm of the ratio of sums, and its standard error by a bootstrap."""
    draws = generator.integers(len(excess), size=(N_BOOTSTRAP, len(excess)))
    floor, tiny = SMALLEST_FACTOR**2, np.finfo(float).tiny
    total = max(float(excess.sum() / max(predicted.sum(), tiny)), floor)
    repeated = np.maximum(excess[draws].sum(1) / np.maximum(predicted[draws].sum(1), tiny), floor)
    return math.log(total), max(float(np.log(repeated).std()), 1e-3)


def _coverage(energies: Sequence[LeftOutEnergies], factor: float) -> tuple[float, ...]:
    """Coverage of left-out contributions, all slices and folds together, at all `LEVELS`."""
    levels = []
    for one in energies:
        variance = factor**2 * one.variance
        if one.maps_variance is not None:
            variance = variance + one.maps_variance
        levels.append(
            smallest_level(one.squared_error, variance, one.noise_variance, one.n_samples)
        )
    return observed_coverage(np.concatenate(levels))
