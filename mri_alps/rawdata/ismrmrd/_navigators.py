"""What EPI's phase-correction lines say about lines that were read in opposite directions.

A reversed gradient that lags behind, and eddy currents, give reversed lines another delay and phase
than forward ones have: every second line is then wrong, and a ghost appears half a field of view
away. Lines without phase encoding, read in both directions, measure both: the phase between them is
linear over the readout in image space (Bruder et al. 1992, Magn. Reson. Med. 23:311). A line is
compared with the mean of those before and after it, so that the phase which grows from echo to echo
off resonance drops out (Heid 1997, Proc. ISMRM 5:2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.heads import Heads

_OVERSAMPLING = 8
_LONGEST_DELAY = 0.25
"""Of the readout: what is looked for is a delay of a few samples at most."""
_ROUNDS = 10
_MARGIN = 0.01
"""By which one direction has to fit better than the other to be told from it."""
_SAME = ("contrast", "repetition", "set", "phase")


@dataclass(frozen=True)
class Difference:
    """How reversed lines differ from forward ones, in image space along the readout.

    Parameters
    ----------
    delay : float
        Samples; the phase of the reversed line grows by 2 pi delay over the field of view.
    phase : float
        Radians, in the middle of the field of view.
    errors : tuple of float
        Standard errors of both.
    linearity : float
        1 where the phase is linear, 0 where it is nothing like it.
    """

    delay: float = 0.0
    phase: float = 0.0
    errors: tuple[float, float] = (0.0, 0.0)
    linearity: float = 1.0


def fit_difference(product: np.ndarray) -> Difference:
    """Fit delay and phase to reversed times conjugate forward lines.

    The peak of the correlation gives a start that needs no unwrapping; weighted least squares of
    the phases that are left refine it.

    Parameters
    ----------
    product : numpy.ndarray
        Complex (readout,), in image space, summed over coils.
    """
    n = len(product)
    place = (np.arange(n) - n // 2) / n
    n_delays = max(1, int(_LONGEST_DELAY * n)) * _OVERSAMPLING
    delays = np.arange(-n_delays, n_delays + 1) / _OVERSAMPLING
    correlation = np.exp(-2j * np.pi * np.outer(delays, place)) @ product
    best = int(abs(correlation).argmax())
    found = np.array([delays[best], np.angle(correlation[best])])
    design = np.stack([2 * np.pi * place, np.ones(n)], axis=1)
    weights = abs(product)
    normal = design.T @ (weights[:, np.newaxis] * design)
    if not np.linalg.det(normal) > 0:
        return Difference()
    for _ in range(_ROUNDS):
        left = np.angle(product * np.exp(-1j * (design @ found)))
        found = found + np.linalg.solve(normal, design.T @ (weights * left))
    inverse = np.linalg.inv(normal)
    spread = design.T @ ((weights * left)[:, np.newaxis] ** 2 * design)
    errors = np.sqrt(np.diag(inverse @ spread @ inverse))
    phase = (found[1] + np.pi) % (2 * np.pi) - np.pi
    linearity = abs((product * np.exp(-1j * (design @ found))).sum()) / weights.sum()
    return Difference(
        float(found[0]), float(phase), (float(errors[0]), float(errors[1])), float(linearity)
    )


def compare_directions(images: np.ndarray, is_reversed: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return reversed times conjugate forward lines of a train, and whether in threes.

    Parameters
    ----------
    images : numpy.ndarray
        Complex (line, coil, readout), in image space, in the order of acquisition.
    is_reversed : numpy.ndarray
        bool (line,).

    Returns
    -------
    product : numpy.ndarray
        Complex (readout,); zero where nothing could be compared.
    in_threes : bool
        Whether each was compared with the mean of its neighbours in time.
    """
    total = np.zeros(images.shape[-1], np.complex128)
    in_threes = False
    turns = is_reversed[1:] != is_reversed[:-1]
    for line in range(1, len(images) - 1):
        if turns[line - 1] and turns[line]:
            beside = images[line - 1] + images[line + 1]
            product = (images[line] * beside.conj()).sum(axis=0)
            total += product if is_reversed[line] else product.conj()
            in_threes = True
    if in_threes:
        return total, True
    for line in np.flatnonzero(turns).tolist():
        product = (images[line + 1] * images[line].conj()).sum(axis=0)
        total += product if is_reversed[line + 1] else product.conj()
    return total, False


def find_trains(navigators: Heads) -> list[np.ndarray]:
    """Return the trains of phase-correction lines: runs of one slice and one set of counters.

    Parameters
    ----------
    navigators : Heads
        Phase-correction lines in the order of acquisition.
    """
    if not len(navigators):
        return []
    columns = [getattr(navigators, name) for name in ("slice", *_SAME)]
    columns.append(navigators.is_calibration_only)
    key = np.stack([column.astype(np.int64) for column in columns], axis=1)
    new = (np.diff(key, axis=0) != 0).any(axis=1) | (np.diff(navigators.index) != 1)
    runs = np.split(np.arange(len(navigators)), np.flatnonzero(new) + 1)
    return [part for run in runs for part in _by_segment(navigators, run)]


def _by_segment(navigators: Heads, run: np.ndarray) -> list[np.ndarray]:
    """Split a run where each segment has both directions: then segments are shots."""
    segments = navigators.segment[run]
    is_reversed = navigators.is_reversed[run]
    values = np.unique(segments)
    mixed = all(len(np.unique(is_reversed[segments == value])) == 2 for value in values)
    return [run[segments == value] for value in values] if mixed and len(values) > 1 else [run]


def assign_trains(lines: Heads, navigators: Heads, trains: list[np.ndarray]) -> np.ndarray:
    """Return the train that corrects each line.

    Of its own slice before others', with the same counters before others', the last one before it
    in the order of acquisition, else the first one after it.

    Parameters
    ----------
    lines, navigators : Heads
        Lines of the image or of calibration, and phase-correction lines.
    trains : list of numpy.ndarray
        From `find_trains`; at least one.
    """
    first = np.array([train[0] for train in trains])
    heads = navigators.take(first)
    begins = heads.index
    columns = [getattr(lines, name) for name in ("slice", *_SAME, "segment")]
    key = np.stack([*columns, lines.is_calibration_only.astype(np.int64)], axis=1)
    values, inverse = np.unique(key, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    chosen = np.zeros(len(lines), np.int64)
    for number, value in enumerate(values):
        alike = 100 * (heads.slice == value[0]) + 10 * (heads.is_calibration_only == value[-1])
        for place, name in enumerate(_SAME):
            alike = alike + np.asarray(getattr(heads, name) == value[1 + place])
        alike = alike + np.array([value[-2] in navigators.segment[train] for train in trains])
        fitting = np.flatnonzero(alike == alike.max())
        which = np.flatnonzero(inverse == number)
        before = np.searchsorted(begins[fitting], lines.index[which]) - 1
        chosen[which] = fitting[np.maximum(before, 0)]
    return chosen


def settle_directions(
    images: np.ndarray, navigators: Heads, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """Find the directions of a train whose lines all have the same flag.

    Parameters
    ----------
    images : numpy.ndarray
        Complex (line, coil, readout), in image space, lines as they are stored.
    navigators : Heads
        The lines of the train.
    reference : numpy.ndarray
        float (coil, readout), magnitude of the image's central line in image space.

    Returns
    -------
    flips : numpy.ndarray
        bool (line,): lines to be turned round.
    is_reversed : numpy.ndarray
        bool (line,): those read in the other direction.
    note : str
        A sentence where the flags did not say it.
    """
    flagged = navigators.is_reversed
    if len(images) < 2 or flagged.any() != flagged.all():
        return flagged, flagged, ""
    magnitudes = abs(images)
    as_stored = (magnitudes * reference).sum(axis=(1, 2))
    turned = (magnitudes[..., ::-1] * reference).sum(axis=(1, 2))
    flips = turned > as_stored
    certain = abs(turned - as_stored) > _MARGIN * (turned + as_stored)
    if certain.all() and flips.any() and not flips.all():
        note = "phase-correction lines are not flagged as reversed: their profiles tell which are"
        return flips, flips, note
    # Every second line is reversed; the flag was taken away when the line was turned round.
    alternating = np.arange(len(images)) % 2 == 1
    note = (
        "phase-correction lines are not flagged as reversed, and have the image's direction: "
        "every second one is taken for a reversed line"
    )
    return np.zeros_like(flagged), alternating, note
