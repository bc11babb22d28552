"""Every second line unlike its neighbours: an EPI, or two interleaved shots, that nothing marks.

The lines next to the centre of k-space, of which none is left out, are compared even with odd, by
`judge_directions`. Where a delay and a phase between them make them fit by far better, they are
told; where all lines of the scan follow each other, so that each has a known turn, they are
corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.rawdata.decoupling import readout_to_image
from mri_alps.rawdata.ghost import DirectedSlice, Judgement, ghost_of, judge_directions, lines_fit

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import SliceSource

ALTERNATING = 3.0
"""Natural logarithms by which a delay and phase have to be likelier than none to be told."""
SMALLEST_GHOST = 0.02
"""Ghost over the image from which it is told."""


def find_alternation(slices: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Judgement | None:
    """Find by what every second line differs from the others, or None where they fit.

    Parameters
    ----------
    slices : sequence of numpy.ndarray
        Complex (coil, readout, phase_encode), with signal; the first is looked at first.
    masks : sequence of numpy.ndarray
        bool (readout, phase_encode) of each.
    """
    parted = [_even_and_odd(*pair) for pair in zip(slices, masks, strict=True)]
    if not parted or lines_fit(parted[0], ALTERNATING / 6):
        return None
    found = judge_directions(parted, None)
    is_told = found.is_certain and found.gain >= ALTERNATING
    return (
        found
        if is_told and ghost_of(found.delay, found.phase, slices[0].shape[1]) >= SMALLEST_GHOST
        else None
    )


def follow_each_other(mask: np.ndarray) -> bool:
    """Return whether no line is left out between the first and the last, all of them whole.

    Parameters
    ----------
    mask : numpy.ndarray
        bool (readout, phase_encode).
    """
    return bool((mask.all(axis=0) == mask.any(axis=0)).all() and (_run(mask) == mask[0]).all())


def _run(mask: np.ndarray) -> np.ndarray:
    """Return the whole lines that follow each other through the centre, bool (phase_encode,)."""
    whole = np.asarray(mask.all(axis=0))
    center = len(whole) // 2
    left_out = np.flatnonzero(~whole)
    first = left_out[left_out <= center].max(initial=-1) + 1
    stop = left_out[left_out >= center].min(initial=len(whole))
    return (np.arange(len(whole)) >= first) & (np.arange(len(whole)) < stop)


def _is_odd(n_lines: int) -> np.ndarray:
    """Return every second line, bool, of which the centre is none."""
    return (np.arange(n_lines) - n_lines // 2) % 2 == 1


def _even_and_odd(kspace: np.ndarray, mask: np.ndarray) -> DirectedSlice:
    run, odd = _run(mask), _is_odd(kspace.shape[-1])
    return DirectedSlice(kspace * (run & ~odd), kspace * (run & odd), run & ~odd, run & odd)


@dataclass(frozen=True)
class AlignedSource:
    """Slices of which every second line is brought to its neighbours; the centre stays.

    Parameters
    ----------
    source : SliceSource
        What is corrected.
    delay, phase : float
        Samples and radians of these lines, see `Judgement`.
    """

    source: SliceSource
    delay: float
    phase: float

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex (coil, readout, phase_encode)."""
        kspace = self.source.read_kspace(index)
        odd, n = _is_odd(kspace.shape[-1]), kspace.shape[-2]
        place = (np.arange(n) - n // 2) / n
        turn = np.exp(-1j * (self.phase + 2 * np.pi * self.delay * place))
        image = readout_to_image(kspace[..., odd], -2) * turn[:, np.newaxis]
        lines = np.fft.fft(np.fft.ifftshift(image, axes=-2), axis=-2, norm="ortho")
        aligned = np.array(kspace, np.complex64)
        aligned[..., odd] = np.fft.fftshift(lines, axes=-2)
        return aligned

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return separate calibration lines, which were measured otherwise."""
        return self.source.read_calibration(index)

    def read_reference(self, index: int) -> np.ndarray | None:
        """Return the file's own reconstruction."""
        return self.source.read_reference(index)

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Return the image behind simulated data."""
        return self.source.read_ground_truth(index)
