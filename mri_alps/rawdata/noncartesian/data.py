"""`RawTrajectoryData`: a scan whose samples lie anywhere in k-space, along shots.

Samples are (coil, shot, sample), their places (shot, sample, 2) in cycles per field of view, in the
order of the image axes (readout, phase_encode), 0 at DC. Other units and orders are converted by
the readers, and nowhere else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError, ShapeError
from mri_alps.rawdata.noncartesian.field_of_view import with_room
from mri_alps.rawdata.noncartesian.options import choose_shots
from mri_alps.rawdata.noncartesian.paths import (
    OTHER,
    RADIAL,
    is_transposed,
    kind_of,
    visited_points,
)
from mri_alps.rawdata.noncartesian.units import LEAST_EXTENT
from mri_alps.rawdata.raw import RawKSpace

if TYPE_CHECKING:
    from typing import NoReturn

    from mri_alps.rawdata.geometry import Geometry

EDGE = 0.01
"""Cycles per field of view beyond the edge of the grid that count as on it."""
LARGEST_BEYOND = 0.1
"""Share of the samples beyond the grid from which their number is a warning."""


class ShotSource(Protocol):
    """How a format hands over its slices, one at a time; indices are already checked."""

    def read_samples(self, index: int) -> np.ndarray:
        """Return complex (coil, shot, sample)."""

    def trajectory(self, index: int) -> np.ndarray:
        """Return float64 (shot, sample, 2), cycles per field of view."""


@dataclass(frozen=True)
class RawTrajectoryData(RawKSpace):
    """An opened scan along a trajectory; samples are read slice by slice.

    What a `RawKSpace` has for Cartesian lines alone (`read_slice`, `slice_mask`,
    `read_calibration`) is refused here in a sentence, so that nothing takes shots for lines.

    Parameters
    ----------
    shots : ShotSource
        Gives samples and trajectories.
    n_shots, n_samples : int
        Of a slice, and of a shot.
    kind : str
        "radial" (straight through, or from, the centre), "spiral" or "other".
    units : str
        How the file's unit of k-space was found out, a phrase.
    chosen : tuple of int
        (first, stop, step) of the shots that are used, in the order of acquisition, as those of
        `range`; (0, 0, 1) for all.

    Notes
    -----
    `shape` is the grid of the image. `mask` marks the points of its k-space next to which there is
    a sample of the first slice: for pictures and summaries.
    """

    shots: ShotSource = field(repr=False, kw_only=True)
    n_shots: int = field(kw_only=True)
    n_samples: int = field(kw_only=True)
    kind: str = field(kw_only=True)
    units: str = field(kw_only=True, default="cycles per field of view")
    chosen: tuple[int, int, int] = field(kw_only=True, default=(0, 0, 1))
    is_settled: bool = True  # the trajectory says where the centre is

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chosen[1] == 0:
            object.__setattr__(self, "chosen", (0, self.n_shots, 1))

    @property
    def n_used_shots(self) -> int:
        """Shots of a slice that are used."""
        return len(range(*self.chosen))

    def with_shots(self, text: str | None) -> RawTrajectoryData:
        """Return the scan with a part of its shots, in the order of acquisition.

        Parameters
        ----------
        text : str or None
            "50" for the first 50, "100:150" for a range, "0:200:4" for every fourth of 200; None
            for all.

        Raises
        ------
        ConfigurationError
            If it names no shots of the scan.
        """
        if text is None:
            return self
        chosen = choose_shots(text, self.n_shots, str(self.path))
        part = dataclasses.replace(self, chosen=chosen)
        used = range(*chosen)
        every = "" if chosen[2] == 1 else f", every {chosen[2]}th,"
        return dataclasses.replace(
            part,
            mask=visited_points(part.trajectory(0), self.shape)[np.newaxis],
            provenance=self.provenance
            | {
                "processing": [
                    *self.provenance.get("processing", []),
                    f"shots {used[0]} to {used[-1]}{every} of {self.n_shots} are used, as asked "
                    "for",
                ]
            },
        )

    def read_samples(self, index: int) -> np.ndarray:
        """Read the samples of one slice.

        Parameters
        ----------
        index : int
            0 to n_slices - 1, in order of position.

        Returns
        -------
        np.ndarray
            complex64 (coil, shot, sample).

        Raises
        ------
        InputFileError
            If the file cannot be read any more or holds NaN or Inf; the shot is named.
        """
        index = self._check_index(index)
        samples = np.asarray(self.shots.read_samples(index))
        expected = (self.n_coils, self.n_shots, self.n_samples)
        if samples.shape != expected:
            raise InputFileError(
                f"{self.path}: the samples of slice {index} have the shape {samples.shape} where "
                f"{expected} (coils, shots, samples) was announced: check that the file is complete"
            )
        samples = np.array(samples[:, slice(*self.chosen)], np.complex64)
        self._refuse_not_finite(samples, (0, 2), "samples", index)
        return samples

    def trajectory(self, index: int) -> np.ndarray:
        """Return where the samples of one slice lie.

        Parameters
        ----------
        index : int
            Slice.

        Returns
        -------
        np.ndarray
            float64 (shot, sample, 2), cycles per field of view of the grid `shape`.

        Raises
        ------
        InputFileError
            If there are NaN or Inf in it; the shot is named.
        """
        index = self._check_index(index)
        trajectory = np.array(self.shots.trajectory(index)[slice(*self.chosen)], np.float64)
        self._refuse_not_finite(trajectory, (1, 2), "trajectory", index)
        return trajectory

    def on_grid(self, trajectory: np.ndarray) -> np.ndarray:
        """Return which samples the image's grid can show, bool without the last axis.

        Parameters
        ----------
        trajectory : np.ndarray
            float (..., 2), cycles per field of view.
        """
        half = np.array(self.shape) / 2
        return np.asarray((np.abs(trajectory) <= half + EDGE).all(axis=-1))

    def read_slice(self, index: int) -> NoReturn:  # noqa: ARG002
        """Refuse: shots are no lines of a grid.

        Parameters
        ----------
        index : int
            Slice.
        """
        raise self._not_cartesian()

    def slice_mask(self, index: int) -> NoReturn:  # noqa: ARG002
        """Refuse: there is a trajectory instead of a mask.

        Parameters
        ----------
        index : int
            Slice.
        """
        raise self._not_cartesian()

    def read_calibration(self, index: int) -> NoReturn:  # noqa: ARG002
        """Refuse: the centre of the shots is all there is.

        Parameters
        ----------
        index : int
            Slice.
        """
        raise self._not_cartesian()

    def _not_cartesian(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path} is a {self.kind} scan of {self.n_shots} shots, and what was asked for "
            "works on Cartesian lines: reconstruct and inspect take it as it is, and --shots "
            "leaves shots out as a mask leaves out lines"
        )

    def _refuse_not_finite(
        self, array: np.ndarray, axes: tuple[int, int], what: str, index: int
    ) -> None:
        good = np.isfinite(array).all(axis=axes)
        if not good.all():
            shot = range(*self.chosen)[int(np.flatnonzero(~good)[0])]
            raise InputFileError(
                f"{self.path}: NaN or Inf in the {what} of shot {shot} of slice {index} "
                f"({int((~good).sum())} such shots): export the scan again, or leave these shots "
                "out (--shots)"
            )


@dataclass(frozen=True)
class ArrayShots:
    """Hands over slices of arrays.

    Parameters
    ----------
    kspace : np.ndarray
        complex (slice, coil, shot, sample).
    places : np.ndarray
        float (slice or 1, shot, sample, 2), cycles per field of view.
    """

    kspace: np.ndarray
    places: np.ndarray

    def read_samples(self, index: int) -> np.ndarray:
        """Return slice `index` of `kspace`."""
        return self.kspace[index]

    def trajectory(self, index: int) -> np.ndarray:
        """Return slice `index` of `places`."""
        return self.places[index if len(self.places) > 1 else 0]


@dataclass(frozen=True)
class _NoLines:
    """Of a scan without Cartesian lines: there is nothing to be read as such."""

    ground_truth: np.ndarray | None = None

    def read_kspace(self, index: int) -> np.ndarray:
        """Never called: `RawTrajectoryData` refuses."""
        raise NotImplementedError

    def read_calibration(self, index: int) -> None:  # noqa: ARG002
        """Return None."""
        return

    def read_reference(self, index: int) -> None:  # noqa: ARG002
        """Return None."""
        return

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Return the image behind simulated data, if there is one."""
        return None if self.ground_truth is None else self.ground_truth[index]


def assemble(
    path: Path,
    format_name: str,
    shots: ShotSource,
    *,
    n_slices: int,
    n_coils: int,
    shape: tuple[int, int],
    geometry: Geometry,
    crop: tuple[int, int],
    units: str,
    n_shots: int,
    n_samples: int,
    noise_covariance: np.ndarray | None = None,
    acquisition: str = "",
    size_is_known: bool = True,
    ground_truth: np.ndarray | None = None,
    provenance: dict[str, object] | None = None,
) -> RawTrajectoryData:
    """Put an opened scan together, and look at the trajectory of its first slice.

    Parameters
    ----------
    path, format_name, shots, n_slices, n_coils, shape, geometry, crop, units, n_shots
        See `RawTrajectoryData`.
    n_samples, noise_covariance, acquisition, size_is_known, ground_truth, provenance
        The same.

    Raises
    ------
    InputFileError
        If no sample lies within the grid, or hardly any does, or all lie next to its centre; or
        if shots and samples are exchanged.
    """
    provenance = {"warnings": [], "processing": [], **(provenance or {})}
    raw = RawTrajectoryData(
        path=path,
        format=format_name,
        n_slices=n_slices,
        n_coils=n_coils,
        shape=shape,
        mask=np.ones((1, 1, shape[1]), bool),
        noise_covariance=noise_covariance,
        geometry=geometry,
        crop=crop,
        source=_NoLines(ground_truth),
        acquisition=acquisition,
        size_is_known=size_is_known,
        provenance=provenance,
        shots=shots,
        n_shots=n_shots,
        n_samples=n_samples,
        kind=OTHER,
        units=units,
    )
    trajectory = _finite_shots(raw)
    inside = raw.on_grid(trajectory)
    extent = float(np.abs(trajectory).max(initial=0))
    if extent < LEAST_EXTENT or 2 * inside.sum() < inside.size:
        raise InputFileError(
            f"{path}: the trajectory reaches {extent:.4g} cycles per field of view, taken as "
            f"{units}, and the grid of {shape[0]} x {shape[1]} has {min(shape) / 2:g}: give the "
            "right unit (--trajectory-units), or the right matrix (--matrix)"
        )
    if is_transposed(trajectory):
        raise InputFileError(
            f"{path}: the trajectory jumps from sample to sample and goes in small steps from shot "
            f"to shot, of both of which there are {raw.n_shots}, so they seem to be exchanged: "
            "hand in (shot, sample) in the trajectory and in the k-space"
        )
    if not inside.all():
        told = (
            f"{int((~inside).sum())} of {inside.size} samples of a slice lie beyond the image's "
            "grid, which cannot show them, and are left out"
        )
        if (~inside).mean() > LARGEST_BEYOND:  # what was said of units or matrix may be wrong
            unit = f"the trajectory is taken as {units}, and reaches {extent:.4g} cycles per field "
            told = f"{path}: {told}: {unit}of view: check --trajectory-units and --matrix"
        key = "warnings" if (~inside).mean() > LARGEST_BEYOND else "processing"
        provenance[key] = [*provenance[key], told]  # type: ignore[misc]
    raw = dataclasses.replace(raw, kind=kind_of(trajectory), provenance=provenance)
    if raw.kind == RADIAL:
        raw = with_room(raw)
        trajectory = _finite_shots(raw)
    mask = visited_points(trajectory[inside][np.newaxis], raw.shape)[np.newaxis]
    return dataclasses.replace(raw, mask=mask)


def _finite_shots(raw: RawTrajectoryData) -> np.ndarray:
    """Of the first slice: others are named when they are read, or are left out by then."""
    trajectory = np.array(raw.shots.trajectory(0), np.float64)
    good = np.isfinite(trajectory).all(axis=(1, 2))
    return trajectory[good] if good.any() else raw.trajectory(0)


def check_shapes(name: str, kspace: np.ndarray, trajectory: np.ndarray) -> None:
    """Check that samples and trajectory belong together.

    Parameters
    ----------
    name : str
        Beginning of the message.
    kspace : np.ndarray
        (slice, coil, shot, sample).
    trajectory : np.ndarray
        (shot, sample, 2), or with a slice axis.

    Raises
    ------
    ShapeError
        If they do not.
    """
    if kspace.ndim != 4 or not np.iscomplexobj(kspace):
        raise ShapeError(
            f"{name}: found k-space {kspace.dtype} {kspace.shape}, expected complex (slice, coil, "
            "shot, sample), without the first axes where there is one"
        )
    fits = trajectory.ndim in (3, 4) and trajectory.shape[-1] in (2, 3)
    if not fits or trajectory.dtype.kind not in "iuf":
        raise ShapeError(
            f"{name}: found a trajectory {trajectory.dtype} {trajectory.shape}, expected real "
            "(shot, sample, 2), with or without a slice axis"
        )
    n_slices = trajectory.shape[0] if trajectory.ndim == 4 else 1
    if n_slices not in (1, len(kspace)):
        raise ShapeError(
            f"{name}: found trajectories of {n_slices} slices and k-space of {len(kspace)}, "
            "expected one for all slices, or one for each: hand in those that belong together"
        )
    if trajectory.shape[-3:-1] != kspace.shape[2:]:
        raise ShapeError(
            f"{name}: the trajectory has {trajectory.shape[-3]} shots of {trajectory.shape[-2]} "
            f"samples, the k-space {kspace.shape[2]} shots of {kspace.shape[3]}: hand in those "
            "that belong together, (shots, samples) in both"
        )
