"""Split conformal calibration: intervals made right on volumes whose truth is known.

The score of a volume is the factor by which the half-widths of its intervals must be multiplied so
that they hold the truth at 90 % of its pixels in the head. For n volumes with scores q_1 ... q_n
and a new one that is exchangeable with them,

    P(q_new <= k-th smallest of q_1 ... q_n) >= k / (n + 1),

whatever the prior, the sampler and the distribution of images are (Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005; Angelopoulos and Bates, A Gentle Introduction to
Conformal Prediction, 2021, arXiv:2107.07511, equation 1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import Text, Whole, setting, settings, settings_text

COVERAGE = 0.9
"""Of the intervals: share of the pixels of a volume's head that they are to hold."""
CALIBRATION_FORMAT = "mri_alps calibration 1"
ACCELERATION_TOLERANCE = 0.1
"""How far an acceleration may lie outside the range of the calibration's volumes, relative."""
_EQUAL = 1e-6  # relative, of the factor in a file and that of its scores

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Conditions:
    """What a reconstruction was made of and how: a calibration holds for equal ones alone.

    Parameters
    ----------
    acquisition : str
        The scan's acquisition attribute, or an empty text.
    pattern : str
        "regular lines", "irregular lines" or "points".
    acceleration : float
        Points of k-space over those that were used.
    prior : str
        Hash of its weights.
    method : str
        The sampler.
    n_samples, n_evaluations : int
        Of each slice, and of each sample.
    start : str
        "prior", "file", "cg-sense" or "wavelet": what sampling starts from.
    """

    acquisition: str
    pattern: str
    acceleration: float
    prior: str
    method: str
    n_samples: int
    n_evaluations: int
    start: str


SHARED_CONDITIONS = ("pattern", "prior", "method", "n_samples", "n_evaluations", "start")
"""Those that are the same for all volumes of a calibration."""


@settings
class ConformalCalibration:
    """Scores of volumes whose truth is known, and what they hold for.

    Raises
    ------
    ConfigurationError
        If a value makes no sense.
    """

    scores: tuple[Positive, ...] = setting(
        "Factor that each volume's intervals need.", values="a list of positive numbers"
    )
    volumes: tuple[Text, ...] = setting("Names of their files.", values="a list of as many names")
    acquisitions: tuple[Text, ...] = setting(
        "Acquisition attributes of the volumes.", values="a list of texts"
    )
    accelerations: tuple[Positive, Positive] = setting(
        "The smallest and the largest.", values="two positive numbers"
    )
    pattern: Text = setting("Kind of mask.")
    prior: Text = setting("Hash of its weights.")
    method: Text = setting("The sampler.")
    n_samples: Whole = setting("Per slice.", at_least=2)
    n_evaluations: Whole = setting("Per sample.", at_least=1)
    start: Text = setting("What sampling starts from.")
    confidence: float = setting("That was asked for.", default=0.9, above=0, below=1)
    anatomy: Text = setting("What the volumes show, for people.", default="")

    def __post_init__(self) -> None:
        """Refuse lists that do not go together."""
        if not self.scores or len(self.scores) != len(self.volumes):
            raise ConfigurationError(
                f"a calibration has {len(self.scores)} scores and {len(self.volumes)} volumes, "
                "expected as many of both, one at least"
            )

    @property
    def rank(self) -> int:
        """Which of the scores, from the smallest, is the factor."""
        wanted = math.ceil((len(self.scores) + 1) * self.confidence - 1e-9)
        return min(max(wanted, 1), len(self.scores))

    @property
    def factor(self) -> float:
        """By which the half-widths of intervals are multiplied."""
        return sorted(self.scores)[self.rank - 1]

    @property
    def guarantee(self) -> float:
        """Least probability that the intervals of a new volume hold 90 % of its head."""
        return self.rank / (len(self.scores) + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return what a file holds, as JSON can hold it."""
        names = ("factor", "guarantee", "confidence", "anatomy", "acquisitions", "accelerations")
        return {
            "format": CALIBRATION_FORMAT,
            "coverage": COVERAGE,
            **{name: getattr(self, name) for name in (*names, *SHARED_CONDITIONS)},
            "volumes": self.volumes,
            "scores": self.scores,
        }

    def differences(self, found: Conditions) -> list[str]:
        """Return in words in what conditions differ from those that this holds for.

        Parameters
        ----------
        found : Conditions
            Of another reconstruction.
        """
        low, high = self.accelerations
        tolerance = 1 + ACCELERATION_TOLERANCE
        differ = []
        if found.acquisition not in self.acquisitions:
            known = ", ".join(map(_named, self.acquisitions))
            differ.append(f"acquisition {_named(found.acquisition)} instead of {known}")
        if not low / tolerance <= found.acceleration <= high * tolerance:
            differ.append(
                f"acceleration {found.acceleration:.3g} instead of {low:.3g} to {high:.3g}"
            )
        for name in SHARED_CONDITIONS:
            ours, theirs = getattr(self, name), getattr(found, name)
            if ours != theirs:
                differ.append(f"{name} {_short(theirs)} instead of {_short(ours)}")
        return differ


def _named(acquisition: str) -> str:
    return acquisition or "without a name"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:8]}..."


def volume_score(
    reference: np.ndarray, lower: np.ndarray, upper: np.ndarray, region: np.ndarray
) -> float:
    """Return the factor that the intervals of a volume need to hold 90 % of a region.

    Parameters
    ----------
    reference, lower, upper : numpy.ndarray
        Real, one shape, one unit.
    region : numpy.ndarray
        Bool, same shape, not empty.

    Returns
    -------
    float
        The smallest factor of the half-widths; infinite where more than a tenth of the
        intervals have no width, or nothing is known.
    """
    lower, upper = lower[region].astype(np.float64), upper[region].astype(np.float64)
    distance = np.abs(reference[region] - (lower + upper) / 2)
    half_width = (upper - lower) / 2
    ratio = np.full(distance.shape, np.inf)
    np.divide(distance, half_width, out=ratio, where=half_width > 0)
    ratio[np.isnan(ratio)] = np.inf
    return float(np.quantile(ratio, COVERAGE, method="inverted_cdf"))


def widen_interval(
    lower: np.ndarray, upper: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Multiply the half-widths of intervals; their middles stay.

    Parameters
    ----------
    lower, upper : numpy.ndarray
        Of one shape.
    factor : float
        Positive.
    """
    middle, half_width = (lower + upper) / 2, (upper - lower) / 2 * factor
    return middle - half_width, middle + half_width


def combine_scores(
    names: Sequence[str],
    scores: Sequence[float],
    conditions: Sequence[Conditions],
    confidence: float = 0.9,
    anatomy: str = "",
) -> ConformalCalibration:
    """Make a calibration of what was found on each volume.

    Parameters
    ----------
    names : sequence of str
        Of the volumes, for messages.
    scores : sequence of float
        See `volume_score`.
    conditions : sequence of Conditions
        How each volume was reconstructed.
    confidence : float
        Wanted probability that a new volume's intervals hold 90 % of its head.
    anatomy : str
        What the volumes show; their acquisitions if empty.

    Raises
    ------
    ConfigurationError
        If the volumes were not reconstructed alike, or the confidence makes no sense.
    """
    first = conditions[0]
    for name, found in zip(names, conditions, strict=True):
        differ = [
            each for each in SHARED_CONDITIONS if getattr(found, each) != getattr(first, each)
        ]
        if differ:
            raise ConfigurationError(
                f"{name} and {names[0]} differ in {', '.join(differ)} "
                f"({_short(getattr(found, differ[0]))} and {_short(getattr(first, differ[0]))}): "
                "a calibration holds for one way of reconstructing, calibrate each for itself"
            )
    accelerations = [found.acceleration for found in conditions]
    acquisitions = tuple(sorted({found.acquisition for found in conditions}))
    return ConformalCalibration(
        scores=tuple(scores),
        volumes=tuple(names),
        confidence=confidence,
        anatomy=anatomy or ", ".join(filter(None, acquisitions)),
        acquisitions=acquisitions,
        accelerations=(min(accelerations), max(accelerations)),
        **{name: getattr(first, name) for name in SHARED_CONDITIONS},
    )


def read_calibration(path: str | Path) -> ConformalCalibration:
    """Read what `mri-alps calibrate` wrote.

    Parameters
    ----------
    path : str or pathlib.Path
        JSON.

    Raises
    ------
    ConfigurationError
        If it is no such file, or damaged.
    """
    advice = "expected a file that mri-alps calibrate wrote"
    try:
        content = json.loads(settings_text(Path(path)))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigurationError):
            raise
        reason = getattr(error, "strerror", None) or "no JSON"
        raise ConfigurationError(
            f"the calibration {path} cannot be read ({reason}): {advice}"
        ) from None
    if not isinstance(content, dict) or content.pop("format", None) != CALIBRATION_FORMAT:
        raise ConfigurationError(
            f"the calibration {path} does not say that it is a {CALIBRATION_FORMAT!r}: {advice}"
        )
    stated = {name: content.pop(name, None) for name in ("factor", "guarantee", "coverage")}
    try:
        found = ConformalCalibration(**content)
    except ConfigurationError as error:
        raise ConfigurationError(f"the calibration {path} is damaged ({error}): {advice}") from None
    wanted = {"factor": found.factor, "guarantee": found.guarantee, "coverage": COVERAGE}
    for name, value in wanted.items():
        if not _is_equal(stated[name], value):
            raise ConfigurationError(
                f"the calibration {path} states a {name} of {_short(stated[name])} where its "
                f"scores say {value:.6g}: it is damaged or was edited, make it again with "
                "mri-alps calibrate"
            )
    return found


def _is_equal(stated: object, value: float) -> bool:
    is_number = isinstance(stated, (int, float)) and not isinstance(stated, bool)
    return is_number and math.isclose(stated, value, rel_tol=_EQUAL)  # type: ignore[arg-type]
