"""Order, positions and directions of the slices of an ISMRMRD file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_alps.rawdata.geometry import Geometry

if TYPE_CHECKING:
    from mri_alps.rawdata.header import Encoding
    from mri_alps.rawdata.ismrmrd.heads import Heads

_MIN_SPREAD_MM = 1e-3


def group_slices(heads: Heads, processing: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the slice counters in the order of position, and the place of each line's slice.

    Slices are acquired interleaved, so the counter need not follow the position. Where normals
    differ (a localiser) or positions do not, the order of the counter is kept.

    Parameters
    ----------
    heads : Heads
        Imaging lines.
    processing : list of str
        Gets a sentence when the order changes.
    """
    values, first, inverse = np.unique(heads.slice, return_index=True, return_inverse=True)
    normals = heads.slice_dir[first].astype(float)
    positions = heads.position[first].astype(float)
    order = np.arange(len(values))
    length = np.linalg.norm(normals, axis=1)
    parallel = (length > 0.5).all() and (normals @ normals[0] > 0.99 * length * length[0]).all()
    if parallel and np.isfinite(positions).all():
        along = positions @ (normals[0] / length[0])
        if np.ptp(along) > _MIN_SPREAD_MM:
            order = np.argsort(along, kind="stable")
    if (order != np.arange(len(values))).any():
        processing.append("slices put in the order of their position along the slice normal")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return values[order], place[inverse]


def slice_geometry(
    heads: Heads,
    group_of_line: np.ndarray,
    n_groups: int,
    encoding: Encoding,
    is_3d: bool,
    n_readout: int,
) -> Geometry:
    """Return positions and directions of the delivered slices.

    Parameters
    ----------
    heads : Heads
        Imaging lines.
    group_of_line : np.ndarray
        Slice or slab of each line.
    n_groups : int
        Number of slices or slabs.
    encoding : Encoding
        Matrices and fields of view.
    is_3d : bool
        Slices are readout positions of slabs.
    n_readout : int
        Readout positions of a slab.
    """
    sizes = (
        encoding.encoded_matrix,
        encoding.recon_matrix,
        encoding.encoded_field_of_view,
        encoding.recon_field_of_view,
    )
    first = np.array([np.flatnonzero(group_of_line == group)[0] for group in range(n_groups)])
    position = heads.position[first].astype(float)
    directions = [
        heads.read_dir[first].astype(float),
        heads.phase_dir[first].astype(float),
        heads.slice_dir[first].astype(float),
    ]
    known = all((np.linalg.norm(d, axis=1) > 0.5).all() for d in directions)
    if not known or not np.isfinite([position, *directions]).all():
        return Geometry.nominal(*sizes, n_groups * (n_readout if is_3d else 1))
    directions = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in directions]
    if not is_3d:
        return Geometry(*sizes, position, *directions)
    read, phase, normal = (np.repeat(d, n_readout, axis=0) for d in directions)
    spacing = encoding.encoded_field_of_view[0] / encoding.encoded_matrix[0]
    shift = (np.tile(np.arange(n_readout), n_groups) - n_readout // 2) * spacing
    position = np.repeat(position, n_readout, axis=0) + shift[:, np.newaxis] * read
    return Geometry(*sizes, position, phase, normal, read)
