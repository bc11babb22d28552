"""The centre of an axis is index N // 2, for odd and even N; parts of arrays around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import torch  # reading raw files does without

_Array = TypeVar("_Array", bound="np.ndarray | torch.Tensor")


def center_range(length: int, n_center: int) -> slice:
    """Return the indices of `n_center` entries around index length // 2.

    Parameters
    ----------
    length, n_center : int
        Of the axis, and of the part.
    """
    first = length // 2 - n_center // 2
    return slice(first, first + n_center)


def center_crop(array: _Array, size: Sequence[int]) -> _Array:
    """Cut the centred block of the last axes, a view: index N // 2 goes to size // 2.

    Parameters
    ----------
    array : numpy.ndarray or torch.Tensor
        (..., *shape).
    size : sequence of int
        Of the block, no larger than `shape`.
    """
    pairs = zip(array.shape[-len(size) :], size, strict=True)
    block = (..., *(center_range(*pair) for pair in pairs))
    return cast("Any", array)[block]


def center_crop_or_pad(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring the last two axes to `shape` around the centre, cropping or padding with zeros.

    The centre pixel N // 2 stays the centre pixel, for odd and even sizes.

    Parameters
    ----------
    images : numpy.ndarray
        (..., H, W).
    shape : tuple of int
        Wanted (H, W).
    """
    for axis, size in zip((-2, -1), shape, strict=True):
        have = images.shape[axis]
        offset = have // 2 - size // 2
        if size <= have:
            images = np.take(images, range(offset, offset + size), axis=axis)
        else:
            widths = [(0, 0)] * images.ndim
            widths[axis] = (-offset, size - have + offset)
            images = np.pad(images, widths)
    return images
