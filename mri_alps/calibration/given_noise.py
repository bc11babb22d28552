"""Noise that was told, by the user or by a noise scan, beside what the k-space itself shows.

Noise is in every sample, so a level far above all that was measured is refuted by it; and one far
below what is seen where there is no signal makes an image that is certain of its own noise. Signal
in what is seen makes it an upper bound, and a filter makes outer samples quieter, not the image.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from mri_alps.calibration.image_corners import CENTRE_CORNERS, CORNERS
from mri_alps.calibration.noise_estimate import QUIET
from mri_alps.calibration.noise_witnesses import OUTER_HALF, NoiseVerdict, listed

LOUDEST, LOUDEST_OUTSIDE = 5.0, 100.0
"""Told noise (standard deviation) over what is seen above which it is refused: over the noise of
the image, of which a filter leaves two fifths or more; and over that of the outer samples, of which
it may leave a sixtieth, where there is nothing else without signal."""
QUIETEST = 0.33
"""Told noise of a coil over the quietest that is seen without signal below which it is refused:
where the data decide, the deviation would be three times too small."""
DOUBTED = 1.5
"""Factor before either limit from which a warning is given."""
DROWNING = 0.25
"""Told noise over the root mean square of the k-space of one coil above which it is refused where
signal is in all that is seen, which so much noise would hide; of several coils at most twice."""
HARMLESS = 0.01
"""Told noise over the root mean square of the k-space that is no fault of data with less: it is
lost in the image, and simulated data have none of their own."""


_IN_IMAGE = (CORNERS, CENTRE_CORNERS)
_SURE = (*_IN_IMAGE, OUTER_HALF, QUIET)


class Doubt(NamedTuple):
    """What is said of noise that was told.

    Attributes
    ----------
    sentence : str
        What was told and what is seen.
    is_refused : bool
        Whether it must not be taken.
    """

    sentence: str
    is_refused: bool


def loudest_plausible(seen: NoiseVerdict, rms: float) -> float:
    """Return the level above which told noise cannot be that of a scan, in units of its k-space.

    Parameters
    ----------
    seen : NoiseVerdict
        Of the measured samples alone, without a noise scan.
    rms : float
        Root mean square of the k-space.
    """
    clean = [w.level for w in seen.witnesses if w.method in _SURE and not w.is_contaminated]
    if clean:
        limit = LOUDEST * max(clean)
    else:  # signal makes them too loud, and a filter those in k-space too quiet
        image = [w.level for w in seen.witnesses if w.method in _IN_IMAGE]
        outer = [w.level for w in seen.witnesses if w.method not in _IN_IMAGE]
        limit = min(LOUDEST * min(image, default=np.inf), LOUDEST_OUTSIDE * max(outer))
        n_coils = len(seen.chosen.covariance)
        limit = min(limit, rms * min(DROWNING * np.sqrt(n_coils), 2 * DROWNING))
        limit = max(limit, DOUBTED**2 * seen.chosen.level)  # the centre may not be measured
    return max(limit, LOUDEST * HARMLESS * rms)


def doubt_given_noise(covariance: np.ndarray, seen: NoiseVerdict, rms: float) -> Doubt | None:
    """Compare given noise with what the samples show; None where the two may belong together.

    Parameters
    ----------
    covariance : numpy.ndarray
        complex (coils, coils), per real component, given.
    seen, rms
        As `loudest_plausible` takes them.
    """
    variance = np.diag(covariance).real
    if not (variance > 0).all():  # which whitening refuses
        return None
    level, most = float(np.sqrt(variance.mean())), loudest_plausible(seen, rms)
    found = f"is plausible: the k-space shows {listed(seen.witnesses, seen.chosen, '')}"
    told = "noise with a standard deviation of"
    if DOUBTED * level > most:
        return Doubt(f"{told} {level:.3g} is given, where at most {most:.3g} {found}", level > most)
    clean = [w for w in seen.witnesses if not w.is_contaminated]
    if not clean:
        return None
    lowest = QUIETEST * np.sqrt(np.min([np.diag(w.covariance).real for w in clean], axis=0))
    coil = int(np.argmax(lowest / np.sqrt(variance)))
    level, least = float(np.sqrt(variance[coil])), float(lowest[coil])
    if level >= DOUBTED * least:
        return None
    return Doubt(
        f"{told} {level:.3g} is given for coil {coil}, where at least {least:.3g} {found} (means "
        "over the coils)",
        level < least,
    )


def without_loud_scan(verdict: NoiseVerdict, seen: NoiseVerdict, rms: float) -> NoiseVerdict:
    """Take what the samples show where the noise scan is too loud to be of this scan.

    Parameters
    ----------
    verdict : NoiseVerdict
        With the noise scan.
    seen, rms
        As `loudest_plausible` takes them.
    """
    level, most = verdict.chosen.level, loudest_plausible(seen, rms)
    if level <= most:
        return verdict
    note = (
        f"the noise scan, with a standard deviation of {level:.3g}, is too loud to be of this scan "
        f"(another bandwidth or gain?), where at most {most:.3g} is plausible: "
        f"{listed(verdict.witnesses, seen.chosen)}"
    )
    return dataclasses.replace(seen, witnesses=verdict.witnesses, note=note)
