"""Noise covariance from the imaging data, for scans without a noise measurement.

Only where nothing but noise was received can noise be told from signal without a model: at
readout positions beside the object, or, where the object fills the readout, at the periphery
of k-space. Both look at measured samples alone, as they came from the receiver.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from mri_alps.calibration.noise import noise_covariance
from mri_alps.core.crop import center_range
from mri_alps.core.errors import DtypeError, InputFileError, ShapeError
from mri_alps.core.magnitudes import unit_of
from mri_alps.rawdata import readout_to_image

QUIET, PERIPHERY = "quiet readout positions", "k-space periphery"
EDGE_MARGIN = 0.03
"""Fraction of the readout left out at either edge where the readout is not oversampled: the
receiver's filter rolls off there and would make the noise look smaller than it is."""
QUIET_LINES = 0.75
"""Fraction of the measured lines, farthest from the centre, that quiet positions are read in."""
PERIPHERY_LINES = 0.25
"""Fraction of the measured lines, farthest from the centre, that may count as periphery."""
ENOUGH_SAMPLES = 2500
"""Complex samples per coil that are enough: a variance good to 2 %."""
PERIPHERY_POINTS = 0.1
"""The same for scattered sampling, as a fraction of the measured points."""
LEVEL_LIMIT = 1.5
"""Positions of the periphery up to this multiple of the quietest one's energy are used."""
SIGNAL_LIMIT = 1.25
"""Energy of the inner half of the samples over that of the outer half above which there is
clearly still signal in them (1 for white noise), beside the scatter of the two."""


@dataclass(frozen=True)
class NoiseEstimate:
    """A noise covariance estimated from imaging data.

    Parameters
    ----------
    covariance : numpy.ndarray
        complex128 (coils, coils), per real component, in the squared units of the k-space.
    method : str
        "quiet readout positions", "k-space periphery", "image corners" or the like.
    n_samples : int
        Complex samples per coil behind it; the relative error of a variance is about
        1 / sqrt(n_samples).
    signal_ratio : float
        1 for noise, larger where signal is left in the samples: their energy nearer the centre
        of k-space over that farther out, or (at the periphery) that of a typical readout
        position over that of the ones used.
    """

    covariance: np.ndarray
    method: str
    n_samples: int
    signal_ratio: float

    @property
    def level(self) -> float:
        """Standard deviation per real component, the root mean square over the coils."""
        return float(np.sqrt(np.diag(self.covariance).real.mean()))

    def scaled(self, unit: float) -> NoiseEstimate:
        """Return the estimate of k-space times a number.

        Parameters
        ----------
        unit : float
            The number.
        """
        return dataclasses.replace(self, covariance=self.covariance * unit**2)

    def facts(self) -> dict[str, Any]:
        """Return what it says, as JSON holds it."""
        return {
            "witness": self.method,
            "noise_std": self.level,
            "standard_error": float(self.level * self.relative_error),
            "noise_std_per_coil": np.sqrt(np.diag(self.covariance).real).tolist(),
            "has_signal": bool(self.is_contaminated),
            "n_samples": self.n_samples,
        }

    @property
    def relative_error(self) -> float:
        """Standard error of the level; coils share noise and count as half as many."""
        return 0.5 / np.sqrt(self.n_samples * max(1, len(self.covariance) // 2))

    @property
    def is_contaminated(self) -> bool:
        """True if the samples still hold so much signal that the covariance is too large."""
        return self.signal_ratio > SIGNAL_LIMIT + 8 * self.relative_error


def estimate_noise_covariance(
    kspace: np.ndarray, mask: np.ndarray, readout_crop: int | None = None
) -> np.ndarray:
    """Estimate the noise covariance of one slice; see `estimate_noise`.

    Parameters
    ----------
    kspace, mask, readout_crop
        As `estimate_noise` takes them.

    Returns
    -------
    numpy.ndarray
        complex128 (coils, coils), per real component: E[n n^H] / 2.
    """
    return estimate_noise(kspace, mask, readout_crop).covariance


def estimate_noise(
    kspace: np.ndarray, mask: np.ndarray, readout_crop: int | None = None
) -> NoiseEstimate:
    """Estimate the noise covariance of one slice from its own k-space.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex, shape (coils, readout, phase_encode), as measured: before whitening,
        filtering or compression.
    mask : numpy.ndarray
        bool, broadcastable to (readout, phase_encode), True where measured.
    readout_crop : int, optional
        Readout size of the final image: positions outside it are ignored, since the receiver
        filter rolls off there. All positions but the outermost 3 % if left out.

    Returns
    -------
    NoiseEstimate
        The covariance and how it was found.

    Raises
    ------
    DtypeError
        If the k-space is real.
    ShapeError
        If the shapes do not fit.
    InputFileError
        If too few samples are measured.
    """
    if not np.iscomplexobj(kspace):
        raise DtypeError(f"k-space must be complex, found {kspace.dtype}")
    if kspace.ndim != 3:
        raise ShapeError(
            f"k-space must have the shape (coils, readout, phase_encode), found {kspace.shape}"
        )
    try:
        measured = np.broadcast_to(np.asarray(mask, bool), kspace.shape[1:])
    except ValueError:
        raise ShapeError(
            f"a mask of shape {np.shape(mask)} does not fit k-space of shape {kspace.shape}"
        ) from None
    return kspace_estimates(kspace, np.asarray(measured), readout_crop)[0]


def kspace_estimates(
    kspace: np.ndarray, measured: np.ndarray, readout_crop: int | None
) -> list[NoiseEstimate]:
    """Estimate noise from quiet readout positions, where there are any, and from the periphery.

    Parameters
    ----------
    kspace, readout_crop
        As `estimate_noise` takes them.
    measured : numpy.ndarray
        bool (readout, phase_encode).

    Returns
    -------
    list of NoiseEstimate
        The better one first.

    Raises
    ------
    InputFileError
        If too few samples are measured.
    """
    n_coils = kspace.shape[0]
    if measured.sum() < 4 * n_coils:
        raise InputFileError(
            f"{int(measured.sum())} measured k-space samples are too few to estimate the noise "
            f"of {n_coils} coils: give noise_std"
        )
    unit = unit_of(kspace)
    kspace = kspace / unit
    rows = np.asarray(measured.any(axis=1))
    columns = np.asarray(measured.any(axis=0))
    if are_lines(measured, rows, columns):
        # rows of zeros lower the noise; scaled, its variance is that of a sample
        hybrid = readout_to_image(kspace[:, :, columns], 1) / np.sqrt(rows.mean())
        lines = np.flatnonzero(columns) - kspace.shape[2] // 2
        positions = usable_positions(kspace.shape[1], readout_crop)
        found = _from_lines(hybrid[:, positions], np.abs(lines))
    else:
        found = [_from_points(kspace, measured)]
    return [each.scaled(unit) for each in found]


def are_lines(measured: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> bool:
    """Tell whether whole lines were measured, all over the same (most of the) readout.

    Parameters
    ----------
    measured : numpy.ndarray
        bool (readout, phase_encode).
    rows, columns : numpy.ndarray
        bool, where any of it is measured, along the readout and the phase encode.
    """
    if not np.array_equal(measured, rows[:, None] & columns[None, :]):
        return False
    first, last = np.flatnonzero(rows)[[0, -1]]
    return bool(rows[first : last + 1].all() and rows.mean() >= 0.5 and columns.sum() >= 8)


def usable_positions(n_readout: int, readout_crop: int | None) -> slice:
    """Return the readout positions that the receiver's filter does not touch.

    Parameters
    ----------
    n_readout : int
        All of them.
    readout_crop : int or None
        Those of the final image.
    """
    if readout_crop is not None and readout_crop < n_readout:
        return center_range(n_readout, readout_crop)
    margin = int(np.ceil(EDGE_MARGIN * n_readout))
    return slice(margin, n_readout - margin)


def _from_lines(hybrid: np.ndarray, distance: np.ndarray) -> list[NoiseEstimate]:
    """Estimates from hybrid data (coils, readout position, line), lines `distance` from DC."""
    order = np.argsort(distance, kind="stable")
    hybrid = hybrid[:, :, order]
    n_coils, n_positions, n_lines = hybrid.shape
    wanted = max(ENOUGH_SAMPLES, 50 * n_coils)
    found = []
    quiet = _quiet_positions(_outermost(hybrid, int(np.ceil(QUIET_LINES * n_lines))))
    if quiet.any() and not quiet.all():
        most = int(np.ceil(QUIET_LINES * n_lines))
        samples = _outermost(hybrid[:, quiet], min(most, wanted // int(quiet.sum()) + 1))
        if samples[0].size >= max(400, 20 * n_coils):
            found.append(estimate_from(samples, QUIET))
    most = int(PERIPHERY_LINES * n_lines)
    outer = _outermost(hybrid, max(8, min(most, wanted // n_positions + 1)))
    return [*found, _from_periphery(outer)]


def _outermost(hybrid: np.ndarray, n_lines: int) -> np.ndarray:
    """Cut the last lines; as far out, and so as few, as will do: signal decays outwards."""
    return hybrid[:, :, -min(max(2, n_lines), hybrid.shape[2]) :]


def _quiet_positions(hybrid: np.ndarray) -> np.ndarray:
    """Contiguous positions at both readout edges whose energy does not depend on the line.

    Signal decays away from the centre of k-space, noise does not: comparing a position's
    nearer lines with its farther lines needs no threshold on the energy itself, so choosing
    positions this way does not favour quiet noise.
    """
    n_coils, n_positions, n_lines = hybrid.shape
    energy = np.abs(hybrid) ** 2
    per_coil = np.median(energy, axis=(1, 2), keepdims=True)
    energy = (energy / np.maximum(per_coil, np.finfo(np.float32).tiny)).mean(axis=0)
    near = smooth(energy[:, : n_lines // 2].mean(axis=1))
    far = smooth(energy[:, n_lines // 2 :].mean(axis=1))
    # Coils share noise: count them as half as many. Four standard deviations of the ratio.
    n_independent = max(1, n_coils // 2) * 3 * (n_lines // 2)
    limit = 1 + min(0.5, 4 * np.sqrt(2 / n_independent))
    noisy = near > limit * np.maximum(far, np.finfo(np.float32).tiny)
    # White noise has the same level everywhere: a position of another level is not noise.
    edge_level = np.minimum(np.median(far[:5]), np.median(far[-5:]))
    noisy |= far > limit**2 * edge_level
    loud = np.flatnonzero(noisy)
    if loud.size == 0:
        return np.ones(n_positions, bool)
    # A few positions next to the object are left out for its point spread.
    guard = max(2, round(0.02 * n_positions))
    position = np.arange(n_positions)
    return (position < loud[0] - guard) | (position > loud[-1] + guard)


def smooth(values: np.ndarray, width: int = 3) -> np.ndarray:
    """Return the moving average over neighbouring positions.

    Parameters
    ----------
    values : numpy.ndarray
        float (positions,).
    width : int
        Positions, odd.
    """
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _from_periphery(hybrid: np.ndarray) -> NoiseEstimate:
    """Estimate from the quietest positions of the outermost lines.

    Positions are ranked by one half of the lines and read in the other half, and the other way
    round: what is chosen and what is measured are independent, so the choice does not bias.
    """
    n_coils, n_positions, n_lines = hybrid.shape
    n_least = min(n_positions, max(4, int(np.ceil(8 * n_coils / n_lines))))
    tiny = np.finfo(np.float32).tiny
    parts, excess = [], []
    for choose, measure in ((0, 1), (1, 0)):
        level = _level(hybrid[:, :, choose::2])
        keep = level <= max(LEVEL_LIMIT * level.min(), np.sort(level)[n_least - 1])
        parts.append(estimate_from(hybrid[:, keep, measure::2], PERIPHERY))
        # Noise has one level at all positions: where most are louder, signal reaches this far.
        level = _level(hybrid[:, :, measure::2])
        excess.append(float(np.median(level) / max(level[keep].mean(), tiny)))
    weights = np.array([part.n_samples for part in parts], float)
    return NoiseEstimate(
        np.average([part.covariance for part in parts], axis=0, weights=weights),
        PERIPHERY,
        int(weights.sum()),
        max(*excess, float(np.average([part.signal_ratio for part in parts], weights=weights))),
    )


def _level(hybrid: np.ndarray) -> np.ndarray:
    """Energy at every readout position, the coils weighted alike, smoothed."""
    energy = np.abs(hybrid) ** 2
    per_coil = np.median(energy, axis=(1, 2), keepdims=True)
    return smooth((energy / np.maximum(per_coil, np.finfo(np.float32).tiny)).mean(axis=(0, 2)))


def _from_points(kspace: np.ndarray, measured: np.ndarray) -> NoiseEstimate:
    """Estimate from the measured points farthest from the centre of k-space."""
    n_readout, n_phase = measured.shape
    x, y = np.nonzero(measured)
    radius = np.hypot((x - n_readout // 2) / n_readout, (y - n_phase // 2) / n_phase)
    n_outer = max(int(PERIPHERY_POINTS * len(radius)), 40 * kspace.shape[0], 400)
    outer = np.argsort(radius, kind="stable")[-min(n_outer, len(radius)) :]
    return estimate_from(kspace[:, x[outer], y[outer]][:, None], PERIPHERY)


def estimate_from(samples: np.ndarray, method: str) -> NoiseEstimate:
    """Return the covariance of samples, and whether those nearer the signal are louder.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex (coils, position, line), lines ordered away from the signal.
    method : str
        How they were found.
    """
    half = samples.shape[2] // 2
    near = (np.abs(samples[:, :, :half]) ** 2).mean(axis=(1, 2))
    far = (np.abs(samples[:, :, -half:]) ** 2).mean(axis=(1, 2))
    ratio = float(np.mean(near / np.maximum(far, np.finfo(np.float32).tiny)))
    n_samples = samples[0].size
    return NoiseEstimate(noise_covariance(samples), method, n_samples, ratio)
