"""Gradient delays of radial scans: where along its spoke a sample really lies.

Gradients and receiver are not in time to within a sample, so that samples lie farther along their
spoke than the trajectory says, by d^T S d for a spoke of direction d and a symmetric S (Rosenzweig,
Holme and Uecker, Magn Reson Med 81:1898, 2019, and the literature there). Two spokes of opposite
directions measure the same line of k-space with the shift in opposite directions: the projections
differ by a phase that is linear over the field of view, and twice the shift (Block and Uecker,
Proc ISMRM 19:2816, 2011).
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import LARGEST_SHARE, readout_to_image, share_outside

if TYPE_CHECKING:
    from mri_alps.rawdata import RawTrajectoryData

LARGEST_ANGLE = 5.0
"""Degrees by which spokes may fail to be opposed and still be compared."""
FEWEST_PAIRS = 3
"""Of different directions, that three numbers are found from."""
LARGEST_ERROR = 0.1
"""Standard error, in cycles per field of view, above which pairs do not agree on any delay."""
TOLD, WARNED = 0.05, 0.1
"""Cycles per field of view from which a delay is noted, and warned of."""


@dataclass(frozen=True)
class GradientDelays:
    """Shift of samples along their spokes, in cycles per field of view.

    Parameters
    ----------
    first, mixed, second : float
        S_00, S_01 and S_11: `first` is the shift of spokes along the first image axis (readout),
        `second` of those along the second. Positive where samples lie farther along the spoke, in
        the direction in which it is read, than the trajectory says.
    n_pairs : int
        Pairs of opposed spokes they were found from.
    """

    first: float
    mixed: float
    second: float
    n_pairs: int

    @property
    def largest(self) -> float:
        """Largest shift of a spoke of any direction."""
        matrix = np.array([[self.first, self.mixed], [self.mixed, self.second]])
        return float(np.abs(np.linalg.eigvalsh(matrix)).max())

    def applied_to(self, trajectory: np.ndarray) -> np.ndarray:
        """Return where the samples really lie.

        Parameters
        ----------
        trajectory : numpy.ndarray
            float (shots, samples, 2), nominal.
        """
        direction = _directions(trajectory)
        shift = (
            self.first * direction[:, 0] ** 2
            + 2 * self.mixed * direction[:, 0] * direction[:, 1]
            + self.second * direction[:, 1] ** 2
        )
        return trajectory + (shift[:, np.newaxis] * direction)[:, np.newaxis]

    def __str__(self) -> str:
        return (
            f"samples lie {self.first:+.3f} cycles per field of view farther along spokes of the "
            f"first image axis and {self.second:+.3f} of the second (mixed {self.mixed:+.3f}) than "
            f"the trajectory says, by {self.n_pairs} pairs of opposed spokes"
        )


def scan_delays(
    raw: RawTrajectoryData, corrected: bool
) -> tuple[GradientDelays | None, list[str], list[str]]:
    """Measure the delays of a scan, and say what they are.

    Parameters
    ----------
    raw : RawTrajectoryData
        The scan; up to three slices are read.
    corrected : bool
        Whether they are to be corrected.

    Returns
    -------
    delays : GradientDelays or None
        None of trajectories that are not radial, and where they could not be measured.
    warnings, remarks : list of str
        Sentences.
    """
    if raw.kind != "radial":
        told = "gradient delays can be measured and corrected of radial scans alone"
        return None, [f"{raw.path}: {told}: leave --correct-delays out"] if corrected else [], []
    slices = []
    for index in sorted({raw.n_slices // 4, raw.n_slices // 2, 3 * raw.n_slices // 4}):
        with contextlib.suppress(InputFileError):  # said when this slice is asked for
            samples = raw.read_samples(index)
            largest = np.abs(samples).max(initial=0.0)
            if largest > 0:  # of any unit: products of them leave single precision
                slices.append((samples / largest, raw.trajectory(index)))
    beside = max((share_outside(*each) for each in slices), default=math.nan)
    warned = []
    if beside > LARGEST_SHARE:
        warned = [
            f"{raw.path}: the object is larger than the field of view of the image: "
            f"{100 * beside:.1f} % of the energy of the projections lie beside it, where at most "
            f"{100 * LARGEST_SHARE:.0f} % is expected, and fold into the image: reconstruct on a "
            "larger one (correct the header's encoded matrix and field of view, or hand in k times "
            "two with twice the matrix)"
        ]
    found = measure_delays(slices) if slices else None
    if found is None:
        told = (
            f"{raw.path}: gradient delays could not be measured, since too few of its "
            f"{raw.n_used_shots} spokes are read in opposite directions, or these do not agree"
        )
        return (None, [*warned, told], []) if corrected else (None, warned, [told])
    if corrected:
        return found, warned, [f"{raw.path}: gradient delays are corrected: {found}"]
    told = f"{raw.path}: gradient delays: {found}"
    if found.largest >= WARNED:
        return (
            found,
            [*warned, f"{told}; correct them by --correct-delays (correct_delays=True)"],
            [],
        )
    return found, warned, [told] if found.largest >= TOLD else []


def measure_delays(
    slices: list[tuple[np.ndarray, np.ndarray]],
) -> GradientDelays | None:
    """Measure the delays of a radial scan.

    Parameters
    ----------
    slices : list of (numpy.ndarray, numpy.ndarray)
        Samples, complex (coils, shots, samples), and trajectory, float (shots, samples, 2), of
        some slices.

    Returns
    -------
    GradientDelays or None
        None where there are too few opposed spokes to tell, or they do not agree, or samples are
        not equally far apart.
    """
    rows, shifts, weights = [], [], []
    for samples, trajectory in slices:
        for one, other in opposed_pairs(trajectory):
            found = _shift_of(samples[:, [one, other]], trajectory[[one, other]])
            if found is None:
                return None
            x, y = _directions(trajectory[[one]])[0]
            rows.append((x * x, 2 * x * y, y * y))
            shifts.append(found[0])
            weights.append(found[1])
    if len(rows) < FEWEST_PAIRS:
        return None
    root = np.sqrt(np.array(weights) / max(weights))
    matrix = np.array(rows) * root[:, np.newaxis]
    singular = np.linalg.svd(matrix, compute_uv=False)
    if singular[-1] < 0.05 * singular[0]:  # all of nearly the same direction
        return None
    target = np.array(shifts) * root
    solved = np.linalg.lstsq(matrix, target, rcond=None)[0]
    scatter = float(((target - matrix @ solved) ** 2).sum()) / max(len(rows) - 3, 1)
    error = np.sqrt(scatter * np.diag(np.linalg.inv(matrix.T @ matrix)).max())
    if not error <= LARGEST_ERROR:
        return None
    first, mixed, second = (float(value) for value in solved)
    return GradientDelays(first, mixed, second, len(rows))


def opposed_pairs(trajectory: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of spokes through the centre that are read in opposite directions.

    Parameters
    ----------
    trajectory : numpy.ndarray
        float (shots, samples, 2).
    """
    through = (trajectory[:, 0] * trajectory[:, -1]).sum(-1) < 0
    direction = _directions(trajectory)
    angle = np.arctan2(direction[:, 1], direction[:, 0])
    pairs = set()
    for one in np.flatnonzero(through):
        off = np.abs(np.angle(np.exp(1j * (angle - angle[one] - np.pi))))
        off[~through] = np.inf
        other = int(off.argmin())
        if off[other] <= np.deg2rad(LARGEST_ANGLE):
            pairs.add((min(int(one), other), max(int(one), other)))
    return sorted(pairs)


def _directions(trajectory: np.ndarray) -> np.ndarray:
    """Unit vectors in which spokes are read, (shots, 2)."""
    direction = trajectory[:, -1] - trajectory[:, 0]
    return direction / np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-12)


def _shift_of(pair: np.ndarray, trajectory: np.ndarray) -> tuple[float, float] | None:
    """Return shift in cycles per field of view and its weight, from two opposed spokes.

    With samples of the first at places t + shift along its direction those of the other, which is
    read the other way, lie at t - shift: the projections' phases differ by -4 pi x shift.
    """
    direction = _directions(trajectory)[0]
    along = trajectory @ direction  # (2, samples), the second one falling
    step = float(np.diff(along[0]).mean())
    if step <= 0 or np.abs(np.diff(along, axis=1)).std() > 0.01 * step:
        return None
    n_samples = along.shape[1]
    one = readout_to_image(np.ascontiguousarray(pair[:, 0]), 1)
    other = readout_to_image(np.ascontiguousarray(pair[:, 1, ::-1]), 1)
    position = (np.arange(n_samples) - n_samples // 2) / (n_samples * step)  # in fields of view
    middle = n_samples // 2
    apart = along[0, middle] - along[1, ::-1][middle]  # of the nominal places
    product = (one * other.conj()).sum(axis=0) * np.exp(2j * np.pi * position * apart)
    neighbours = (product[1:] * product[:-1].conj()).sum()
    slope = np.angle(neighbours) / (position[1] - position[0])
    return float(-slope / (4 * np.pi)), float(np.abs(neighbours))
