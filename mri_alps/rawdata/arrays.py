"""A `RawKSpace` of arrays that are in memory: simulations, tests, a scanner's buffer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mri_alps.core.errors import ShapeError
from mri_alps.rawdata.geometry import Geometry
from mri_alps.rawdata.raw import RawKSpace
from mri_alps.rawdata.settling import settle_scan


@dataclass(frozen=True)
class ArraySource:
    """Hands over slices of arrays."""

    kspace: np.ndarray
    calibration: tuple[np.ndarray, np.ndarray] | None = None
    reference: np.ndarray | None = None
    ground_truth: np.ndarray | None = None

    def read_kspace(self, index: int) -> np.ndarray:
        """Return slice `index` of `kspace`."""
        return self.kspace[index]

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return slice `index` of `calibration` (kspace, mask), each with a slice axis."""
        if self.calibration is None:
            return None
        return self.calibration[0][index], self.calibration[1][index]

    def read_reference(self, index: int) -> np.ndarray | None:
        """Return slice `index` of `reference`."""
        return None if self.reference is None else self.reference[index]

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Return slice `index` of `ground_truth`."""
        return None if self.ground_truth is None else self.ground_truth[index]


def raw_from_arrays(
    kspace: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    noise_covariance: np.ndarray | None = None,
    crop: tuple[int, int] | None = None,
    calibration: tuple[np.ndarray, np.ndarray] | None = None,
    reference: np.ndarray | None = None,
    ground_truth: np.ndarray | None = None,
    name: str = "array",
    field_of_view: tuple[float, float, float] = (220.0, 220.0, 5.0),
) -> RawKSpace:
    """Make a `RawKSpace` of arrays in memory, settled as that of a file is, see `settle_scan`.

    Parameters
    ----------
    kspace : np.ndarray
        complex (slice, coil, readout, phase_encode).
    mask : np.ndarray, optional
        bool, broadcastable to (n_slices or 1, readout or 1, phase_encode); all but exact zeros
        measured if left out.
    noise_covariance : np.ndarray, optional
        complex (coils, coils), per real component.
    crop : tuple of int, optional
        (readout, phase_encode) of the final image; the whole matrix if left out.
    calibration : tuple of np.ndarray, optional
        Separate calibration lines: k-space like `kspace` and bool (slice, readout,
        phase_encode).
    reference, ground_truth : np.ndarray, optional
        With a slice axis first.
    name : str
        Stands for the path.
    field_of_view : tuple of float
        (x, y, z) in mm.

    Raises
    ------
    ShapeError
        If `kspace` is not 4-D or the mask does not fit.
    InputFileError
        If its centre is farther off than a quarter of the matrix, or an axis is none of k-space.
    """
    if kspace.ndim != 4 or not np.iscomplexobj(kspace):
        raise ShapeError(
            f"kspace must be complex (slice, coil, readout, phase_encode), found {kspace.dtype} "
            f"{kspace.shape}"
        )
    n_slices, n_coils, n_readout, n_phase = kspace.shape
    infer_mask = mask is None
    if mask is None:
        mask = np.ones((1, 1, n_phase), bool)
    mask = np.asarray(mask, bool)
    while mask.ndim < 3:
        mask = mask[np.newaxis]
    fitting = [(s, r, n_phase) for s in (1, n_slices) for r in (1, n_readout)]
    if mask.shape not in fitting:
        raise ShapeError(f"a mask of shape {mask.shape} does not fit k-space {kspace.shape}")
    matrix = (n_readout, n_phase, 1)
    crop = (n_readout, n_phase) if crop is None else crop
    raw = RawKSpace(
        path=Path(name),
        format="array",
        n_slices=n_slices,
        n_coils=n_coils,
        shape=(n_readout, n_phase),
        mask=mask,
        noise_covariance=noise_covariance,
        geometry=Geometry.nominal(matrix, (*crop, 1), field_of_view, field_of_view, n_slices),
        crop=(min(crop[0], n_readout), min(crop[1], n_phase)),
        source=ArraySource(kspace, calibration, reference, ground_truth),
        has_calibration=calibration is not None,
        provenance={"warnings": [], "processing": []},
    )
    return settle_scan(raw, infer_mask=infer_mask)
