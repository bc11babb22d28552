"""Which masks are compared: kinds at accelerations, user files, arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.masks.files import load_mask
from mri_alps.masks.kinds import MASK_KINDS, achieved_acceleration, as_boolean_mask, make_mask
from mri_alps.pipeline import ReconstructionConfiguration, mask_seed

if TYPE_CHECKING:
    from mri_alps.rawdata import RawKSpace

MEASURED = "measured"
"""The mask that leaves nothing out."""

SAME_BUDGET = 0.1
"""A user's mask is compared with kinds whose acceleration is at most so much another."""

Masks = Sequence[str] | Mapping[str, "str | np.ndarray"]


@dataclasses.dataclass(frozen=True, eq=False)  # known by itself: a mask has no hash
class Candidate:
    """One mask of a study.

    Parameters
    ----------
    name : str
        As tables call it.
    acceleration : float
        That it is asked to have, or is nearest to: candidates of one acceleration are compared
        with one another.
    source : str or numpy.ndarray
        A kind of mask, `MEASURED`, a file, or the mask itself.
    """

    name: str
    acceleration: float
    source: str | np.ndarray

    @property
    def label(self) -> str:
        """Name and acceleration."""
        return f"{self.name} {self.acceleration:.4g}x"

    def mask(self, raw: RawKSpace, configuration: ReconstructionConfiguration) -> np.ndarray:
        """Return the mask for a scan, bool, (1, phase_encode) or (readout, phase_encode).

        Parameters
        ----------
        raw : RawKSpace
            Its matrix, and its name for the seed.
        configuration : ReconstructionConfiguration
            Seed and centre fraction.

        Raises
        ------
        MriAlpsError
            If the mask cannot be had for this scan.
        """
        if not isinstance(self.source, str):
            return as_boolean_mask(self.source, raw.shape, f"mask {self.name!r}")
        if self.source == MEASURED:
            return np.ones((1, raw.shape[1]), dtype=bool)
        if self.source not in MASK_KINDS:
            return load_mask(self.source, raw.shape)
        settings = dataclasses.replace(configuration, acceleration=self.acceleration)
        return make_mask(
            self.source,
            raw.shape,
            self.acceleration,
            settings.effective_center_fraction,
            mask_seed(raw, configuration),
        )


def make_candidates(
    masks: Masks, accelerations: Sequence[float], raw: RawKSpace
) -> tuple[Candidate, ...]:
    """List what is compared: every kind at every acceleration, every given mask once.

    Parameters
    ----------
    masks : sequence of str, or mapping of names to str or numpy.ndarray
        Kinds, "measured", files, arrays.
    accelerations : sequence of float
        Of the kinds.
    raw : RawKSpace
        The first scan: a given mask is put beside the acceleration that it is nearest to there.

    Raises
    ------
    ConfigurationError
        If there is nothing to compare, an acceleration is below 1, or two masks have one name.
    InputFileError
        If a mask's file cannot be used.
    """
    given = masks if isinstance(masks, Mapping) else {_mask_name(mask): mask for mask in masks}
    if not given:
        raise ConfigurationError(
            "no mask to compare was given: name kinds or files in --masks (kinds are "
            f"{', '.join(MASK_KINDS)})"
        )
    if len(given) < len(masks):
        names = [_mask_name(mask) for mask in masks]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(
            f"two of the masks are called {twice}: name each once, and files differently"
        )
    wrong = [value for value in accelerations if not (math.isfinite(value) and value >= 1)]
    if wrong or not accelerations:
        raise ConfigurationError(
            f"an acceleration is a number of at least 1, found {wrong[0] if wrong else 'none'}: "
            "change --accelerations"
        )
    accelerations = sorted(set(map(float, accelerations)))
    candidates = []
    for name, source in given.items():
        if isinstance(source, str) and source in MASK_KINDS:
            candidates += [Candidate(name, value, source) for value in accelerations]
            continue
        if isinstance(source, str) and source != MEASURED:
            _require_file(source)
        alone = Candidate(name, 1.0, source)
        achieved = achieved_acceleration(_within(alone, raw))
        nearest = min(accelerations, key=lambda value: abs(math.log(value / achieved)))
        close = abs(nearest / achieved - 1) <= SAME_BUDGET
        candidates.append(
            dataclasses.replace(alone, acceleration=nearest if close else round(achieved, 2))
        )
    return tuple(candidates)


def _mask_name(specification: str) -> str:
    """Return what a mask is called: its kind, or its file's name without suffix."""
    return specification if specification in MASK_KINDS else Path(specification).stem


def candidate_masks(
    candidates: Sequence[Candidate], raw: RawKSpace, configuration: ReconstructionConfiguration
) -> dict[Candidate, np.ndarray]:
    """Make all masks for a scan, before anything is computed with one.

    Parameters
    ----------
    candidates : sequence of Candidate
        From `make_candidates`.
    raw : RawKSpace
        The scan.
    configuration : ReconstructionConfiguration
        Seed and centre fraction.

    Raises
    ------
    InputFileError
        If a mask has nothing in common with what the scan measured.
    """
    found = {}
    for candidate in candidates:
        mask = candidate.mask(raw, configuration)
        for own in raw.mask:
            if not (mask & own).any():
                raise InputFileError(
                    f"{raw.path}: the scan measured nothing of what the mask {candidate.label} "
                    "takes: give a fully sampled scan, or a mask within what was measured"
                )
        found[candidate] = mask
    return found


def _within(candidate: Candidate, raw: RawKSpace) -> np.ndarray:
    """Return a given mask with what the scan did not measure taken out."""
    mask = candidate.mask(raw, ReconstructionConfiguration()) & raw.slice_mask(0)
    return mask if mask.any() else np.ones((1, 1), dtype=bool)  # refused later, with its reason


def _require_file(source: str) -> None:
    path = Path(source)
    if not (path.is_file() or path.with_suffix(".hdr").is_file()):
        raise ConfigurationError(
            f"{source!r} is neither a kind of mask ({', '.join(MASK_KINDS)}, {MEASURED}) nor a "
            "file: change --masks"
        )
