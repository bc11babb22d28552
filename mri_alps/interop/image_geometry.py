"""Where the pixels of a reconstruction lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from mri_alps.pipeline import Reconstruction


@dataclass(frozen=True)
class ImageGeometry:
    """Pixels of a stack of slices, in mm and in DICOM's patient coordinates (LPS).

    Parameters
    ----------
    spacing : tuple of float
        (readout, phase_encode).
    thickness : float
        Of a slice.
    centers : np.ndarray
        (n_slices, 3), place of the pixel (H // 2, W // 2) of each slice.
    row_direction, column_direction, normal : np.ndarray
        (n_slices, 3), unit vectors: of increasing first index (readout), of increasing second
        index (phase encode), and of the slices.
    is_nominal : bool
        True if the scan said nothing, so that these are made up.
    size_is_known : bool
        False if it did not say how large its pixels are either: they are 1 mm then.
    """

    spacing: tuple[float, float]
    thickness: float
    centers: np.ndarray
    row_direction: np.ndarray
    column_direction: np.ndarray
    normal: np.ndarray
    is_nominal: bool
    size_is_known: bool = True

    @classmethod
    def of(cls, reconstruction: Reconstruction) -> ImageGeometry:
        """Take it from the provenance of a reconstruction.

        Parameters
        ----------
        reconstruction : Reconstruction
            A result.

        Raises
        ------
        ConfigurationError
            If the file was written before reconstructions held their geometry.
        """
        stored = reconstruction.attributes.get("provenance", {}).get("geometry")
        if stored is None:
            raise ConfigurationError(
                f"{reconstruction.path} does not say where its pixels lie: reconstruct the scan "
                "again with this version"
            )
        which = np.asarray(reconstruction.slices)
        return cls(
            spacing=(float(stored["pixel_spacing"][0]), float(stored["pixel_spacing"][1])),
            thickness=float(stored["slice_thickness"]),
            centers=np.array(stored["slice_positions"], float)[which],
            row_direction=np.array(stored["readout_direction"], float)[which],
            column_direction=np.array(stored["phase_direction"], float)[which],
            normal=np.array(stored["slice_direction"], float)[which],
            is_nominal=bool(stored["is_nominal"]),
            size_is_known=bool(stored.get("size_is_known", True)),
        )

    def corner(self, index: int, shape: tuple[int, int]) -> np.ndarray:
        """Return the centre of pixel (0, 0) of a slice.

        Parameters
        ----------
        index : int
            Row of the reconstruction.
        shape : tuple of int
            (H, W) of its images.
        """
        return (
            self.centers[index]
            - (shape[0] // 2) * self.spacing[0] * self.row_direction[index]
            - (shape[1] // 2) * self.spacing[1] * self.column_direction[index]
        )

    def slice_step(self) -> np.ndarray:
        """Return the vector from one slice to the next.

        Raises
        ------
        ConfigurationError
            If the slices are not parallel or not equally far apart.
        """
        if len(self.centers) == 1:
            return self.thickness * self.normal[0]
        steps = np.diff(self.centers, axis=0)
        axes = np.stack([self.row_direction, self.column_direction])
        even = np.abs(steps - steps.mean(axis=0)).max() <= 0.01 * self.thickness
        if not even or np.abs(axes - axes[:, :1]).max() > 1e-3 or not steps.any():
            raise ConfigurationError(
                "the slices are not parallel or not equally far apart, which one NIfTI volume "
                "cannot hold: convert to DICOM, or reconstruct consecutive slices"
            )
        return steps.mean(axis=0)
