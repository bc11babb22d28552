"""Fourth stage, if asked for: fewer, virtual coils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mri_alps.calibration.chain.mapped import normalise
from mri_alps.calibration.compression import compression_matrix
from mri_alps.calibration.row_compression import (
    compress_rows,
    require_full_readout,
    row_compression_matrices,
)
from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from mri_alps.calibration.chain.scaled import ScaledSlice


@dataclass(frozen=True)
class CompressedSlice:
    """A scaled slice of virtual coils, or of its own where nothing is compressed.

    Parameters
    ----------
    scaled : ScaledSlice
        The stage before.
    kspace : torch.Tensor
        complex64 (virtual coils, H, W).
    sensitivity_maps : torch.Tensor
        Theirs: of unit norm over the virtual coils, or (sets, virtual coils, H, W) of several sets.
    maps_uncompressed : torch.Tensor
        complex64 (coils, H, W), in the normalisation in which they go with the new image; or
        (sets, coils, H, W).
    compression : numpy.ndarray or None
        See `Acquisition`.
    """

    scaled: ScaledSlice
    kspace: torch.Tensor
    sensitivity_maps: torch.Tensor
    maps_uncompressed: torch.Tensor
    compression: np.ndarray | None


def compress(
    scaled: ScaledSlice,
    n_virtual_coils: int | None = None,
    tolerance: float | None = None,
    row_tolerance: float | None = None,
) -> CompressedSlice:
    """Compress the coils of a slice, by one of three settings; leave them as they are by none.

    Parameters
    ----------
    scaled : ScaledSlice
        The slice.
    n_virtual_coils, tolerance : int and float, optional
        See `compression_matrix`.
    row_tolerance : float, optional
        See `row_compression_matrices`.

    Raises
    ------
    ConfigurationError
        If what is asked for is impossible.
    """
    kspace, maps = scaled.kspace, scaled.sets
    if row_tolerance is not None:
        if n_virtual_coils is not None or tolerance is not None:
            raise ConfigurationError(
                "row_compression_tolerance goes with no other coil compression: give one of them"
            )
        require_full_readout(scaled.whitened.measured)
        side_by_side = maps if maps.ndim == 3 else torch.cat(list(maps), -1)
        matrices = row_compression_matrices(side_by_side, row_tolerance)
        return _by_matrix(scaled, matrices, compress_rows(kspace, matrices))
    if len(kspace) > 1 and (n_virtual_coils is not None or tolerance is not None):
        region = scaled.whitened.region
        source = region.kspace if min(region.size) > 0 else scaled.whitened.kspace
        matrix = torch.as_tensor(compression_matrix(source, n_virtual_coils, tolerance))
        virtual = torch.tensordot(matrix.to(kspace.device, kspace.dtype), kspace, dims=1)
        return _by_matrix(scaled, matrix, virtual)
    return CompressedSlice(scaled, kspace, maps, maps, None)


def _by_matrix(
    scaled: ScaledSlice, compression: torch.Tensor, kspace: torch.Tensor
) -> CompressedSlice:
    """Give virtual coils their maps, and the uncompressed ones the new image's normalisation.

    Where compression loses a part of a pixel's sensitivity, the virtual maps are normalised
    again, which makes the image smaller by that part; the uncompressed maps grow by it. Several
    sets stay as they are.
    """
    maps = scaled.sets
    matrix = compression.to(maps.device, maps.dtype)
    # (virtual, coils), or one for each row: (H, virtual, coils) @ (sets, H, coils, W).
    virtual = (matrix @ maps.transpose(-3, -2)).transpose(-3, -2)
    if maps.ndim == 4:
        return CompressedSlice(scaled, kspace, virtual, maps, compression.cpu().numpy())
    virtual, norm = normalise(virtual)
    uncompressed = torch.where(norm > 0, maps / norm.clamp_min(1e-20), 0)
    return CompressedSlice(scaled, kspace, virtual, uncompressed, compression.cpu().numpy())
