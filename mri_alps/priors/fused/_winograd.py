"""Convolutions of 3 x 3 by Winograd's filtering F(4 x 4, 3 x 3): a quarter of the products.

An image is cut into tiles of 6 x 6 pixels that overlap by 2; of each come 4 x 4 results,
A^T [(G g G^T) * (B^T d B)] A with d the tile and g the filter (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016, section 4.3). The products are 36 small matrix products
over channels, which torch does; what comes before and after is compiled by numba. Rounding is some
four times that of plain sums.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
import torch

from mri_alps.priors.fused._kernels import OPTIONS, compiled

_SINGLE = np.float32
_TWO, _FOUR, _FIVE, _EIGHT = _SINGLE(2), _SINGLE(4), _SINGLE(5), _SINGLE(8)

TILES_AT_ONCE = 128
"""What lies between the two transforms then stays in a core's cache."""

_FILTER = np.array(  # G
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


@numba.njit(inline="always", **OPTIONS)
def _runs(x, first, stride, n):
    a, b = x[first : first + n], x[first + stride : first + stride + n]
    c = x[first + 2 * stride : first + 2 * stride + n]
    d = x[first + 3 * stride : first + 3 * stride + n]
    e = x[first + 4 * stride : first + 4 * stride + n]
    return a, b, c, d, e, x[first + 5 * stride : first + 5 * stride + n]


# Slices of one axis and a loop for each result: more arrays in a loop, or sums of indices, and the
# compiler leaves vectors alone.
@numba.njit(**OPTIONS)
def _into(x, first, stride, n, result, to, step):
    """B^T: of 6 runs of n numbers, `stride` apart in x, 6 that are `step` apart in the result."""
    a, b, c, d, e, f = _runs(x, first, stride, n)
    y = result[to : to + n]
    for i in range(n):
        y[i] = _FOUR * a[i] - _FIVE * c[i] + e[i]
    y = result[to + step : to + step + n]
    for i in range(n):
        y[i] = e[i] + d[i] - _FOUR * (c[i] + b[i])
    y = result[to + 2 * step : to + 2 * step + n]
    for i in range(n):
        y[i] = e[i] - d[i] - _FOUR * (c[i] - b[i])
    y = result[to + 3 * step : to + 3 * step + n]
    for i in range(n):
        y[i] = e[i] - c[i] + _TWO * (d[i] - b[i])
    y = result[to + 4 * step : to + 4 * step + n]
    for i in range(n):
        y[i] = e[i] - c[i] - _TWO * (d[i] - b[i])
    y = result[to + 5 * step : to + 5 * step + n]
    for i in range(n):
        y[i] = _FOUR * b[i] - _FIVE * d[i] + f[i]


@numba.njit(**OPTIONS)
def _out_of(x, first, stride, n, result, to, step):
    """A^T: of 6 runs 4."""
    a, b, c, d, e, f = _runs(x, first, stride, n)
    y = result[to : to + n]
    for i in range(n):
        y[i] = a[i] + b[i] + c[i] + d[i] + e[i]
    y = result[to + step : to + step + n]
    for i in range(n):
        y[i] = b[i] - c[i] + _TWO * (d[i] - e[i])
    y = result[to + 2 * step : to + 2 * step + n]
    for i in range(n):
        y[i] = b[i] + c[i] + _FOUR * (d[i] + e[i])
    y = result[to + 3 * step : to + 3 * step + n]
    for i in range(n):
        y[i] = b[i] - c[i] + _EIGHT * (d[i] - e[i]) + f[i]


def tiles(x, width, first_row, result):
    """B^T d B of some rows of tiles: (pixels, channels), zeros around, to (36, tiles, channels)."""
    n_pixels, channels = x.shape
    height, n = n_pixels // width, width * channels
    columns = (width + 3) // 4
    flat, to, step = x.reshape(-1), result.reshape(-1), result.shape[1] * channels
    border = np.zeros(6 * n, np.float32)
    length = (4 * columns + 2) * channels
    lines = np.zeros(6 * length, np.float32)
    for tile_row in range(result.shape[1] // columns):
        first = 4 * (first_row + tile_row) - 1
        if first >= 0 and first + 6 <= height:
            source, start = flat, first * n
        else:
            source, start = border, 0
            border[:] = 0
            low, high = max(first, 0), min(first + 6, height)
            border[(low - first) * n : (high - first) * n] = flat[low * n : high * n]
        _into(source, start, n, n, lines, channels, length)
        for k in range(6):
            for column in range(columns):
                at = 6 * k * step + (tile_row * columns + column) * channels
                start = k * length + 4 * column * channels
                _into(lines, start, channels, channels, to, at, step)


def untile(x, width, first_row, result):
    """A^T m A of those tiles: (36, tiles, channels) to (pixels, channels)."""
    n_pixels, channels = result.shape
    height, n = n_pixels // width, width * channels
    columns = (width + 3) // 4
    run, step = columns * channels, x.shape[1] * channels
    flat, to = x.reshape(-1), result.reshape(-1)
    part, row = np.empty(4 * 6 * run, np.float32), np.empty(4 * run, np.float32)
    for tile_row in range(x.shape[1] // columns):
        top = 4 * (first_row + tile_row)
        for k in range(6):
            _out_of(flat, k * step + tile_row * run, 6 * step, run, part, k * run, 6 * run)
        for line in range(min(4, height - top)):
            for column in range(columns):
                start, at = 6 * line * run + column * channels, 4 * column * channels
                _out_of(part, start, run, channels, row, at, channels)
            first = (top + line) * n
            to[first : first + n] = row[:n]


@cache
def _compiled():
    return compiled(tiles), compiled(untile)


class Convolution:
    """A convolution with zeros around, as `torch.nn.functional.conv2d` with a padding of 1.

    Parameters
    ----------
    weight : torch.Tensor
        float32 (outputs, inputs, 3, 3).
    """

    def __init__(self, weight: torch.Tensor):
        outputs, inputs = weight.shape[:2]
        taps = weight.permute(2, 3, 1, 0).reshape(9, -1).double()
        matrices = torch.as_tensor(np.kron(_FILTER, _FILTER)) @ taps  # G g G^T
        self.matrices = matrices.float().view(36, inputs, outputs)

    def __call__(self, x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Convolve (pixels, inputs), contiguous, rows of the image of this shape after each other.

        The result is (pixels, outputs).
        """
        before, after = _compiled()
        n_rows, columns = -(-shape[0] // 4), -(-shape[1] // 4)
        inputs, outputs = self.matrices.shape[1:]
        result, at_once = x.new_empty(len(x), outputs), max(1, TILES_AT_ONCE // columns)
        work = x.new_empty(36 * min(n_rows, at_once) * columns * (inputs + outputs))
        for first in range(0, n_rows, at_once):
            n_tiles = min(at_once, n_rows - first) * columns
            into = work[: 36 * n_tiles * inputs].view(36, n_tiles, inputs)
            out = work[-36 * n_tiles * outputs :].view(36, n_tiles, outputs)
            before(x.numpy(), shape[1], first, into.numpy())
            torch.bmm(into, self.matrices, out=out)
            after(out.numpy(), shape[1], first, result.numpy())
        return result
