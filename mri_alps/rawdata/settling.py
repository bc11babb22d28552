"""A scan is settled when it is opened: what was measured, where the centre is, which lines fit.

Headers are wrong about all of it. Samples that are exactly zero in all coils and slices were never
measured, whatever file holds them; the centre of k-space is where its energy is; lines of which
every second one is turned are those of an EPI that nothing marks. Every road to a `RawKSpace` leads
through `settle_scan`, so that all that comes after it sees a scan with its centre at N // 2, a mask
that is true, and lines that fit each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.alternation import AlignedSource, find_alternation, follow_each_other
from mri_alps.rawdata.kspace_center import (
    CERTAIN_PEAK,
    CONCENTRATED,
    DISTINCT_PEAK,
    FLAT,
    LARGEST_SHIFT,
    LEVEL,
    SPREAD,
    TOLERANCE,
    AxisCenter,
    find_center,
)
from mri_alps.rawdata.sampling_pattern import measured_range, net_acceleration, smallest_mask

if TYPE_CHECKING:
    from pathlib import Path

    from mri_alps.rawdata.raw import RawKSpace, SliceSource

SLICES_FOR_CENTER = 3
"""Slices with signal, nearest to the middle of the scan, that the centre is found from."""
SLICES_TRIED = 16
"""Slices that are looked at for that, where some are empty or damaged."""
VOLUME_SLICES = 3
"""Slices of a 3-D scan in which zeros are looked for: each of them needs all lines of the file."""
ACCIDENTAL_ZEROS = 0.01
"""Zeros that are expected by chance, in integer data, above which scattered ones say nothing."""


def settle_scan(raw: RawKSpace, *, infer_mask: bool = True) -> RawKSpace:
    """Take exact zeros out of the mask of a scan, centre its k-space, and align its lines.

    Parameters
    ----------
    raw : RawKSpace
        As a reader delivers it; up to three slices are read, all of them where there are zeros.
    infer_mask : bool
        Whether exact zeros are unmeasured; not where the user has said what was measured.

    Returns
    -------
    RawKSpace
        With `is_settled`; the same object if it was settled before. What was done stands in the
        provenance, under "settled" and among the "warnings".

    Raises
    ------
    InputFileError
        If the centre is farther off than a quarter of the matrix, or an axis is none of k-space.
    """
    if raw.is_settled:
        return raw
    if infer_mask:
        raw = _without_zeros(raw)
    return dataclasses.replace(_aligned(_centered(raw)), is_settled=True)


def with_measured_zeros(raw: RawKSpace, mask: np.ndarray) -> RawKSpace:
    """Take exact zeros for samples where the user's mask says that they were measured.

    Parameters
    ----------
    raw : RawKSpace
        From `settle_scan`.
    mask : numpy.ndarray
        bool, broadcasts to (readout, phase_encode).
    """
    if raw.zeros is None:
        return raw
    claimed = raw.zeros & np.broadcast_to(mask, raw.shape)
    if not claimed.any():
        return raw
    return dataclasses.replace(raw, mask=_smallest(raw.mask | claimed))


def _note(raw: RawKSpace, sentence: str, **changes: object) -> RawKSpace:
    provenance = dict(raw.provenance)
    for name in ("warnings", "settled"):
        provenance[name] = [*provenance.get(name, []), sentence]
    return dataclasses.replace(raw, provenance=provenance, **changes)  # type: ignore[arg-type]


def _slices(raw: RawKSpace) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield k-space and mask of the slices that can be read and are not empty, middle first."""
    middle = raw.n_slices // 2
    order = sorted(range(raw.n_slices), key=lambda index: abs(index - middle))
    for index in order:
        try:
            kspace = raw.read_slice(index)
        except InputFileError:  # said when this slice is asked for
            continue
        if kspace.any():
            yield kspace, raw.slice_mask(index)


# --- zeros ------------------------------------------------------------------------------------


def _without_zeros(raw: RawKSpace) -> RawKSpace:
    zeros = _find_zeros(raw)
    if zeros is None:
        return raw
    mask = _smallest(raw.mask & ~zeros)
    smallest = smallest_mask(~zeros)
    what = f"{raw.axes[1].replace('_', ' ')}s" if smallest.ndim == 1 else "samples"
    where = "coils" if raw.n_slices == 1 else "coils and slices"
    provenance = raw.provenance | {
        "mask_source": f"{raw.provenance.get('mask_source', 'given')}, exact zeros left out",
        "net_acceleration": net_acceleration(mask),
    }
    return _note(
        dataclasses.replace(raw, provenance=provenance),
        f"{int((~smallest).sum())} of {smallest.size} {what} are exactly zero in all {where} and "
        "are taken as not measured: give the mask, as a file or an array, if they were",
        mask=mask,
        zeros=zeros,
        acquired_range=_range_without(raw, mask),
    )


def _find_zeros(raw: RawKSpace) -> np.ndarray | None:
    """Return where the mask has samples that are zero in all coils and slices, or None."""
    found: np.ndarray | None = None
    lines_only = False
    for seen, (kspace, mask) in enumerate(_slices(raw)):
        empty = ~(kspace != 0).any(axis=0)
        if found is None:
            found = empty & mask
            n_numbers = 2 * raw.n_coils * (1 if raw.n_slices == 1 else 2)
            chance = _chance_of_zero(kspace[:, mask & ~empty]) ** n_numbers
            lines_only = chance * mask.sum() > ACCIDENTAL_ZEROS
        else:
            found &= empty | ~mask
        if not found.any():
            return None
        if raw.axes[1] == "partition" and seen + 1 == VOLUME_SLICES:
            break
    if found is None:
        return None
    if lines_only:  # of integers, a few are zero by chance, but not a whole line of them
        measured = np.broadcast_to(raw.mask.any(axis=0), raw.shape)
        lines = found.any(axis=0) & (found | ~measured).all(axis=0)
        rows = found.any(axis=1) & (found | ~measured).all(axis=1)
        found &= lines[np.newaxis] | rows[:, np.newaxis]
    return found if found.any() else None


def _chance_of_zero(samples: np.ndarray) -> float:
    """Share of zeros among the real and imaginary parts: none, but for rounded numbers."""
    return float(np.sqrt((samples.real == 0).mean() * (samples.imag == 0).mean()))


def _range_without(raw: RawKSpace, mask: np.ndarray) -> tuple[int, int]:
    """Leave out zeros at the edges where they are padding, not lines between the sampled ones."""
    first, stop = measured_range(mask)
    inside = mask[..., first:stop].any(axis=(0, 1))
    return (first, stop) if inside.all() else raw.acquired_range


def _smallest(mask: np.ndarray) -> np.ndarray:
    """Drop the readout axis of a mask (slice, readout, phase_encode) of whole lines."""
    return mask[:, :1].copy() if (mask == mask[:, :1]).all() else mask


# --- centre -----------------------------------------------------------------------------------


def _examples(raw: RawKSpace, wanted: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return k-space and masks of so many slices with signal, as far as there are."""
    slices, masks = [], []
    for tried, (kspace, mask) in enumerate(_slices(raw)):
        slices.append(kspace)
        masks.append(mask)
        if len(slices) == wanted or tried + 1 == SLICES_TRIED:
            break
    return slices, masks


def _centered(raw: RawKSpace) -> RawKSpace:
    slices, masks = _examples(raw, SLICES_FOR_CENTER)
    if not slices:
        return raw
    found = find_center(slices, masks)
    names = [name.replace("_", " ") for name in raw.axes]
    for axis, name in enumerate(names):
        _check_axis(raw.path, name, found[axis], found[1 - axis])
    shifts = [_shift(raw, name, found[axis], found[1 - axis]) for axis, name in enumerate(names)]
    for name, center, shift in zip(names, found, shifts, strict=True):
        if center is not None and shift:
            raw = _note(
                raw,
                f"the centre of k-space along the {name} is at index {center.size // 2 - shift} "
                f"of {center.size} where the header has it at {center.size // 2}: k-space was "
                f"moved by {shift} samples, a linear phase over the image",
            )
    return _rolled(raw, (shifts[0], shifts[1])) if any(shifts) else raw


def check_readout(path: Path, kspace: np.ndarray, mask: np.ndarray) -> None:
    """Refuse the readout of a 3-D scan if it is no axis of k-space.

    Parameters
    ----------
    path : Path
        The file, for the message.
    kspace : numpy.ndarray
        Complex (coil, readout, phase_encode), one partition with signal.
    mask : numpy.ndarray
        bool (readout, phase_encode).

    Raises
    ------
    InputFileError
        If its energy peaks nowhere along the readout.
    """
    if np.isfinite(kspace).all():
        readout, phase = find_center([kspace], [mask])
        _check_axis(path, "readout", readout, phase)


def _check_axis(path: Path, name: str, center: AxisCenter | None, other: AxisCenter | None) -> None:
    """Refuse an axis over which the energy peaks nowhere, though there is signal."""
    if center is None or center.concentration >= SPREAD:
        return
    sees_signal = other is not None and other.concentration >= CONCENTRATED
    is_level = center.distinctness < LEVEL and center.spacing == 1
    if sees_signal and is_level:
        raise InputFileError(
            f"{path}: the energy of the {center.size} samples along the {name} peaks nowhere, "
            "so this is no axis of k-space, but shots of a radial or spiral scan, images, slices "
            "or coils: name the trajectory of shots (--trajectory), or give k-space whose every "
            "spatial axis is Fourier encoded"
        )
    if center.distinctness < FLAT:
        return
    if center.is_image_like:
        raise InputFileError(
            f"{path}: the energy of the {center.size} samples along the {name} peaks nowhere, "
            "so this is no axis of k-space: give k-space whose every spatial axis is Fourier "
            "encoded, with images, slices and coils along the dimensions meant for them"
        )


def _shift(raw: RawKSpace, name: str, center: AxisCenter | None, other: AxisCenter | None) -> int:
    """Return by how many samples an axis has to be moved."""
    if center is None or center.distinctness < DISTINCT_PEAK:
        return 0
    # Where the lines next to the centre were not measured, neither is the place of the peak.
    beside = 1 if other is None else other.gap
    if beside > 2 * TOLERANCE:
        return 0
    if abs(center.offset) < max(TOLERANCE, center.spacing, beside) + 0.5:
        return 0
    shift = -round(center.offset)
    if abs(shift) <= LARGEST_SHIFT * center.size + TOLERANCE:
        return shift
    if center.distinctness < CERTAIN_PEAK or center.concentration < SPREAD:
        return 0
    at_edge = min(center.position, center.size - center.position) < TOLERANCE + 0.5
    raise InputFileError(
        f"{raw.path}: the centre of k-space along the {name} is at index {round(center.position)} "
        f"of {center.size} where the header has it at {center.size // 2}, {abs(shift)} samples "
        "off, and at most a quarter of the matrix can be corrected: "
        + (
            "it has the zero frequency first, apply fftshift to it"
            if at_edge
            else "correct the header's centre, or the order of the lines"
        )
    )


def _rolled(raw: RawKSpace, shift: tuple[int, int]) -> RawKSpace:
    mask = np.roll(raw.mask, shift, (1, 2))
    if raw.mask.shape[1] == 1:
        mask = np.roll(raw.mask, shift[1], 2)
    first, stop = (edge + shift[1] for edge in raw.acquired_range)
    if (first, stop) == (shift[1], raw.shape[1] + shift[1]) or first < 0 or stop > raw.shape[1]:
        first, stop = 0, raw.shape[1]
    return dataclasses.replace(
        raw,
        mask=mask,
        zeros=None if raw.zeros is None else np.roll(raw.zeros, shift, (0, 1)),
        acquired_range=(first, stop),
        source=RolledSource(raw.source, shift),
    )


# --- alternating lines ------------------------------------------------------------------------


def _aligned(raw: RawKSpace) -> RawKSpace:
    """Bring every second line to the others, or say that they differ."""
    if raw.axes[0] != "readout":  # each slice of a volume has one readout position
        return raw
    slices, masks = _examples(raw, 1)
    found = find_alternation(slices, masks) if slices else None
    if found is None:
        return raw
    what = (
        "every second line along the phase encode differs from its neighbours by a phase of "
        f"{found.phase:.2f} rad and a delay of {found.delay:.2f} samples along the readout, as of "
        "an EPI without its phase correction, or of a second shot"
    )
    if raw.has_calibration or len(raw.mask) > 1 or not follow_each_other(masks[0]):
        defect = (
            f"{what}; of undersampled lines it is not known which are turned, so nothing is "
            "corrected, and an image has a ghost that its deviation does not allow for: correct "
            "the lines, or give the scan as ISMRMRD with its reversed lines flagged"
        )
        provenance = raw.provenance | {"warnings": [*raw.provenance.get("warnings", []), defect]}
        return dataclasses.replace(raw, provenance=provenance, defect=defect)
    doubt = (
        ""
        if found.is_sure_of_sign
        else (
            "; that the phase is not half a turn more, which moves the image by half a field of "
            "view, is taken for granted"
        )
    )
    source = AlignedSource(raw.source, found.delay, found.phase)
    return _note(raw, f"{what}: these lines were corrected{doubt}", source=source)


@dataclass(frozen=True)
class RolledSource:
    """Slices whose k-space is moved by whole samples: a linear phase over the image, exactly.

    Parameters
    ----------
    source : SliceSource
        What is moved.
    shift : tuple of int
        Samples along (readout, phase_encode); what leaves at one edge comes in at the other.
    """

    source: SliceSource
    shift: tuple[int, int]

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex (coil, readout, phase_encode)."""
        return np.roll(self.source.read_kspace(index), self.shift, (-2, -1))

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return separate calibration lines and their mask, moved alike."""
        found = self.source.read_calibration(index)
        if found is None:
            return None
        kspace, mask = found
        mask = np.broadcast_to(mask, kspace.shape[-2:])
        return np.roll(kspace, self.shift, (-2, -1)), np.roll(mask, self.shift, (-2, -1))

    def read_reference(self, index: int) -> np.ndarray | None:
        """Return the file's own reconstruction: a magnitude, which has no phase to change."""
        return self.source.read_reference(index)

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Return the image behind simulated data, with the linear phase."""
        truth = self.source.read_ground_truth(index)
        if truth is None:
            return None
        for axis, shift in enumerate(self.shift):
            size = truth.shape[axis]
            turns = shift * (np.arange(size) - size // 2) / size
            truth = truth * np.exp(2j * np.pi * turns).reshape((-1, 1) if axis == 0 else (1, -1))
        return truth
