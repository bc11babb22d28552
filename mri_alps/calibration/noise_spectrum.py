"""How the noise falls along the phase encode where k-space was filtered, line by line.

After the readout's transform a position beside the object holds the noise of every measured line,
also of undersampled data, whatever filter went along the lines. Where signal leaks into it, the
level is too large, never too small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import linalg

from mri_alps.calibration.noise import noise_covariance
from mri_alps.calibration.noise_estimate import are_lines, smooth, usable_positions
from mri_alps.calibration.noise_witnesses import STEEPEST_FILTER
from mri_alps.rawdata import readout_to_image

MOST_BANDS, LEAST_BANDS = 8, 4
"""Bands of lines by their distance from the centre of k-space that have a level of their own."""
KNOWN = 0.07
"""Standard error of a band's level, relative to it, up to which it is known well enough."""
CORRELATED = 1.5
"""Readout positions over independent ones, where a filter also runs along the readout."""
SMALLEST_FALL = 0.2
"""Part of the level, beside four standard errors, that it falls by where there is a filter."""
QUIETEST = 0.4
"""Level of a line over the loudest one's that is believed at most: the rest gains little, and the
solver's equations converge the more slowly the more lines differ."""
FEWEST_COILS, SPHERICITY = 4, 1.5
"""Coils from which noise is told from signal by its covariance; and arithmetic over geometric mean
of its eigenvalues, whitened by other noise, from which it is signal, a filter being the same for
all coils."""
LOUDEST = 10.0
"""Level of the loudest lines over the one that was assumed from which it is signal."""
LEAST_POSITIONS, LEAST_SAMPLES = 3, 4
"""Quiet positions of a slice, and independent samples for each coil in either half of the lines,
from which they tell of noise."""


class NoiseSpectrum(NamedTuple):
    """The noise of lines.

    Attributes
    ----------
    level : float
        Standard deviation of the loudest lines, over the one that was assumed.
    lines : numpy.ndarray
        float64 (phase_encode,), that of all lines over the loudest ones', at least `QUIETEST`.
    outermost : float
        That of the outermost measured lines over the one that was assumed, without a bound.
    standard_error : float
        Of the levels, relative.
    """

    level: float
    lines: np.ndarray
    outermost: float
    standard_error: float

    @property
    def raised(self) -> float:
        """What the standard deviation that was assumed is raised by: it is never lowered.

        It is that of an image's pixels, where a filter along the readout leaves less than at the
        centre of k-space, which maps are made of.
        """
        return max(1.0, self.level)

    @property
    def line_noise(self) -> np.ndarray:
        """Standard deviation of all lines over the raised one, float64 (phase_encode,)."""
        return self.lines * self.level / self.raised


class _Quiet(NamedTuple):
    """What a slice shows of each line at quiet positions."""

    energy: np.ndarray  # (W,), over that assumed, summed over positions
    n_positions: np.ndarray  # (W,)
    near: np.ndarray  # (coils, coils), of the inner half of the lines
    far: np.ndarray


def measure_noise_spectrum(
    slices: Iterable[tuple[np.ndarray, np.ndarray]],
    covariance: np.ndarray,
    readout_crop: int | None = None,
) -> NoiseSpectrum | None:
    """Measure the noise of lines at quiet readout positions.

    Bands of lines have a level each: the largest of those measured in it and farther out, and one
    standard error on top, which is that of its outer end; between these its logarithm is linear.
    Signal is told from noise by the covariance of the coils, which a filter leaves as it is; of
    few coils by its size. It falls steeply near the centre of k-space and slowly farther out, a
    filter the other way round.

    Parameters
    ----------
    slices : iterable of tuple
        K-space, complex (coils, readout, phase_encode), zero where it was not measured, and the
        mask, bool (readout, phase_encode), of slices of the same noise.
    covariance : numpy.ndarray
        complex128 (coils, coils), per real component: the noise that is assumed.
    readout_crop : int, optional
        Readout size of the final image, see `estimate_noise`.

    Returns
    -------
    NoiseSpectrum or None
        None where lines are alike, or their noise is not known well enough.
    """
    variance = np.diag(covariance).real
    alive = variance > 0
    found = [
        quiet
        for kspace, measured in slices
        for quiet in [_at_quiet_positions(kspace[alive], measured, variance[alive], readout_crop)]
        if quiet is not None
    ]
    if not found:
        return None
    total = _Quiet(*(np.sum(parts, axis=0) for parts in zip(*found, strict=True)))
    n_coils = int(alive.sum())
    n_half = int(total.n_positions.sum() / (2 * CORRELATED))
    if n_coils >= FEWEST_COILS and not (
        n_half >= LEAST_SAMPLES * n_coils and _is_spherical(total.near, total.far, n_half)
    ):
        return None
    spectrum = _fit(total.energy, total.n_positions, max(1, n_coils // 2) / CORRELATED)
    most = LOUDEST if n_coils >= FEWEST_COILS else STEEPEST_FILTER
    return None if spectrum is None or spectrum.level > most else spectrum


def _at_quiet_positions(
    kspace: np.ndarray, measured: np.ndarray, variance: np.ndarray, readout_crop: int | None
) -> _Quiet | None:
    rows, columns = np.asarray(measured.any(axis=1)), np.asarray(measured.any(axis=0))
    if not kspace.any() or not are_lines(measured, rows, columns):
        return None
    scaled = kspace[:, :, columns] / np.sqrt(2 * variance * rows.mean())[:, None, None]
    hybrid = readout_to_image(scaled, 1)[:, usable_positions(kspace.shape[1], readout_crop)]
    distance = np.abs(np.flatnonzero(columns) - columns.size // 2)
    inner = distance <= np.median(distance)
    quiet = _quiet_positions(np.abs(hybrid[:, :, inner]) ** 2)
    if quiet.sum() < LEAST_POSITIONS or quiet.sum() * (~inner).sum() < len(kspace):
        return None
    hybrid = hybrid[:, quiet]
    energy = np.zeros(columns.size)
    energy[columns] = (np.abs(hybrid) ** 2).mean(axis=0).sum(axis=0)
    near, far = (noise_covariance(hybrid[:, :, half]) for half in (inner, ~inner))
    return _Quiet(energy, quiet.sum() * columns, near, far)


def _quiet_positions(power: np.ndarray) -> np.ndarray:
    """Positions from both edges on that are as quiet as these in the lines with most signal."""
    n_coils, n_positions, n_lines = power.shape
    per_coil = np.maximum(np.median(power, axis=(1, 2)), np.finfo(np.float32).tiny)
    level = smooth((power / per_coil[:, None, None]).mean(axis=(0, 2)))
    scatter = np.sqrt(2 / (max(1, n_coils // 2) * 3 * n_lines))
    edge = min(np.median(level[:5]), np.median(level[-5:]))
    loud = np.flatnonzero(level > (1 + min(0.5, 4 * scatter)) * edge)
    if loud.size == 0:
        return np.zeros(n_positions, bool)
    guard = max(2, round(0.02 * n_positions))
    position = np.arange(n_positions)
    return np.asarray((position < loud[0] - guard) | (position > loud[-1] + guard))


def _is_spherical(covariance: np.ndarray, noise: np.ndarray, n_samples: int) -> bool:
    """Tell whether coils are related as they are in other noise, `n_samples` behind either."""
    silent = np.diag(noise).real <= 0
    values = linalg.eigvalsh(covariance, noise + np.diag(silent.astype(float)))
    values = np.maximum(values[-(~silent).sum() :], np.finfo(float).tiny)
    limit = SPHERICITY * math.exp(len(covariance) / n_samples)
    return bool(values.mean() <= limit * np.exp(np.log(values).mean()))


def _fit(energy: np.ndarray, count: np.ndarray, per_value: float) -> NoiseSpectrum | None:
    """Levels of bands; `per_value` is the number of independent samples behind one position."""
    distance = np.abs(np.arange(count.size) - count.size // 2)
    lines = np.flatnonzero(count)
    lines = lines[np.argsort(distance[lines], kind="stable")]
    n_bands = min(MOST_BANDS, int(count.sum() * per_value * (2 * KNOWN) ** 2))
    if n_bands < LEAST_BANDS:
        return None
    bands = np.array_split(lines, n_bands)
    error = 0.5 / np.sqrt([count[band].sum() * per_value for band in bands])
    level = np.sqrt([energy[band].sum() / count[band].sum() for band in bands])
    if not (level > 0).all() or level[-1] > level[0] * (1 - SMALLEST_FALL - 4 * error.max()):
        return None
    steps, half = np.log(level[:-1] / level[1:]), n_bands // 2
    if steps[0] > steps[1:].max() or steps[:half].sum() > steps[half:].sum():
        return None  # signal
    upper = np.maximum.accumulate((level * (1 + error))[::-1])[::-1]
    outer_end = [distance[band].max() for band in bands]
    relative = np.exp(np.interp(distance, outer_end, np.log(upper / upper[0])))
    lines = np.maximum(relative, QUIETEST)
    return NoiseSpectrum(float(upper[0]), lines, float(upper[-1]), float(error.max()))
