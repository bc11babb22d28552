"""Whether the object is larger than the field of view, so that two of its places share a pixel.

ESPIRiT tells (Uecker et al. 2014): where one place of the object is seen by the coils, one
eigenvalue of the local operator is 1, where two fold onto each other, two are. But the second is
near 1, too, at the border of an object that just fills the field of view, since kernels of a few
samples do not resolve where maps go over into those of the other side: there the first set of maps
still explains most of what was measured. So both is asked for: a second eigenvalue near 1 in a
connected region with clear signal, and signal of the calibration region at its full resolution that
the first set leaves to the second. Of an object that fills the view less is enough for a second set
to be used, since undersampling folds what is wrong at the border into the middle.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from mri_alps.calibration._espirit import local_matrices, two_dominant_eigenvectors
from mri_alps.calibration.scale import low_resolution_images
from mri_alps.calibration.sensitivity import MAXIMUM_REGION, find_bright
from mri_alps.core.crop import center_crop, center_range
from mri_alps.core.fourier import ifftc

if TYPE_CHECKING:
    from mri_alps.calibration.sensitivity import LocalOperators

FOLDED_EIGENVALUE = 0.95
"""Second eigenvalue from which a pixel may hold two places of the object."""
FOLDED_SHARE = 0.05
"""Part of the calibration region's signal, by its norm, that a second set of maps takes, from which
the field of view is said to be smaller than the object."""
BORDER_SHARE, FILLED_BORDER = 0.01, 0.4
"""The same from which a second set is used of an object that fills the view; and norm of the image
at its border over that of all of it from which it does."""


class Folding(NamedTuple):
    """Where a second set of maps takes signal.

    Attributes
    ----------
    share : float
        Of the calibration region's signal, by its norm, in the largest connected region (the
        borders of the image are neighbours).
    axis : int
        Along which the object folds: 0 for the readout, 1 for the phase encode.
    first, last : int
        Positions along this axis where the region begins and ends; it goes on over the border of
        the image where it begins after its end.
    part : float
        Of the pixels with clear signal that have a second eigenvalue near 1.
    border : float
        Root mean square of the image's signal at both ends of this axis over that of all of it.
    """

    share: float
    axis: int
    first: int
    last: int
    part: float
    border: float

    @property
    def is_smaller_field_of_view(self) -> bool:
        """Whether the object is larger than the field of view."""
        return self.share > FOLDED_SHARE

    @property
    def reaches_border(self) -> bool:
        """Whether one set of maps is wrong where the object fills the view from end to end."""
        return self.share > BORDER_SHARE and self.border > FILLED_BORDER


def find_folding(operators: LocalOperators) -> Folding:
    """Look for pixels that two places of the object share.

    Parameters
    ----------
    operators : LocalOperators
        Of a calibration region, of whitened coils: noise of 1 per real component.
    """
    block = operators.block
    second = _second_set(operators)
    small = (second.near_one.shape[0], second.near_one.shape[1])
    images = center_crop(_full_resolution(block, second.grid), small)
    noise = 2 * math.prod(block.shape[1:]) / math.prod(small)
    total = float(images.abs().square().sum()) - noise * images.numel()
    taken = np.zeros(small)
    there = images[:, torch.as_tensor(second.bright)].T.to(second.maps.device)
    along = (second.maps.conj() * there).sum(-1).abs().square() - noise
    taken[second.bright] = along.cpu().numpy()
    regions = [_largest_region(second.near_one, axis) for axis in (0, 1)]
    energies = [float(taken[region].sum()) for region in regions]
    axis = int(energies[1] >= energies[0])
    share = math.sqrt(max(energies[axis], 0.0) / max(total, noise * images.numel()))
    first, last = _extent(np.asarray(regions[axis].any(1 - axis)), operators.shape[axis])
    part = float(second.near_one.sum() / max(second.bright.sum(), 1))
    energy = images.abs().square().sum(0) - noise * len(images)
    ends = energy.transpose(0, axis)[[0, -1]]
    border = float((ends.mean() / energy.mean().clamp(min=noise)).clamp(min=0).sqrt())
    return Folding(share, axis, first, last, part, border)


class _SecondSet(NamedTuple):
    """On a grid as fine as a calibration region is.

    Attributes
    ----------
    bright : numpy.ndarray
        bool (h, w), pixels with clear signal.
    maps : torch.Tensor
        Second maps there, complex64 (pixels, coils); the first ones are those that explain the
        low-resolution images best.
    near_one : numpy.ndarray
        bool (h, w), those whose second eigenvalue is near 1.
    grid : tuple of int
        Pixels of the whole field of view that the operators are made for.
    """

    bright: np.ndarray
    maps: torch.Tensor
    near_one: np.ndarray
    grid: tuple[int, int]


def _second_set(operators: LocalOperators) -> _SecondSet:
    block, lags, whole, shape = operators
    small = (min(shape[0], MAXIMUM_REGION), min(shape[1], MAXIMUM_REGION))
    grid = (round(small[0] * whole[0] / shape[0]), round(small[1] * whole[1] / shape[1]))
    rows, columns = (center_range(*pair) for pair in zip(grid, small, strict=True))
    low = low_resolution_images(block, grid)[:, rows, columns]
    bright = find_bright(low.abs().square().sum(0).sqrt().numpy())
    start = low[:, torch.as_tensor(bright)].T.to(lags.device, torch.complex64)
    local = local_matrices(lags, grid, rows).unflatten(0, (-1, grid[1]))[:, columns]
    local = local[torch.as_tensor(bright, device=lags.device)]
    _, maps, values = two_dominant_eigenvectors(local, start)
    near_one = np.zeros(small, bool)
    near_one[bright] = values[1].cpu().numpy() > FOLDED_EIGENVALUE
    return _SecondSet(bright, maps, near_one, grid)


def _full_resolution(block: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """Images of a region without the window that low-resolution images have."""
    kspace = np.zeros((len(block), *shape), np.complex64)
    corner = [n // 2 - m // 2 for n, m in zip(shape, block.shape[1:], strict=True)]
    rows, columns = (slice(c, c + m) for c, m in zip(corner, block.shape[1:], strict=True))
    kspace[:, rows, columns] = block
    return ifftc(torch.as_tensor(kspace))


def _largest_region(marked: np.ndarray, axis: int) -> np.ndarray:
    """Largest connected part of what is marked, whose image has no border along an axis."""
    half = marked.shape[axis] // 2
    labels, n_regions = ndimage.label(np.roll(marked, half, axis))
    sizes = np.bincount(labels.ravel(), minlength=n_regions + 1)
    sizes[0] = 0
    largest = (labels == sizes.argmax()) & (n_regions > 0)
    return np.asarray(np.roll(largest, -half, axis))


def _extent(marked: np.ndarray, size: int) -> tuple[int, int]:
    """First and last pixel of an image of `size` that positions of a smaller one stand for."""
    half = len(marked) // 2
    found = np.flatnonzero(np.roll(marked, half))
    if not len(found):
        return (0, 0)
    unit = size / len(marked)
    ends = ((found[0] - half) * unit, (found[-1] + 1 - half) * unit - 1)
    first, last = (round(float(end)) % size for end in ends)
    return (first, last)
