"""How many samples of a slice are enough: until the Monte-Carlo error is below a stated fraction.

It is looked at after every block of samples and nowhere between, so that the number of samples
depends on nothing but the settings and the slice: not on batches, workers, or where a run was
interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mri_alps.core.errors import MriAlpsError
from mri_alps.sampling import PosteriorSamples, antithetic_groups, join_samples

_OBJECT = 0.1
"""Share of the 99 % quantile of the mean's magnitude from which a pixel is of the object."""


class MonteCarloErrors(NamedTuple):
    """What a limited number of samples leaves open, as fractions.

    Attributes
    ----------
    mean : float
        Of the posterior mean, root mean square over the object, over its mean intensity there.
    std : float
        Of the standard deviation of the magnitude, likewise, over its mean there.
    """

    mean: float
    std: float

    def are_within(self, tolerance: tuple[float, ...]) -> bool:
        """Tell whether both are at most as large as they may be.

        Parameters
        ----------
        tolerance : tuple of float
            Of both, or of the mean and of the deviation.
        """
        return self.mean <= tolerance[0] and self.std <= tolerance[-1]


def monte_carlo_errors(samples: np.ndarray, groups: Sequence[int]) -> MonteCarloErrors:
    """Return the standard errors of mean and deviation of samples, by the jackknife.

    Groups of samples are left out one after the other, and the scatter of what the others give is
    the error (Efron and Stein, Ann Statist 9:586, 1981): no distribution is assumed. Fewer than
    three groups tell nothing, which is infinite. The deviation is that of `sample_statistics`,
    from all pairs of samples of different groups.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex (n, H, W).
    groups : sequence of int
        Group of each sample; those of different groups are independent.
    """
    labels = np.unique(np.asarray(groups), return_inverse=True)[1]
    counts = np.bincount(labels)[:, None].astype(np.float64)
    if len(counts) < 3:
        return MonteCarloErrors(math.inf, math.inf)
    flat = samples.reshape(len(samples), -1)
    intensity = np.abs(flat.mean(0, dtype=np.complex128))
    inside = intensity > _OBJECT * np.quantile(intensity, 0.99)
    if not inside.any():
        return MonteCarloErrors(0.0, 0.0)
    flat = flat[:, inside].astype(np.complex128)
    magnitude = np.abs(flat)
    magnitude -= magnitude.mean(0)  # the deviation stays, and nothing cancels
    values = [_summed(a, labels) for a in (flat, magnitude, magnitude**2)]
    means = (values[0].sum(0) - values[0]) / (counts.sum() - counts)
    parts = (counts, values[1], values[2], counts * values[2] - values[1] ** 2, counts**2)
    stds = _std(*(part.sum(0) - part for part in parts))
    std = _std(*(part.sum(0) for part in parts))
    return MonteCarloErrors(
        _ratio(_jackknife(means), intensity[inside].mean()), _ratio(_jackknife(stds), std.mean())
    )


def _summed(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    total = np.zeros((labels.max() + 1, values.shape[1]), values.dtype)
    np.add.at(total, labels, values)
    return total


def _std(
    n: np.ndarray, total: np.ndarray, squares: np.ndarray, within: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Deviation from sums over samples, and from those of pairs within groups."""
    return np.sqrt(((n * squares - total**2 - within) / (n**2 - pairs)).clip(0))


def _jackknife(without: np.ndarray) -> float:
    """Root mean square over pixels of the standard error, from estimates without each group."""
    n = len(without)
    variance = (n - 1) / n * (np.abs(without - without.mean(0)) ** 2).sum(0)
    return math.sqrt(float(variance.mean()))


def _ratio(error: float, of: float) -> float:
    return error / float(of) if of > 0 else 0.0


def draw_to_tolerance(
    draw: Callable[[int], PosteriorSamples],
    images: Callable[[PosteriorSamples], np.ndarray],
    block: int,
    most: int,
    tolerance: tuple[float, ...],
) -> tuple[PosteriorSamples, MonteCarloErrors]:
    """Draw blocks of samples until their errors are within the tolerance, or there are the most.

    Parameters
    ----------
    draw : callable
        From the index of the first sample to a block of samples.
    images : callable
        From samples to the images that are looked at, complex (n, H, W).
    block : int
        Samples of a block, lost ones included.
    most : int
        Most samples; the last block is not cut.
    tolerance : tuple of float
        See `MonteCarloErrors.are_within`.

    Raises
    ------
    MriAlpsError
        If blocks begin with the same sample: more of them say nothing.
    """
    parts: list[PosteriorSamples] = []
    firsts: list[np.ndarray] = []
    while True:
        parts.append(draw(block * len(parts)))
        first = images(parts[-1])[0]
        if any(np.array_equal(first, other) for other in firsts) and first.any():
            raise MriAlpsError(
                "the sampling method draws the same samples in every batch: it must address its "
                "noise by the task's `first_sample`, as `SamplingTask.noise` does"
            )
        firsts.append(first)
        joined = join_samples(parts)
        left = [i for i in range(block * len(parts)) if i not in joined.lost]
        errors = monte_carlo_errors(images(joined), antithetic_groups(left))
        if errors.are_within(tolerance) or block * (len(parts) + 1) > most:
            return joined, errors


def shortfall(errors: MonteCarloErrors, n_samples: int, tolerance: tuple[float, ...]) -> str | None:
    """Return in a sentence how far a slice is from its tolerance; None where it is within.

    Parameters
    ----------
    errors : MonteCarloErrors
        Of the slice.
    n_samples : int
        Its samples.
    tolerance : tuple of float
        What was asked.
    """
    if errors.are_within(tolerance):
        return None
    return (
        f"{n_samples} samples, the most that --max-samples allows, leave a Monte-Carlo error of "
        f"{errors.mean:.2g} of the intensity in the mean ({tolerance[0]:g} asked) and of "
        f"{errors.std:.2g} of itself in the deviation ({tolerance[-1]:g} asked)"
    )
