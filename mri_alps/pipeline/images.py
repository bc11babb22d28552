"""Small image helpers: cropping as the header says, root sum of squares, units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import ifftc
from mri_alps.core.magnitudes import unit_of
from mri_alps.pipeline._shot_images import used_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mri_alps.calibration import Acquisition
    from mri_alps.rawdata import RawKSpace


def root_sum_of_squares(kspace: np.ndarray) -> np.ndarray:
    """Return the root sum of squares over coils of the centred inverse Fourier transform.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex, (coils, readout, phase_encode).

    Returns
    -------
    numpy.ndarray
        float32, (readout, phase_encode).
    """
    images = ifftc(torch.from_numpy(np.ascontiguousarray(kspace)))
    unit = unit_of(images)
    return (torch.linalg.vector_norm(images / unit, dim=0) * unit).numpy().astype(np.float32)


def zero_filled(raw: RawKSpace, index: int, mask: np.ndarray) -> np.ndarray:
    """Return the root sum of squares of the coil images with zeros where nothing was measured.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    mask : numpy.ndarray
        Bool, broadcasts to (readout, phase_encode).

    Returns
    -------
    numpy.ndarray
        float32, (readout, phase_encode), uncropped.
    """
    return root_sum_of_squares(raw.read_slice(index) * mask)


def used_mask(acquisition: Acquisition) -> np.ndarray:
    """Return the points of k-space that a slice is reconstructed from.

    Parameters
    ----------
    acquisition : Acquisition
        The prepared slice.

    Returns
    -------
    numpy.ndarray
        Bool, (1, phase_encode) for whole lines, else (readout, phase_encode); along a trajectory
        the points next to its samples.
    """
    if acquisition.trajectory is not None:
        return used_points(acquisition)
    mask = np.atleast_2d(acquisition.mask.cpu().numpy())
    return np.broadcast_to(mask, (mask.shape[-2], acquisition.kspace.shape[-1]))


def reference_image(raw: RawKSpace, index: int) -> np.ndarray | None:
    """Return the scan's own reference image of a slice, on the grid of the result.

    It is cropped around the centre where the k-space is narrower than the recon matrix; one that
    is smaller than the result says nothing about the rest, and is None.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    """
    reference = raw.read_reference(index)
    if reference is None or reference.shape[0] < raw.crop[0] or reference.shape[1] < raw.crop[1]:
        return None
    return np.asarray(center_crop(reference, raw.crop), dtype=np.float32)


def middle_volume(raw: RawKSpace, indices: Sequence[int]) -> range:
    """Return which of some slices are those of one volume, the middle one.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    indices : sequence of int
        Slices, for example those of a file.

    Returns
    -------
    range
        Places in `indices`; empty where slices are no readout positions of a 3-D scan, or some
        between others are missing.
    """
    if raw.axes[1] != "partition" or not indices:
        return range(0)
    length = raw.n_slices // int(raw.provenance.get("n_slabs", 1))
    slab = indices[len(indices) // 2] // length
    rows = [row for row, index in enumerate(indices) if index // length == slab]
    found = [indices[row] for row in rows]
    is_whole = found == list(range(found[0], found[0] + len(found)))
    return range(rows[0], rows[-1] + 1) if is_whole and len(rows) > 1 else range(0)
