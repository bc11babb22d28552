"""What in a scan tells of its noise, compared: the level that does not understate is taken.

Signal makes a witness louder, a filter of k-space makes those far from its centre quieter, a wrong
bandwidth changes the noise scan. One that signal is found in is believed only as an upper bound.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mri_alps.calibration.image_corners import CENTRE_CORNERS, CORNERS, corner_estimates
from mri_alps.calibration.noise import noise_covariance
from mri_alps.calibration.noise_estimate import PERIPHERY, QUIET, NoiseEstimate, kspace_estimates
from mri_alps.core.magnitudes import unit_of

NOISE_SCAN = "noise scan"
DISAGREEMENT = 0.2
"""Difference of two levels (standard deviations), beside four standard errors, that is told."""
COIL_DISAGREEMENT = 0.5
"""The same for a single coil, beside six standard errors."""
MINOR = 2.0
"""Level over that of a quieter witness, or of a coil, up to which there is nothing to warn of: the
louder one is taken, and deviations are too large by less."""
STEEPEST_SIGNAL = 6.0
"""`signal_ratio` of the outer half of k-space from which it is a filter that falls, not signal."""
MILD_SIGNAL = 2.0
"""`signal_ratio` up to which a level is at most some 20 % too large."""
KSPACE_CORNERS, OUTER_HALF = "k-space corners", "outer half of k-space"
INNER, OUTER = 0.5, 0.75
"""Distance from the centre, along both axes, where the outer half and the corners begin."""
STEEPEST_FILTER = 2.2
"""Level at the centre of k-space over that of all of it up to which a filter may be the cause."""
FLAT_CORNERS = 1.5
"""`signal_ratio` of the corners of k-space up to which nothing falls there."""
_ORDER = (NOISE_SCAN, QUIET, OUTER_HALF, CORNERS, KSPACE_CORNERS)


@dataclass(frozen=True)
class NoiseVerdict:
    """The noise that is taken, and what disagrees.

    Parameters
    ----------
    chosen : NoiseEstimate
        Its covariance.
    witnesses : tuple of NoiseEstimate
        All, with those marked that others show to hold signal.
    note : str
        How they disagree; a sentence without the name of the scan, empty if they do not.
    is_minor : bool
        Whether all that this does is to widen deviations a little, and no noise scan is wrong.
    """

    chosen: NoiseEstimate
    witnesses: tuple[NoiseEstimate, ...]
    note: str = ""
    is_minor: bool = False


def noise_witnesses(
    kspace: np.ndarray, measured: np.ndarray, readout_crop: int | None = None
) -> list[NoiseEstimate]:
    """Return all that the k-space of a slice tells of its noise.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex (coils, readout, phase_encode), as measured, zero elsewhere.
    measured : numpy.ndarray
        bool (readout, phase_encode).
    readout_crop : int, optional
        Readout size of the final image, see `estimate_noise`.

    Returns
    -------
    list of NoiseEstimate
        At least one.

    Raises
    ------
    InputFileError
        If too few samples are measured.
    """
    unit = unit_of(kspace)
    found = kspace_estimates(kspace, measured, readout_crop)
    corners = corner_estimates(kspace / unit, measured, readout_crop)
    outer = outer_estimates(kspace / unit, measured)
    found += [witness.scaled(unit) for witness in [*corners, *outer]]
    # Zeros that were filled in, where the file does not say so, are no noise.
    return [witness for witness in found if witness.level > 0] or found[:1]


def outer_estimates(kspace: np.ndarray, measured: np.ndarray) -> list[NoiseEstimate]:
    """Estimate noise from the corners of k-space and from its outer half, where both axes are far.

    White noise is the same in both, up to the last sample; signal and filters fall outwards.

    Parameters
    ----------
    kspace, measured
        As `noise_witnesses` takes them.

    Returns
    -------
    list of NoiseEstimate
        Empty where too little of it is measured.
    """
    far = [np.abs(np.arange(n) - n // 2) / (n / 2) for n in measured.shape]
    nearest = np.minimum(far[0][:, None], far[1])
    farthest = np.maximum(far[0][:, None], far[1])
    corner = measured & (nearest > OUTER)
    inner = measured & (nearest > INNER) & (farthest <= OUTER)
    radius = np.hypot(far[0][:, None], far[1])
    if not corner.any():
        return []
    outermost = corner & (radius > np.median(radius[corner]))
    least = max(50, 4 * len(kspace))
    if min(int(inner.sum()), int(outermost.sum()), int((corner & ~outermost).sum())) < least:
        return []
    return [
        _estimate_by_region(kspace, corner & ~outermost, outermost, KSPACE_CORNERS),
        _estimate_by_region(kspace, inner, corner, OUTER_HALF),
    ]


def _estimate_by_region(
    kspace: np.ndarray, near: np.ndarray, far: np.ndarray, method: str
) -> NoiseEstimate:
    samples = kspace[:, near | far]
    power = (np.abs(kspace) ** 2).transpose(1, 2, 0)
    tiny = np.finfo(np.float32).tiny
    ratio = power[near].mean(axis=0) / np.maximum(power[far].mean(axis=0), tiny)
    return NoiseEstimate(noise_covariance(samples), method, samples.shape[1], float(ratio.mean()))


def judge(witnesses: Sequence[NoiseEstimate]) -> NoiseVerdict:
    """Compare witnesses of the same scan, and take the level that does not understate.

    Parameters
    ----------
    witnesses : sequence of NoiseEstimate
        At least one, of different methods.

    Returns
    -------
    NoiseVerdict
        Of those without signal the best, or the loudest where they disagree; coils that are
        louder in another one are raised to it.
    """
    corners_ratio = {w.method: w.signal_ratio for w in witnesses}.get(KSPACE_CORNERS)
    witnesses = _with_signal_marked(witnesses)
    clean = sorted((w for w in witnesses if not w.is_contaminated), key=_rank)
    if not clean:
        return _least_doubtful(witnesses, corners_ratio)
    chosen = clean[0]
    if chosen.method == NOISE_SCAN:  # which is doubted for what is seen beside the object alone
        clean = [w for w in clean if w.method not in (PERIPHERY, KSPACE_CORNERS, OUTER_HALF)]
    for other in clean[1:]:
        if _exceeds(other, chosen):
            chosen = other
    quieter = [w for w in witnesses if _exceeds(chosen, w)]
    loud = np.zeros(len(chosen.covariance), bool)
    covariance = chosen.covariance
    for other in clean:
        here = _loud_coils(other, chosen)
        covariance, loud = _raised(covariance, other.covariance, here), loud | here
    if not quieter and not loud.any():
        return NoiseVerdict(chosen, witnesses)
    gain = float(_ratios(dataclasses.replace(chosen, covariance=covariance), chosen).max())
    is_minor = max(gain, *(_mean_ratio(chosen, w) for w in quieter), 1.0) <= MINOR
    is_minor &= NOISE_SCAN not in (w.method for w in witnesses)  # which would be wrong
    where = "is not of one level"
    if loud.any():
        coils = ", ".join(map(str, np.flatnonzero(loud)))
        where = f"of coil {coils} is louder in one place than in another"
    note = f"the noise {where}: {listed(witnesses, chosen)}"
    chosen = dataclasses.replace(chosen, covariance=covariance)
    return NoiseVerdict(chosen, witnesses, note, is_minor)


def _with_signal_marked(witnesses: Sequence[NoiseEstimate]) -> tuple[NoiseEstimate, ...]:
    """Mark what others show to be no noise: louder than white or filtered noise can be."""
    by_name = {witness.method: witness for witness in witnesses}
    corners = [by_name[name] for name in (CORNERS, CENTRE_CORNERS) if name in by_name]
    signal: set[str] = set()
    if len(corners) == 2 and _mean_ratio(corners[1], corners[0]) > STEEPEST_FILTER:
        signal |= {CORNERS, CENTRE_CORNERS}
    scan = by_name.get(NOISE_SCAN)
    if len(corners) == 2 and scan is not None and not _exceeds(corners[0], scan):
        # A filter makes the average quieter than a noise scan, not the centre louder.
        signal |= {CENTRE_CORNERS} if _exceeds(corners[1], scan) else set()
    # No filter makes the edge of k-space louder than what averages over all of it.
    average = [w for w in witnesses if w.method in (QUIET, CORNERS) and w.method not in signal]
    average = [w for w in average if not w.is_contaminated]
    outer = [by_name[name] for name in (PERIPHERY, KSPACE_CORNERS, OUTER_HALF) if name in by_name]
    signal |= {w.method for w in outer if any(_exceeds(w, other) for other in average)}
    half = by_name.get(OUTER_HALF)
    if half is not None and PERIPHERY in by_name and _exceeds(half, by_name[PERIPHERY]):
        signal.add(OUTER_HALF)  # flat, and yet not noise: edges finer than the pixels
    if half is None or half.is_contaminated or OUTER_HALF in signal:
        signal.add(KSPACE_CORNERS)
    else:  # the noise is white, and the periphery has the middle of the readout's frequencies
        nearer = [w for w in (*corners, by_name.get(PERIPHERY)) if w is not None]
        loud = (w for w in nearer if _exceeds(w, half) or _loud_coils(w, half).any())
        signal |= {witness.method for witness in loud}
    if half is not None and half.is_contaminated:
        signal.discard(OUTER_HALF)  # which is known; its ratio tells filters from signal
    return tuple(
        dataclasses.replace(w, signal_ratio=math.inf) if w.method in signal else w
        for w in witnesses
    )


def _least_doubtful(
    witnesses: tuple[NoiseEstimate, ...], corners_ratio: float | None
) -> NoiseVerdict:
    """Take the best witness where all have signal in them.

    `corners_ratio` is the signal ratio of the corners of k-space alone: where that is flat, the
    noise was reached, and nothing filters it.
    """
    by_name = {witness.method: witness for witness in witnesses}
    outer, corners = by_name.get(OUTER_HALF), by_name.get(CORNERS)
    quietest = min(witnesses, key=lambda witness: witness.level)
    is_filtered = outer is not None and STEEPEST_SIGNAL < outer.signal_ratio < math.inf
    is_filtered &= corners_ratio is None or corners_ratio > FLAT_CORNERS
    if corners is not None and corners.signal_ratio <= MILD_SIGNAL:
        return NoiseVerdict(corners, witnesses)  # were k-space filtered, not too small
    if not is_filtered:  # signal makes it too large, if anything
        return NoiseVerdict(quietest, witnesses)
    in_kspace = [w for w in witnesses if w.method not in (CORNERS, CENTRE_CORNERS)]
    chosen = max(in_kspace, key=lambda witness: witness.level)
    note = (
        "signal is in all that tells of the noise, k-space seems to be filtered, and it is "
        f"probably too small: {listed(witnesses, chosen)}"
    )
    return NoiseVerdict(chosen, witnesses, note)


def _rank(witness: NoiseEstimate) -> int:
    return _ORDER.index(witness.method) if witness.method in _ORDER else len(_ORDER)


def _ratios(witness: NoiseEstimate, other: NoiseEstimate) -> np.ndarray:
    """Standard deviation of each coil over that in another witness; 1 for a dead coil."""
    first, second = (np.diag(each.covariance).real for each in (witness, other))
    alive = (first > 0) & (second > 0)
    return np.sqrt(np.divide(first, second, out=np.ones_like(first), where=alive))


def _mean_ratio(witness: NoiseEstimate, other: NoiseEstimate) -> float:
    return float(np.exp(np.log(_ratios(witness, other)).mean()))


def _exceeds(witness: NoiseEstimate, other: NoiseEstimate) -> bool:
    error = math.hypot(witness.relative_error, other.relative_error)
    return _mean_ratio(witness, other) > 1 + DISAGREEMENT + 4 * error


def _loud_coils(witness: NoiseEstimate, other: NoiseEstimate) -> np.ndarray:
    error = 0.5 * math.sqrt(1 / witness.n_samples + 1 / other.n_samples)
    return _ratios(witness, other) > 1 + COIL_DISAGREEMENT + 6 * error


def _raised(covariance: np.ndarray, other: np.ndarray, coils: np.ndarray) -> np.ndarray:
    """Scale the coils that are louder in another covariance; correlations stay."""
    before, after = np.diag(covariance).real, np.diag(other).real
    larger = coils & (after > before)
    gain = np.sqrt(np.divide(after, before, out=np.ones_like(after), where=larger))
    return covariance * gain[:, None] * gain


def listed(
    witnesses: Sequence[NoiseEstimate], chosen: NoiseEstimate, remark: str = ", which is taken"
) -> str:
    """Return the levels of all witnesses, as a part of a sentence.

    Parameters
    ----------
    witnesses : sequence of NoiseEstimate
        All.
    chosen : NoiseEstimate
        The one that comes first.
    remark : str
        What is said of it.
    """
    others = sorted((w for w in witnesses if w.method != chosen.method), key=lambda w: -w.level)
    texts = [f"{chosen.level:.3g} by the {chosen.method}{remark}"]
    for other in others:
        signal = " with signal in it" if other.is_contaminated else ""
        texts.append(f"{other.level:.3g} by the {other.method}{signal}")
    return "; ".join(texts)
