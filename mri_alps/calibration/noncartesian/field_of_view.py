"""Whether the object of a radial scan is larger than the field of view of its image."""

from __future__ import annotations

import math

import numpy as np

from mri_alps.rawdata import readout_to_image

LARGEST_SHARE = 0.01
"""Energy of the projections beside the field of view, over all of it, that is not told."""


def share_outside(samples: np.ndarray, trajectory: np.ndarray) -> float:
    """Return which part of the projections' energy lies beside the field of view.

    Readouts that are oversampled see more than the image's grid: what they see beside it folds
    into the image.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex (coils, shots, samples).
    trajectory : numpy.ndarray
        float (shots, samples, 2), spokes, cycles per field of view.

    Returns
    -------
    float
        The level of the outermost positions is taken for noise, and taken off; nan where the
        readouts see no more than the field of view.
    """
    n_samples = samples.shape[-1]
    steps = np.linalg.norm(np.diff(trajectory, axis=1), axis=-1)
    step = float(steps.mean())
    position = (np.arange(n_samples) - n_samples // 2) / (n_samples * step)  # in fields of view
    outside = np.abs(position) > 0.5
    n_edge = int(outside.sum()) // 4
    if n_edge < 4 or steps.std() > 0.01 * step:
        return math.nan
    energy = (np.abs(readout_to_image(samples, 2)) ** 2).sum(axis=(0, 1))
    order = np.argsort(np.abs(position), kind="stable")
    # The receiver's filter rolls off at the very edge, where the noise looks smaller than it is.
    noise = float(np.median(energy[order[-n_edge - n_edge // 2 : -(n_edge // 2) or None]]))
    signal = float((energy - noise).sum())
    beside = float((energy - noise)[outside].sum())
    return max(0.0, beside / signal) if signal > 0 else math.nan
