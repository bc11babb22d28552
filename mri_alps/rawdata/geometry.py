"""Where the slices of a scan lie and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Where the slices lie and how large they are.

    For a 3-D scan that was decoupled into slices (see `RawKSpace.axes`), the directions are
    those of the delivered slices: the first image axis is the phase encode, the second the
    partition, and the slices lie along the readout. The matrices and fields of view are the
    header's own (x = readout, y = phase encode, z = partition or slice) in either case.

    Parameters
    ----------
    encoded_matrix, recon_matrix : tuple of int
        (x, y, z).
    encoded_field_of_view, recon_field_of_view : tuple of float
        (x, y, z) in mm.
    slice_positions : np.ndarray
        (n_slices, 3), centre of each slice in mm.
    readout_direction, phase_direction, slice_direction : np.ndarray
        (n_slices, 3), unit vectors of the first image axis, the second image axis and the
        slice normal.
    is_nominal : bool
        True where the file holds no positions and directions: slices are then stacked along z.
    """

    encoded_matrix: tuple[int, int, int]
    recon_matrix: tuple[int, int, int]
    encoded_field_of_view: tuple[float, float, float]
    recon_field_of_view: tuple[float, float, float]
    slice_positions: np.ndarray
    readout_direction: np.ndarray
    phase_direction: np.ndarray
    slice_direction: np.ndarray
    is_nominal: bool = False

    @classmethod
    def nominal(
        cls,
        encoded_matrix: tuple[int, int, int],
        recon_matrix: tuple[int, int, int],
        encoded_field_of_view: tuple[float, float, float],
        recon_field_of_view: tuple[float, float, float],
        n_slices: int,
    ) -> Geometry:
        """Stack `n_slices` along z, one slice thickness (z of the recon field of view) apart.

        Parameters
        ----------
        encoded_matrix, recon_matrix : tuple of int
            (x, y, z).
        encoded_field_of_view, recon_field_of_view : tuple of float
            (x, y, z) in mm.
        n_slices : int
            Slices.
        """
        positions = np.zeros((n_slices, 3))
        positions[:, 2] = (np.arange(n_slices) - (n_slices - 1) / 2) * recon_field_of_view[2]
        read, phase, normal = (np.tile(axis, (n_slices, 1)) for axis in np.eye(3))
        return cls(
            encoded_matrix,
            recon_matrix,
            encoded_field_of_view,
            recon_field_of_view,
            positions,
            read,
            phase,
            normal,
            is_nominal=True,
        )
