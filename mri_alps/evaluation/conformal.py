"""Calibrating intervals on reconstructions whose truth is known."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path

from mri_alps.core.errors import InputFileError, MriAlpsWarning
from mri_alps.evaluation.coverage import head_mask, interval_coverage
from mri_alps.evaluation.folder import pair_files, read_compared
from mri_alps.pipeline import conditions_of_file
from mri_alps.uncertainty import ConformalCalibration, combine_scores, volume_score


@dataclasses.dataclass(frozen=True)
class CalibrationReport:
    """A calibration, and what was found on the volumes that it is made of.

    Parameters
    ----------
    calibration : ConformalCalibration
        Scores, factor, guarantee, and what it holds for.
    coverage : tuple of float
        For each volume the share of the pixels in its head that its intervals hold as they are.
    """

    calibration: ConformalCalibration
    coverage: tuple[float, ...]


def calibrate_folder(
    reconstructions: str | Path,
    targets: str | Path,
    *,
    confidence: float = 0.9,
    anatomy: str = "",
) -> CalibrationReport:
    """Find the factor that intervals need, on reconstructions whose truth is known.

    Split conformal prediction over volumes: with the factor, at least 90 % of the pixels in the
    head of a new volume lie in their intervals, with a probability of at least `guarantee`, if
    the new volume is exchangeable with these. See `mri_alps.uncertainty.ConformalCalibration`.

    Parameters
    ----------
    reconstructions : str or pathlib.Path
        Folder of files of `mri-alps reconstruct`, made without calibration, or one such file.
    targets : str or pathlib.Path
        Folder of files with ``reconstruction_rss`` or ``reconstruction_esc``, or one such file.
    confidence : float
        Wanted probability, between 0 and 1.
    anatomy : str
        What the volumes show, for people; their acquisitions if empty.

    Returns
    -------
    CalibrationReport
        ``calibration.to_dict()``, as JSON, is what ``reconstruct --calibration`` takes.

    Raises
    ------
    InputFileError
        If a file cannot be used, or no target has a reconstruction; the message names it.
    ConfigurationError
        If the volumes were not reconstructed alike, or the confidence makes no sense.

    Warns
    -----
    MriAlpsWarning
        If targets have no reconstruction, or there are too few volumes for the confidence.
    """
    pairs, _ = pair_files("calibrate_folder", reconstructions, targets)
    names = [made.name for made, _ in pairs]
    conditions = [conditions_of_file(made) for made, _ in pairs]
    combine_scores(names, [1.0] * len(names), conditions, confidence)  # refused before the work
    found = [_score(*pair) for pair in pairs]
    scores = [score for score, _ in found]
    calibration = combine_scores(names, scores, conditions, confidence, anatomy)
    if calibration.guarantee < confidence - 1e-9:
        needed = math.ceil(confidence / (1 - confidence) - 1e-9)
        warnings.warn(
            f"{len(names)} volumes guarantee a confidence of {calibration.guarantee:.3g}, by the "
            f"largest factor among them, which is taken: {confidence:g} needs {needed} volumes",
            MriAlpsWarning,
            stacklevel=2,
        )
    return CalibrationReport(calibration, tuple(coverage for _, coverage in found))


def _score(reconstruction: Path, target: Path) -> tuple[float, float]:
    """Return the factor that a volume's intervals need, and what they hold without it."""
    compared = read_compared(reconstruction, target)
    names = ("reconstruction_lower", "reconstruction_upper")
    missing = [name for name in names if name not in compared.images]
    if missing:
        raise InputFileError(f"{reconstruction} has no dataset {missing[0]}: reconstruct it again")
    lower, upper = (compared.images[name] for name in names)
    region = head_mask(compared.reference)
    if not region.any():
        raise InputFileError(f"{target} shows no object: leave it out")
    score = volume_score(compared.reference, lower, upper, region)
    if not 0 < score < math.inf:
        raise InputFileError(
            f"{reconstruction}: no positive factor makes its intervals hold 90 % of the head, they "
            "have no width there or no error: leave it out, or reconstruct it again"
        )
    return score, interval_coverage(compared.reference, lower, upper, region)
