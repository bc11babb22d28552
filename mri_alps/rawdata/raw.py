"""`RawKSpace`: what every reader delivers, whatever the file format.

Array order inside the package is (slice, coil, readout, phase_encode); other orders are
converted by the readers, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mri_alps.core.errors import InputFileError, ShapeError

if TYPE_CHECKING:
    from mri_alps.rawdata.geometry import Geometry


class SliceSource(Protocol):
    """How a format hands over its slices, one at a time; indices are already checked."""

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex (coil, readout, phase_encode)."""

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return complex (coil, readout, phase_encode) and its bool mask, or None."""

    def read_reference(self, index: int) -> np.ndarray | None:
        """Return the file's own reconstruction of the slice, or None."""

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Return the complex image behind simulated data, or None."""


@dataclass(frozen=True)
class RawKSpace:
    """An opened scan: everything but the samples, which are read slice by slice.

    Memory does not grow with the number of slices (but for the mask, one byte a point, where
    slices are sampled differently). The object holds no open file and can be pickled.

    Parameters
    ----------
    path : Path
        The file it came from.
    format : str
        "fastmri", "ismrmrd", "bart", or "array" for data that never was a file.
    n_slices, n_coils : int
        Single-coil data have `n_coils` 1.
    shape : tuple of int
        (readout, phase_encode) of a slice's k-space as delivered; DC sits at N // 2.
    mask : np.ndarray
        bool (n_slices or 1, readout or 1, phase_encode), True where measured. Edge padding,
        partial Fourier and the missing side of an asymmetric echo are False.
    noise_covariance : np.ndarray or None
        complex (coils, coils) in the units of `read_slice`. **Per real component**:
        element (c, c) is the variance of the real part (and of the imaginary part) of the
        noise of one k-space sample of coil c, that is E[n_c conj(n_d)] / 2. Already scaled to
        the imaging dwell time and divided by the number of averages. None where the file
        holds no noise measurement.
    geometry : Geometry
        Matrices, fields of view, positions, directions.
    crop : tuple of int
        (readout, phase_encode) of the final image, from the header's recon matrix, never
        larger than `shape`; centred, index N // 2 on N // 2.
    acquisition : str
        Name of the contrast or protocol, "" if unknown.
    attributes : dict
        The file's attributes (json-able).
    axes : tuple of str
        ("readout", "phase_encode"), or ("phase_encode", "partition") for the slices of a 3-D
        scan, whose readout was transformed to image space.
    acquired_range : tuple of int
        [first, stop) of the last axis that the scan could have sampled; outside is edge
        padding or partial Fourier.
    n_averages : int
        Averages of the least averaged measured line.
    has_calibration : bool
        True if `read_calibration` returns lines apart from the imaging lines.
    provenance : dict
        json-able: header facts, "warnings" and "processing" (lists of sentences); "settled" are
        those of the warnings that say where the file was wrong, see `settle_scan`.
    size_is_known : bool
        False where the file does not say how large pixels are, and 1 mm stands for it.
    zeros : np.ndarray or None
        bool (readout, phase_encode): samples that the file has as measured and that are exactly
        zero in all coils and slices; they are outside `mask`.
    is_settled : bool
        Whether `settle_scan` has looked at it.
    defect : str or None
        What is wrong with the measurement, was seen by `settle_scan` and could not be corrected, so
        that an image of it would be wrong; it is among the warnings as well.
    """

    path: Path
    format: str
    n_slices: int
    n_coils: int
    shape: tuple[int, int]
    mask: np.ndarray
    noise_covariance: np.ndarray | None
    geometry: Geometry
    crop: tuple[int, int]
    source: SliceSource = field(repr=False)
    acquisition: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    axes: tuple[str, str] = ("readout", "phase_encode")
    acquired_range: tuple[int, int] = (0, 0)
    n_averages: int = 1
    has_calibration: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)
    size_is_known: bool = True
    zeros: np.ndarray | None = field(default=None, repr=False)
    is_settled: bool = False
    defect: str | None = None

    def __post_init__(self) -> None:
        if self.acquired_range == (0, 0):
            object.__setattr__(self, "acquired_range", (0, self.shape[1]))

    @property
    def pixel_spacing(self) -> tuple[float, float]:
        """Size in mm of an image pixel, (readout, phase_encode).

        That of the encoded space: images are cropped to the recon matrix, never interpolated.
        """
        names = ("readout", "phase_encode", "partition")
        first, second = (names.index(axis) for axis in self.axes)
        view, matrix = self.geometry.encoded_field_of_view, self.geometry.encoded_matrix
        if self.format == "fastmri":  # where the header contradicts it, the k-space counts
            return view[first] / self.shape[0], view[second] / self.shape[1]
        return view[first] / matrix[first], view[second] / matrix[second]

    @property
    def slice_thickness(self) -> float:
        """Extent in mm of a slice along its normal."""
        geometry = self.geometry
        if self.axes[1] == "partition":  # the slices are readout positions
            return geometry.encoded_field_of_view[0] / geometry.encoded_matrix[0]
        return geometry.recon_field_of_view[2] / geometry.recon_matrix[2]

    def slice_mask(self, index: int) -> np.ndarray:
        """Return the sampling of slice `index`, bool (readout, phase_encode), a fresh array.

        Parameters
        ----------
        index : int
            Slice.
        """
        index = self._check_index(index)
        mask = self.mask[index if len(self.mask) > 1 else 0]
        return np.array(np.broadcast_to(mask, self.shape))

    def read_slice(self, index: int) -> np.ndarray:
        """Read the k-space of one slice.

        Parameters
        ----------
        index : int
            0 to n_slices - 1, in order of position.

        Returns
        -------
        np.ndarray
            complex64 (coil, readout, phase_encode), zero outside the mask. The image is its
            centred orthonormal inverse Fourier transform.

        Raises
        ------
        InputFileError
            If the file cannot be read any more or holds NaN or Inf inside the mask.
        """
        index = self._check_index(index)
        kspace = self._as_complex(self.source.read_kspace(index), "k-space", index)
        kspace[:, ~self.slice_mask(index)] = 0
        return self._check_finite(kspace, "k-space", index)

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Read the separate calibration lines of one slice.

        Parameters
        ----------
        index : int
            Slice.

        Returns
        -------
        None or (kspace, mask)
            complex64 (coil, readout, phase_encode) on the grid of `read_slice` and bool
            (readout, phase_encode). None if the scan has no lines that are for calibration
            only; its calibration region is then the centre of `mask`.
        """
        index = self._check_index(index)
        found: tuple[np.ndarray, np.ndarray] | None = self.source.read_calibration(index)
        if found is None:
            return None
        kspace = self._as_complex(found[0], "calibration lines", index)
        mask = np.array(np.broadcast_to(found[1], self.shape))
        kspace[:, ~mask] = 0
        return self._check_finite(kspace, "calibration lines", index), mask

    def read_reference(self, index: int) -> np.ndarray | None:
        """Read the file's own reconstruction (root-sum-of-squares or emulated single coil).

        Parameters
        ----------
        index : int
            Slice.

        Returns
        -------
        np.ndarray or None
            float32 (readout, phase_encode), in the units of the file; None if there is none.
        """
        index = self._check_index(index)
        reference = self.source.read_reference(index)
        if reference is None:
            return None
        return self._check_finite(np.asarray(reference, np.float32), "reference image", index)

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Read the complex image from which the k-space was simulated.

        Parameters
        ----------
        index : int
            Slice.

        Returns
        -------
        np.ndarray or None
            complex64 (readout, phase_encode), uncropped, in the units of the posterior mean
            (raw units of the coil-combined image); None if there is none.
        """
        index = self._check_index(index)
        truth = self.source.read_ground_truth(index)
        if truth is None:
            return None
        return self._check_finite(np.asarray(truth, np.complex64), "ground truth", index)

    def _check_index(self, index: int) -> int:
        if not 0 <= index < self.n_slices:
            raise ShapeError(
                f"{self.path}: slice {index} was asked for, the file has slices 0 to "
                f"{self.n_slices - 1}: choose one of them"
            )
        return int(index)

    def _as_complex(self, kspace: np.ndarray, what: str, index: int) -> np.ndarray:
        expected = (self.n_coils, *self.shape)
        if kspace.shape != expected:
            raise InputFileError(
                f"{self.path}: the {what} of slice {index} has the shape {kspace.shape} where "
                f"{expected} was announced: check that the file is complete"
            )
        return np.array(kspace, np.complex64)

    def _check_finite(self, array: np.ndarray, what: str, index: int) -> np.ndarray:
        if not np.isfinite(array).all():
            n_bad = int(np.size(array) - np.isfinite(array).sum())
            raise InputFileError(
                f"{self.path}: the {what} of slice {index} holds {n_bad} values that are NaN or "
                "Inf: export the scan again, or mask these samples out"
            )
        return array
