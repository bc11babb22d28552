"""Noise of a scan along shots, from its own samples.

Along a spoke the Fourier transform is a projection of the object: positions beside the object hold
noise alone. Signal is told from noise by its level and because neighbouring spokes see nearly the
same; so where the object fills the readout no position passes. Of other trajectories there are the
outermost samples, in which signal may be left.
"""

from __future__ import annotations

import numpy as np

from mri_alps.calibration.noise_estimate import (
    ENOUGH_SAMPLES,
    PERIPHERY,
    PERIPHERY_POINTS,
    QUIET,
    NoiseEstimate,
    estimate_from,
    smooth,
    usable_positions,
)
from mri_alps.core.errors import InputFileError
from mri_alps.core.magnitudes import unit_of
from mri_alps.rawdata import readout_to_image

FEWEST_SPOKES = 8
"""Spokes that are looked at."""
LARGEST_CORRELATION = 0.02
"""Of positions beside the object between neighbouring spokes, beside four standard errors."""


def shot_witnesses(samples: np.ndarray, trajectory: np.ndarray, kind: str) -> list[NoiseEstimate]:
    """Return what the samples of a slice tell of its noise.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex (coils, shots, samples), as measured.
    trajectory : numpy.ndarray
        float (shots, samples, 2), cycles per field of view.
    kind : str
        "radial" or another.

    Returns
    -------
    list of NoiseEstimate
        At least one.

    Raises
    ------
    InputFileError
        If there are too few samples.
    """
    n_coils = len(samples)
    measured = (samples != 0).any(axis=0)
    if measured.sum() < 4 * n_coils:
        raise InputFileError(
            f"{int(measured.sum())} samples are too few to estimate the noise of {n_coils} coils: "
            "give noise_std"
        )
    unit = unit_of(samples)
    samples = samples / unit
    found = []
    complete = measured.all(axis=1)  # zeros within a spoke would spread over its projection
    if kind == "radial" and complete.sum() >= FEWEST_SPOKES and _is_even(trajectory):
        found += _from_projections(samples[:, complete], trajectory[complete])
    found.append(_outermost(samples, trajectory, measured))
    return [each.scaled(unit) for each in found]


def _is_even(trajectory: np.ndarray) -> bool:
    """Whether samples lie at equal distances along each spoke."""
    steps = np.diff(trajectory, axis=1)
    return bool(
        np.abs(steps - steps.mean(axis=1, keepdims=True)).max() < 0.01 * np.abs(steps).max()
    )


def _from_projections(samples: np.ndarray, trajectory: np.ndarray) -> list[NoiseEstimate]:
    direction = trajectory[:, -1] - trajectory[:, 0]
    order = np.argsort(np.arctan2(direction[:, 1], direction[:, 0]), kind="stable")
    projections = readout_to_image(np.ascontiguousarray(samples[:, order]), 2)
    hybrid = np.moveaxis(projections, 2, 1)  # (coil, position, spoke)
    hybrid = hybrid[:, usable_positions(hybrid.shape[1], None)]
    quiet = quiet_positions(hybrid)
    n_coils = len(hybrid)
    if not quiet.any() or int(quiet.sum()) * hybrid.shape[2] < max(400, 20 * n_coils):
        return []
    inward = np.flatnonzero(quiet)
    middle = (hybrid.shape[1] - 1) / 2
    inward = inward[np.argsort(np.abs(inward - middle), kind="stable")]
    wanted = max(ENOUGH_SAMPLES, 50 * n_coils)
    # Nearest to the edges, and so as far from the object, as will do; the nearer half comes first.
    inward = inward[-max(2, wanted // hybrid.shape[2] + 1) :]
    return [estimate_from(np.moveaxis(hybrid[:, inward], 1, 2), QUIET)]


def quiet_positions(hybrid: np.ndarray) -> np.ndarray:
    """Mark positions at both edges of projections that hold noise alone, bool (position,).

    Parameters
    ----------
    hybrid : numpy.ndarray
        Complex (coils, positions, spokes), neighbouring spokes next to each other.
    """
    n_coils, n_positions, n_spokes = hybrid.shape
    tiny = np.finfo(np.float32).tiny
    energy = np.abs(hybrid) ** 2
    per_coil = np.median(energy, axis=(1, 2), keepdims=True)
    scaled = hybrid / np.sqrt(np.maximum(per_coil, tiny))
    level = smooth((np.abs(scaled) ** 2).mean(axis=(0, 2)))
    both = scaled[:, :, :-1] * scaled[:, :, 1:].conj()
    alike = np.abs(np.convolve(both.mean(axis=(0, 2)), np.full(3, 1 / 3), "same"))
    # Coils share noise: count them as half as many.
    n_independent = max(1, n_coils // 2) * 3 * n_spokes
    limit = 1 + min(0.5, 4 * np.sqrt(1 / n_independent))
    edge_level = min(np.median(level[:5]), np.median(level[-5:]))
    noisy = level > limit * edge_level
    noisy |= alike > (LARGEST_CORRELATION + 4 / np.sqrt(n_independent)) * np.maximum(level, tiny)
    loud = np.flatnonzero(noisy)
    if loud.size == 0:
        return np.zeros(n_positions, bool)  # no object: nothing that noise could be told from
    # A few positions next to the object are left out for its point spread.
    guard = max(2, round(0.02 * n_positions))
    position = np.arange(n_positions)
    return np.asarray((position < loud[0] - guard) | (position > loud[-1] + guard))


def _outermost(samples: np.ndarray, trajectory: np.ndarray, measured: np.ndarray) -> NoiseEstimate:
    """Estimate from the samples farthest from the centre of k-space."""
    shot, sample = np.nonzero(measured)
    radius = np.linalg.norm(trajectory[shot, sample], axis=-1)
    n_outer = max(int(PERIPHERY_POINTS * len(radius)), 40 * len(samples), 400)
    outer = np.argsort(radius, kind="stable")[-min(n_outer, len(radius)) :]
    return estimate_from(samples[:, shot[outer], sample[outer]][:, None], PERIPHERY)
