"""How many shots of a radial or spiral scan are needed: selections of them instead of masks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.calibration import SMALLEST_SINGLE
from mri_alps.core.errors import ConfigurationError
from mri_alps.masks.study.candidates import MEASURED, Candidate, Masks
from mri_alps.rawdata import RawTrajectoryData, covered_radius

if TYPE_CHECKING:
    from mri_alps.pipeline import ReconstructionConfiguration
    from mri_alps.rawdata import RawKSpace

FIRST, SPREAD = "first", "spread"
SHOT_KINDS = (FIRST, SPREAD)
"""The first n shots, as if the scan had been stopped; or every k-th, as if planned so."""
DEFAULT_SHOT_ACCELERATIONS = (1.0, 2.0, 4.0, 8.0)
"""By which the number of a scan's shots is divided where nothing else is said."""
COMPLETE = 1.1
"""Up to this many times fewer shots than full sampling takes, their image is a reference."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShotCandidate(Candidate):
    """Some of the shots of a scan.

    Parameters
    ----------
    count : int, optional
        How many; the scan's divided by the acceleration if left out.
    """

    count: int | None = None

    def mask(self, raw: RawKSpace, configuration: ReconstructionConfiguration) -> np.ndarray:  # noqa: ARG002
        """Return which shots are used, bool (1, shots).

        Parameters
        ----------
        raw, configuration
            As `Candidate.mask` takes them; the settings say nothing of shots.

        Raises
        ------
        ConfigurationError
            If the scan has fewer.
        """
        assert isinstance(raw, RawTrajectoryData)
        return self.of_scan(raw)

    def of_scan(self, raw: RawTrajectoryData) -> np.ndarray:
        """Return which shots are used, as `mask` does."""
        assert isinstance(self.source, str)
        total = raw.n_shots
        count = self.count or max(1, round(total / self.acceleration))
        if count > total:
            raise ConfigurationError(
                f"{raw.path} has {total} shots, and {count} were asked for: change --shots"
            )
        return select_shots(self.source, count, total)


def select_shots(kind: str, count: int, total: int) -> np.ndarray:
    """Return which shots are used, bool (1, total).

    Parameters
    ----------
    kind : str
        "first"; or "spread", whose steps are equal, so that there may be some more or fewer.
    count, total : int
        Of shots that are wanted, and that there are.
    """
    chosen = np.zeros((1, total), bool)
    if kind == SPREAD:
        chosen[0, :: max(1, round(total / count))] = True
    else:
        chosen[0, : total if kind == MEASURED else count] = True
    return chosen


def as_setting(mask: np.ndarray) -> str:
    """Return the setting `shots` that chooses what `select_shots` selected.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool (1, shots), at equal steps.
    """
    used = np.flatnonzero(mask[0])
    step = int(used[1] - used[0]) if len(used) > 1 else 1
    return f"{used[0]}:{used[-1] + 1}:{step}"


def shot_candidates(
    raw: RawTrajectoryData,
    masks: Masks | None,
    accelerations: Sequence[float] | None,
    counts: Sequence[int] | None,
) -> tuple[ShotCandidate, ...]:
    """List which numbers of shots are compared.

    Parameters
    ----------
    raw : RawTrajectoryData
        The first scan.
    masks : sequence of str, optional
        "first", "spread", "measured"; if left out the one of the first two that covers the
        centre of k-space farther with the fewest shots.
    accelerations : sequence of float, optional
        By which the scan's shots are divided.
    counts : sequence of int, optional
        Of shots, instead of accelerations.

    Raises
    ------
    ConfigurationError
        If there are other masks, or numbers that cannot be.
    """
    if isinstance(masks, Mapping) or any(m not in (*SHOT_KINDS, MEASURED) for m in masks or ()):
        raise ConfigurationError(
            f"{raw.path} is a {raw.kind} scan along a trajectory, whose shots are left out in the "
            f"place of lines: --masks {FIRST} (the first of them), {SPREAD} (every k-th), or both, "
            "and how many by --shots 200,100,50"
        )
    given = counts if counts is not None else accelerations or DEFAULT_SHOT_ACCELERATIONS
    least = 1
    wrong = [value for value in given if not (math.isfinite(value) and value >= least)]
    if wrong or not given:
        option = "--shots" if counts is not None else "--accelerations"
        raise ConfigurationError(
            f"found {wrong[0] if wrong else 'nothing'} in {option}, expected numbers of at least "
            f"{least}: change {option}"
        )
    total = raw.n_shots
    if counts is not None:
        pairs = [(round(total / n, 3), n) for n in sorted(set(map(int, counts)), reverse=True)]
    else:
        pairs = [(float(value), 0) for value in sorted(set(given))]
    if masks is None:
        fewest = pairs[-1][1] or max(1, round(total / pairs[-1][0]))
        masks = (_farther(raw, fewest),)
    found = [
        ShotCandidate(name, acceleration, name, count or None)
        for name in dict.fromkeys(masks)
        for acceleration, count in (((1.0, 0),) if name == MEASURED else pairs)
    ]
    if counts is None and accelerations is None:
        found = [candidate for candidate in found if _radius_of(raw, candidate) >= SMALLEST_SINGLE]
    return tuple(found)


def shot_masks(
    candidates: Sequence[ShotCandidate],
    raw: RawTrajectoryData,
    configuration: ReconstructionConfiguration,
) -> dict[Candidate, np.ndarray]:
    """Return which shots each candidate uses of a scan, before anything is computed with them.

    Parameters
    ----------
    candidates : sequence of ShotCandidate
        From `shot_candidates`.
    raw, configuration
        As `Candidate.mask` takes them.

    Raises
    ------
    ConfigurationError
        If the scan has fewer shots, or so few are left that there is no image.
    """
    found: dict[Candidate, np.ndarray] = {}
    for candidate in candidates:
        radius = _radius_of(raw, candidate)
        if radius < SMALLEST_SINGLE:
            raise ConfigurationError(
                f"{raw.path}: {candidate.label} leaves the centre of k-space covered only up to "
                f"{radius:g} cycles per field of view, where an image takes {SMALLEST_SINGLE}: "
                "compare larger numbers of shots"
            )
        found[candidate] = candidate.mask(raw, configuration)
    return found


def _radius_of(raw: RawTrajectoryData, candidate: ShotCandidate) -> float:
    return covered_radius(raw.trajectory(0)[candidate.of_scan(raw)[0]])


def _farther(raw: RawTrajectoryData, count: int) -> str:
    """Golden angles are made to be stopped anywhere; other orders fill k-space only in the end."""
    places = raw.trajectory(0)
    radius = {
        kind: covered_radius(places[select_shots(kind, count, raw.n_shots)[0]])
        for kind in SHOT_KINDS
    }
    return SPREAD if radius[SPREAD] > radius[FIRST] else FIRST
