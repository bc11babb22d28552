"""The calibration region: the fully sampled centre of k-space, or separate calibration lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import center_block

if TYPE_CHECKING:
    from mri_alps.rawdata import RawKSpace

MINIMUM_LINES = 8
"""Smallest extent of a region from which ESPIRiT alone makes sensitivity maps."""
FEWEST_LINES = 4
"""Smallest extent of a region from which, with all other samples, they are made."""
_CENTER = "center of the scan"


@dataclass(frozen=True)
class CalibrationRegion:
    """A fully sampled block of k-space around DC.

    Parameters
    ----------
    kspace : numpy.ndarray
        complex64, shape (coils, *size), DC at size // 2, in the units of the file.
    source : str
        "center of the scan" or "separate calibration lines".
    """

    kspace: np.ndarray
    source: str

    @property
    def size(self) -> tuple[int, int]:
        """(readout, phase_encode) extent."""
        return (self.kspace.shape[1], self.kspace.shape[2])

    @property
    def is_part_of_scan(self) -> bool:
        """Whether its samples go together with all others of the scan."""
        return self.source == _CENTER


def find_calibration_region(
    raw: RawKSpace, index: int, kspace: np.ndarray, mask: np.ndarray
) -> CalibrationRegion:
    """Find the calibration region of one slice; the larger one where there are two.

    Parameters
    ----------
    raw : RawKSpace
        The scan, asked for separate calibration lines.
    index : int
        Slice.
    kspace : numpy.ndarray
        Complex, shape (coils, readout, phase_encode), zero outside `mask`.
    mask : numpy.ndarray
        bool (readout, phase_encode): what counts as measured, retrospective mask included.

    Returns
    -------
    CalibrationRegion
        Possibly empty (size (0, 0)); `require` refuses what is too small for maps.
    """
    size = center_block(mask)
    region = CalibrationRegion(center_crop(kspace, size), _CENTER)
    separate = raw.read_calibration(index)
    if separate is None:
        return region
    lines, line_mask = separate
    size = center_block(line_mask)
    if min(size) <= min(region.size):
        return region
    return CalibrationRegion(center_crop(lines, size), "separate calibration lines")


def require(raw: RawKSpace, index: int, region: CalibrationRegion) -> None:
    """Refuse a calibration region that is too small to estimate sensitivity maps from.

    Parameters
    ----------
    raw : RawKSpace
        The scan, for the message.
    index : int
        Slice, for the message.
    region : CalibrationRegion
        What was found.

    Raises
    ------
    InputFileError
        If it is smaller than 4 lines or samples in either direction, or holds only zeros.
    """
    if min(region.size) < FEWEST_LINES:
        raise InputFileError(
            f"{raw.path}: slice {index} has a fully sampled centre of {region.size[0]}x"
            f"{region.size[1]} k-space samples (readout x phase encode) where sensitivity maps "
            f"of {raw.n_coils} coils need at least {FEWEST_LINES}x{FEWEST_LINES}: scan with "
            "calibration lines, raise the mask's centre fraction, or hand in sensitivity maps"
        )
    if not np.any(region.kspace):
        raise InputFileError(
            f"{raw.path}: the calibration region of slice {index} holds only zeros where it "
            "should hold signal: leave this slice out or export the scan again"
        )
