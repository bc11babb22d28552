"""3-D Cartesian scans as slices: the readout goes to image space, a block at a time.

A fully sampled readout of a 3-D scan can be transformed exactly; each readout position is then
a 2-D problem of its own. Every position needs every line of the file, so positions are made in
blocks that fit a memory budget: one pass over the file a block, whatever the number of slices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mri_alps.core.crop import center_range

BLOCK_BYTES = 256 * 2**20


def readout_to_image(lines: np.ndarray, axis: int) -> np.ndarray:
    """Centred orthonormal inverse Fourier transform along one axis (numpy's own precision).

    Parameters
    ----------
    lines : numpy.ndarray
        Complex, any shape.
    axis : int
        The readout.
    """
    shifted = np.fft.ifftshift(lines, axes=axis)
    return np.fft.fftshift(np.fft.ifft(shifted, axis=axis, norm="ortho"), axes=axis)


def remove_oversampling(kspace: np.ndarray, n_readout: int, axis: int = -2) -> np.ndarray:
    """Crop in image space along the readout, and return to k-space.

    Exact for a fully sampled readout of any length and parity. The transforms are orthonormal,
    so the noise of a k-space sample keeps its variance.

    Parameters
    ----------
    kspace : np.ndarray
        complex (..., readout, phase_encode) for `axis` -2.
    n_readout : int
        Length of the readout to keep.
    axis : int
        The readout.

    Returns
    -------
    np.ndarray
        complex64.
    """
    kept = center_range(kspace.shape[axis], n_readout)
    image = np.take(readout_to_image(kspace, axis), range(kept.start, kept.stop), axis=axis)
    shifted = np.fft.ifftshift(image, axes=axis)
    cropped = np.fft.fftshift(np.fft.fft(shifted, axis=axis, norm="ortho"), axes=axis)
    return cropped.astype(np.complex64)


class BlockCache:
    """Keeps the block of readout positions read last.

    Parameters
    ----------
    load : callable
        load(volume, start, stop) -> complex64 (stop - start, coil, ...), the slices of the
        readout positions [start, stop) of a volume.
    n_positions : int
        Readout positions of a volume.
    position_bytes : int
        Memory of one of them.
    block_bytes : int
        Memory budget.
    """

    def __init__(
        self,
        load: Callable[[int, int, int], np.ndarray],
        n_positions: int,
        position_bytes: int,
        block_bytes: int = BLOCK_BYTES,
    ):
        self._load = load
        self._n_positions = n_positions
        self._block = max(1, min(n_positions, block_bytes // max(position_bytes, 1)))
        self._held: tuple[int, int, np.ndarray] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_held": None}

    def read(self, index: int) -> np.ndarray:
        """Return slice `index` = volume * n_positions + position; a copy."""
        volume, position = divmod(index, self._n_positions)
        start = position - position % self._block
        held = self._held
        if held is None or held[:2] != (volume, start):
            self._held = held = None  # let the old block go before the new one is made
            stop = min(start + self._block, self._n_positions)
            self._held = held = (volume, start, self._load(volume, start, stop))
        return held[2][position - start].copy()
