"""First stage: what was measured of a slice, with white noise of unit size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mri_alps.calibration.noise import apply_to_coils
from mri_alps.calibration.region import CalibrationRegion, find_calibration_region

if TYPE_CHECKING:
    import numpy as np

    from mri_alps.calibration.volume import VolumeCalibration
    from mri_alps.rawdata import RawKSpace


@dataclass(frozen=True)
class WhitenedSlice:
    """K-space whose noise has the standard deviation 1 per real component.

    Parameters
    ----------
    raw, index : RawKSpace and int
        Where it comes from.
    calibration : VolumeCalibration
        The noise of the scan.
    kspace : numpy.ndarray
        complex64 (coils, H, W), zero outside `measured`.
    measured : numpy.ndarray
        bool (H, W).
    region : CalibrationRegion
        Of the same coils; possibly empty.
    trajectory : numpy.ndarray or None
        float64 (samples, shots, 2) of a scan along one; `kspace` and `measured` are (coils,
        samples, shots) and (samples, shots) then.
    """

    raw: RawKSpace
    index: int
    calibration: VolumeCalibration
    kspace: np.ndarray
    measured: np.ndarray
    region: CalibrationRegion
    trajectory: np.ndarray | None = None

    @property
    def name(self) -> str:
        """What an error or a warning begins with: file and slice."""
        return f"{self.raw.path}: slice {self.index}"


def whiten(
    raw: RawKSpace,
    index: int,
    kspace: np.ndarray,
    measured: np.ndarray,
    calibration: VolumeCalibration,
) -> WhitenedSlice:
    """Find the calibration region of a slice, and whiten it and the slice.

    Parameters
    ----------
    raw, index : RawKSpace and int
        Scan and slice.
    kspace : numpy.ndarray
        complex64 (coils, H, W) in the units of the file, zero outside `measured`.
    measured : numpy.ndarray
        bool (H, W), retrospective mask included.
    calibration : VolumeCalibration
        The noise of the scan.
    """
    whitening = calibration.whitening
    region = find_calibration_region(raw, index, kspace, measured)
    return WhitenedSlice(
        raw,
        index,
        calibration,
        apply_to_coils(whitening, kspace),
        measured,
        CalibrationRegion(apply_to_coils(whitening, region.kspace), region.source),
    )
