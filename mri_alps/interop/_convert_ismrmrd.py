"""Any opened scan as ISMRMRD acquisitions: lines, parts of lines, positions, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ismrmrd
import numpy as np

from mri_alps.rawdata import Limit, make_header
from mri_alps.rawdata.ismrmrd import make_acquisition

if TYPE_CHECKING:
    from mri_alps.rawdata import RawKSpace


def scan_as_lines(
    raw: RawKSpace,
    kspace: np.ndarray,
    calibration: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[bytes, list[ismrmrd.Acquisition]]:
    """Return 2-D slices with their sampling and their places: XML header and lines.

    A line that was measured in part becomes one acquisition for each run of measured samples,
    the samples before the run being discarded (`discard_pre`).

    Parameters
    ----------
    raw : RawKSpace
        Mask and geometry.
    kspace : np.ndarray
        complex (slice, coil, readout, phase_encode).
    calibration : (kspace, mask) or None
        Separate calibration lines, on the same grid.
    """
    acquisitions = []
    for index in range(raw.n_slices):
        acquisitions += list(_lines(raw, index, kspace[index], raw.slice_mask(index)))
        if calibration is not None:
            flag = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
            mask = calibration[1][index]
            acquisitions += list(_lines(raw, index, calibration[0][index], mask, flag))
    return _header(raw), acquisitions


def _header(raw: RawKSpace) -> bytes:
    (n_readout, n_phase), (first, stop) = raw.shape, raw.acquired_range
    spacing, thickness = raw.pixel_spacing, raw.slice_thickness
    return make_header(
        (n_readout, n_phase, 1),
        (*raw.crop, 1),
        (spacing[0] * n_readout, spacing[1] * n_phase, thickness),
        (spacing[0] * raw.crop[0], spacing[1] * raw.crop[1], thickness),
        limits={
            "kspace_encoding_step_1": Limit(first, stop - 1, n_phase // 2),
            "slice": Limit(0, raw.n_slices - 1, 0),
        },
        n_coils=raw.n_coils,
        protocol=raw.acquisition or None,
    )


def _lines(
    raw: RawKSpace, index: int, kspace: np.ndarray, mask: np.ndarray, *flags: int
) -> Iterator[ismrmrd.Acquisition]:
    center = raw.shape[0] // 2
    geometry = raw.geometry
    place = {
        "slice": index,
        "position": geometry.slice_positions[index],
        "read_dir": geometry.readout_direction[index],
        "phase_dir": geometry.phase_direction[index],
        "slice_dir": geometry.slice_direction[index],
    }
    for row in np.flatnonzero(mask.any(axis=0)):
        for start, stop in _runs(mask[:, row]):
            origin = min(start, center)  # center_sample cannot be negative
            yield make_acquisition(
                kspace[:, origin:stop, row],
                *flags,
                kspace_encode_step_1=int(row),
                center_sample=center - origin,
                discard_pre=start - origin,
                **place,
            )


def _runs(line: np.ndarray) -> list[tuple[int, int]]:
    """[start, stop) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
