"""Whether the object of a radial scan is larger than the field of view of its image."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.decoupling import readout_to_image

if TYPE_CHECKING:
    from mri_alps.rawdata.noncartesian.data import RawTrajectoryData, ShotSource

LARGEST_SHARE = 0.01
"""Energy of the projections beside the field of view, over all of it, that is not told."""
LEFT_BESIDE = 0.002
"""The same that may be left beside a field of view that was enlarged."""
VIEW_STEP = 0.125
"""Steps in which fields of view are enlarged, relative to the file's."""


def share_outside(samples: np.ndarray, trajectory: np.ndarray, view: float = 1.0) -> float:
    """Return which part of the projections' energy lies beside the field of view.

    Readouts that are oversampled see more than the image's grid: what they see beside it folds
    into the image.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex (coils, shots, samples).
    trajectory : numpy.ndarray
        float (shots, samples, 2), spokes, cycles per field of view.
    view : float
        A field of view in units of that of the trajectory.

    Returns
    -------
    float
        The level of the outermost positions is taken for noise, and taken off; nan where the
        readouts see no more than the trajectory's own field of view.
    """
    n_samples = samples.shape[-1]
    steps = np.linalg.norm(np.diff(trajectory, axis=1), axis=-1)
    step = float(steps.mean()) if steps.size else 0.0
    if step <= 0 or not np.isfinite(step):
        return math.nan
    position = (np.arange(n_samples) - n_samples // 2) / (n_samples * step)  # in fields of view
    n_edge = int((np.abs(position) > 0.5).sum()) // 4
    if n_edge < 4 or steps.std() > 0.01 * step:
        return math.nan
    largest = np.abs(samples).max(initial=0.0) or 1.0  # of any unit: squares leave single precision
    energy = (np.abs(readout_to_image(samples / largest, 2)) ** 2).sum(axis=(0, 1))
    order = np.argsort(np.abs(position), kind="stable")
    # The receiver's filter rolls off at the very edge, where the noise looks smaller than it is.
    noise = float(np.median(energy[order[-n_edge - n_edge // 2 : -(n_edge // 2) or None]]))
    signal = float((energy - noise).sum())
    beside = float((energy - noise)[np.abs(position) > 0.5 * view].sum())
    return max(0.0, beside / signal) if signal > 0 else math.nan


def with_room(raw: RawTrajectoryData) -> RawTrajectoryData:
    """Return a radial scan on a grid that holds its object; the image is cropped as before.

    Parameters
    ----------
    raw : RawTrajectoryData
        The scan; up to three slices are read.

    Returns
    -------
    RawTrajectoryData
        The same where the object fits, or the readouts do not see beside the field of view. Else
        pixels have the same size, there are more of them, and k counts cycles of the larger one.
    """
    slices = []
    for index in sorted({raw.n_slices // 4, raw.n_slices // 2, 3 * raw.n_slices // 4}):
        with contextlib.suppress(InputFileError):  # said when this slice is asked for
            samples, places = raw.shots.read_samples(index), raw.shots.trajectory(index)
            if samples.shape[1:] != places.shape[:2]:
                continue
            good = np.isfinite(samples).all(axis=(0, 2)) & np.isfinite(places).all(axis=(1, 2))
            if samples[:, good].any():
                slices.append((samples[:, good], places[good]))
    beside = _worst(slices, 1.0)
    if not beside > LARGEST_SHARE:
        return raw
    view = 1.0 + VIEW_STEP
    while view < 2 and _worst(slices, view) > LEFT_BESIDE:
        view += VIEW_STEP
    shape = tuple(n + 2 * math.ceil((view - 1) * n / 2) for n in raw.shape)
    factor = np.array(shape) / np.array(raw.shape)
    told = (
        f"the object is larger than the field of view: {100 * beside:.1f} % of the energy of the "
        f"projections lie beside it and would fold into the image, which is reconstructed on "
        f"{shape[0]} x {shape[1]} in the place of {raw.shape[0]} x {raw.shape[1]}, and cropped to "
        f"{raw.crop[0]} x {raw.crop[1]}"
    )
    geometry = raw.geometry
    matrix, view_mm = geometry.encoded_matrix, geometry.encoded_field_of_view
    return dataclasses.replace(
        raw,
        shape=(shape[0], shape[1]),
        mask=np.ones((1, 1, shape[1]), bool),
        shots=_Scaled(raw.shots, factor),
        geometry=dataclasses.replace(
            geometry,
            encoded_matrix=(shape[0], shape[1], matrix[2]),
            encoded_field_of_view=(
                float(view_mm[0] * factor[0]),
                float(view_mm[1] * factor[1]),
                view_mm[2],
            ),
        ),
        provenance=raw.provenance | {"processing": [*raw.provenance.get("processing", []), told]},
    )


def _worst(slices: list[tuple[np.ndarray, np.ndarray]], view: float) -> float:
    found = [share_outside(*each, view) for each in slices]
    return max((share for share in found if not math.isnan(share)), default=0.0)


@dataclass(frozen=True)
class _Scaled:
    """Shots whose k counts cycles of a larger field of view."""

    shots: ShotSource
    factor: np.ndarray

    def read_samples(self, index: int) -> np.ndarray:
        """Return the samples as they are."""
        return self.shots.read_samples(index)

    def trajectory(self, index: int) -> np.ndarray:
        """Return float64 (shot, sample, 2)."""
        return self.shots.trajectory(index) * self.factor
