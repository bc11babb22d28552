"""What a network does between its convolutions, a pass over memory each; compiled by numba.

Feature maps are (pixels, 2 channels), real parts of a pixel before its imaginary parts. Their
numbers are float32, or bfloat16 that travels as uint16. Everything is in this one file: numba's
cache looks at the file of the cached function alone to tell whether it is stale.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.extending import overload

OPTIONS: Any = {"fastmath": True, "nogil": True, "error_model": "numpy"}
_SINGLE = np.float32
_TINY = _SINGLE(1e-8)  # as in the plain layers
_PIXELS_AT_ONCE = 256
"""Pixels that are summed in single precision before they join a sum in double."""


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function compiled at its first call, cached where numba finds a place to write.

    A cache that is damaged or cannot be written (a full disk) is passed over with a warning: numba
    lets its errors through, at every start.
    """
    plain = numba.njit(**OPTIONS)(function)
    try:
        cached = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # no folder can be written to
        return plain
    chosen = [cached]

    def run(*arguments: Any) -> None:
        try:
            chosen[0](*arguments)
        except Exception as error:  # before anything ran: kernels raise none themselves
            if chosen[0] is plain:
                raise
            warnings.warn(
                f"numba's cache of compiled code fails ({type(error).__name__}: {error}), and "
                "every start takes longer: empty its folder, __pycache__ beside "
                f"{Path(__file__).name} or the one that NUMBA_CACHE_DIR names",
                RuntimeWarning,
                stacklevel=3,
            )
            chosen[0] = plain
            plain(*arguments)

    return run


def _read(numbers, pixel, channel):
    raise NotImplementedError


@overload(_read, jit_options=OPTIONS)
def _read_as(numbers, pixel, channel):
    if numbers.dtype == numba.types.uint16:

        def wide(numbers, pixel, channel):
            return np.uint32(np.uint32(numbers[pixel, channel]) << np.uint32(16)).view(np.float32)

        return wide

    def plain(numbers, pixel, channel):
        return numbers[pixel, channel]

    return plain


def _write(numbers, pixel, channel, value):
    raise NotImplementedError


@overload(_write, jit_options=OPTIONS)
def _write_as(numbers, pixel, channel, value):
    if numbers.dtype == numba.types.uint16:

        def narrow(numbers, pixel, channel, value):  # to the nearest, ties to even
            bits = np.float32(value).view(np.uint32)
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            numbers[pixel, channel] = np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

        return narrow

    def plain(numbers, pixel, channel, value):
        numbers[pixel, channel] = value

    return plain


@numba.njit(inline="always", **OPTIONS)
def _sigmoid(t):
    """1 / (1 + exp(-t)) by the rational tanh of Eigen, which vector units compute: to 1e-6."""
    most = _SINGLE(7.90531110763549805)
    x = min(max(_SINGLE(0.5) * t, -most), most)
    s = x * x
    p = _SINGLE(-2.76076847742355e-16) * s + _SINGLE(2.00018790482477e-13)
    p = p * s + _SINGLE(-8.60467152213735e-11)
    p = p * s + _SINGLE(5.12229709037114e-08)
    p = p * s + _SINGLE(1.48572235717979e-05)
    p = p * s + _SINGLE(6.37261928875436e-04)
    p = p * s + _SINGLE(4.89352455891786e-03)
    q = _SINGLE(1.19825839466702e-06) * s + _SINGLE(1.18534705686654e-04)
    q = q * s + _SINGLE(2.26843463243900e-03)
    q = q * s + _SINGLE(4.89352518554385e-03)
    return _SINGLE(0.5) + _SINGLE(0.5) * x * p / q


def power(x, sums):
    """Sum |x|^2 over the pixels: `sums` (channels,), float64."""
    n_pixels, n_values = x.shape
    channels = n_values // 2
    part = np.zeros(channels, np.float32)
    sums[:] = 0
    for first in range(0, n_pixels, _PIXELS_AT_ONCE):
        part[:] = 0
        for pixel in range(first, min(first + _PIXELS_AT_ONCE, n_pixels)):
            for c in range(channels):
                real, imaginary = _read(x, pixel, c), _read(x, pixel, channels + c)
                part[c] += real * real + imaginary * imaginary
        for c in range(channels):
            sums[c] += part[c]


def add(x, change, sums):
    """Add `change` to x, float32, and sum |x|^2 over the pixels."""
    n_pixels, n_values = x.shape
    channels = n_values // 2
    part = np.zeros(channels, np.float32)
    sums[:] = 0
    for first in range(0, n_pixels, _PIXELS_AT_ONCE):
        part[:] = 0
        for pixel in range(first, min(first + _PIXELS_AT_ONCE, n_pixels)):
            for c in range(channels):
                real = x[pixel, c] + _read(change, pixel, c)
                imaginary = x[pixel, channels + c] + _read(change, pixel, channels + c)
                x[pixel, c], x[pixel, channels + c] = real, imaginary
                part[c] += real * real + imaginary * imaginary
        for c in range(channels):
            sums[c] += part[c]


def gate(x, sums, group_size, slope, shift, scale, result):
    """Norm and gate of `MagnitudeGate`, with the sums of `power` or `add`."""
    n_pixels, n_values = x.shape
    channels = n_values // 2
    steep, high = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for first in range(0, channels, group_size):
        mean = 0.0
        for c in range(first, first + group_size):
            mean += sums[c]
        inverse = 1 / np.sqrt(mean / (group_size * n_pixels) + _TINY)
        for c in range(first, first + group_size):
            steep[c], high[c] = slope[c] * inverse, scale[c] * inverse
    for pixel in range(n_pixels):
        for c in range(channels):
            real, imaginary = _read(x, pixel, c), _read(x, pixel, channels + c)
            magnitude = np.sqrt(real * real + imaginary * imaginary + _TINY)
            factor = _sigmoid(steep[c] * magnitude + shift[c]) * high[c]
            _write(result, pixel, c, real * factor)
            _write(result, pixel, channels + c, imaginary * factor)


def halve(x, width, result):
    """Gather blocks of 2 x 2 pixels: (pixels, values) to (pixels / 4, 4 values)."""
    n_pixels, n_values = x.shape
    half = width // 2
    for pixel in range(n_pixels):
        row, column = pixel // width, pixel % width
        to, first = (row // 2) * half + column // 2, (2 * (row % 2) + column % 2) * n_values
        for c in range(n_values):
            _write(result, to, first + c, x[pixel, c])


def double(x, width, change, sums):
    """Add to x what `halve` would have gathered, and sum |x|^2 over the pixels."""
    n_pixels, n_values = x.shape
    channels, half = n_values // 2, width // 2
    part = np.zeros(channels, np.float32)
    sums[:] = 0
    for pixel in range(n_pixels):
        row, column = pixel // width, pixel % width
        at, first = (row // 2) * half + column // 2, (2 * (row % 2) + column % 2) * n_values
        for c in range(channels):
            real = x[pixel, c] + _read(change, at, first + c)
            imaginary = x[pixel, channels + c] + _read(change, at, first + channels + c)
            x[pixel, c], x[pixel, channels + c] = real, imaginary
            part[c] += real * real + imaginary * imaginary
        if (pixel + 1) % _PIXELS_AT_ONCE == 0 or pixel + 1 == n_pixels:
            for c in range(channels):
                sums[c] += part[c]
            part[:] = 0


@numba.njit(**OPTIONS)
def _local_mean(x, column, result):
    """Mean over 3 x 3 pixels, those inside the image."""
    height, width = x.shape
    for row in range(height):
        above, below = max(row - 1, 0), min(row + 1, height - 1)
        n_rows = below - above + 1
        for j in range(width):
            column[j] = 0
        for i in range(above, below + 1):
            for j in range(width):
                column[j] += x[i, j]
        third = _SINGLE(1 / (3 * n_rows))
        for j in range(1, width - 1):
            result[row, j] = (column[j - 1] + column[j] + column[j + 1]) * third
        part = _SINGLE(1 / (2 * n_rows))  # a width of at least 2
        result[row, 0] = (column[0] + column[1]) * part
        result[row, width - 1] = (column[width - 2] + column[width - 1]) * part


@numba.njit(**OPTIONS)
def _inverse_size(real, imaginary, noise_power, square, column, result):
    """1 / sqrt(local mean square + noise power)."""
    height, width = real.shape
    for i in range(height):
        for j in range(width):
            square[i, j] = real[i, j] * real[i, j] + imaginary[i, j] * imaginary[i, j]
    _local_mean(square, column, result)
    for i in range(height):
        for j in range(width):
            result[i, j] = 1 / np.sqrt(result[i, j] + noise_power)


def views(image, noise_power, work, result):
    """`local_views` and the pixel-unshuffle of an image (height, width, 2) to (pixels / 4, 24)."""
    height, width, _ = image.shape
    half = width // 2
    column = np.empty(width, np.float32)
    real, imaginary, mean, size, detail, square = work
    for i in range(height):
        for j in range(width):
            real[i, j], imaginary[i, j] = image[i, j, 0], image[i, j, 1]
    _inverse_size(real, imaginary, noise_power, square, column, size)
    _write_view(real, imaginary, size, 0, half, result)
    _local_mean(real, column, mean)
    for i in range(height):
        for j in range(width):
            real[i, j] -= mean[i, j]
    _local_mean(imaginary, column, mean)
    for i in range(height):
        for j in range(width):
            imaginary[i, j] -= mean[i, j]
    _inverse_size(real, imaginary, noise_power, square, column, detail)
    _write_view(real, imaginary, detail, 8, half, result)
    for i in range(height):
        for j in range(width):
            at, k = (i // 2) * half + j // 2, 2 * (i % 2) + j % 2
            _write(result, at, k, image[i, j, 0])
            _write(result, at, 12 + k, image[i, j, 1])


@numba.njit(**OPTIONS)
def _write_view(real, imaginary, size, first, half, result):
    height, width = real.shape
    for i in range(height):
        for j in range(width):
            at, k = (i // 2) * half + j // 2, 4 + first // 2 + 2 * (i % 2) + j % 2
            _write(result, at, k, real[i, j] * size[i, j])
            _write(result, at, 12 + k, imaginary[i, j] * size[i, j])


def spread(values, result):
    """Pixel-shuffle of the exit, (pixels / 4, 8) to an image (height, width, 2)."""
    half = result.shape[1] // 2
    for i in range(result.shape[0]):
        for j in range(result.shape[1]):
            at, k = (i // 2) * half + j // 2, 2 * (i % 2) + j % 2
            result[i, j, 0], result[i, j, 1] = _read(values, at, k), _read(values, at, 4 + k)


class Kernels:
    """The functions of this module, compiled."""

    def __init__(self) -> None:
        self.power, self.add, self.gate = compiled(power), compiled(add), compiled(gate)
        self.halve, self.double = compiled(halve), compiled(double)
        self.views, self.spread = compiled(views), compiled(spread)


@cache
def kernels() -> Kernels:
    """Return them; each is compiled, or read from the cache, at its first call."""
    return Kernels()
