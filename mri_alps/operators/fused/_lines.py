"""One pass over the eigenvectors of image lines: analyse, weigh, synthesise.

Each eigenvector is read once from memory: its coefficient is known as soon as its product with
the line is, and the line's images stay in the first-level cache meanwhile. Four eigenvectors at
a time share what is loaded of the images. They lie as they are read: eight pixels of each of the
four, real parts before imaginary parts, then the next eight pixels.
"""

from __future__ import annotations

from typing import Any

import numba

from mri_alps.operators.fused import LANES, ROWS
from mri_alps.operators.fused._vectors import fma, load, prefetch, splat, store, sub, total, zero

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

TILE = 2 * ROWS * LANES
# Numbers of single precision in a cache line.
_CACHE_LINE = 16


@numba.njit(**OPTIONS)
def _analyse(vectors, v, width, planes, x, out):
    """Write conj(v) x for four eigenvectors."""
    o = zero(vectors)
    a0, b0, a1, b1, a2, b2, a3, b3 = o, o, o, o, o, o, o, o
    for i in range(0, width, LANES):
        re, im = load(planes, x + i), load(planes, x + width + i)
        minus = sub(o, re)
        p, q = load(vectors, v), load(vectors, v + LANES)
        a0, b0 = fma(q, im, fma(p, re, a0)), fma(q, minus, fma(p, im, b0))
        p, q = load(vectors, v + 2 * LANES), load(vectors, v + 3 * LANES)
        a1, b1 = fma(q, im, fma(p, re, a1)), fma(q, minus, fma(p, im, b1))
        p, q = load(vectors, v + 4 * LANES), load(vectors, v + 5 * LANES)
        a2, b2 = fma(q, im, fma(p, re, a2)), fma(q, minus, fma(p, im, b2))
        p, q = load(vectors, v + 6 * LANES), load(vectors, v + 7 * LANES)
        a3, b3 = fma(q, im, fma(p, re, a3)), fma(q, minus, fma(p, im, b3))
        v += TILE
    out[0], out[1], out[2], out[3] = total(a0), total(b0), total(a1), total(b1)
    out[4], out[5], out[6], out[7] = total(a2), total(b2), total(a3), total(b3)


@numba.njit(**OPTIONS)
def _synthesise(vectors, v, width, c, planes, x):
    """Add four eigenvectors times their coefficients."""
    a0, b0, n0 = splat(vectors, c[0]), splat(vectors, c[1]), splat(vectors, -c[1])
    a1, b1, n1 = splat(vectors, c[2]), splat(vectors, c[3]), splat(vectors, -c[3])
    a2, b2, n2 = splat(vectors, c[4]), splat(vectors, c[5]), splat(vectors, -c[5])
    a3, b3, n3 = splat(vectors, c[6]), splat(vectors, c[7]), splat(vectors, -c[7])
    # The next four are on their way meanwhile.
    following = v + 2 * ROWS * width
    for i in range(0, width, LANES):
        for j in range(0, TILE, _CACHE_LINE):
            prefetch(vectors, following + j)
        following += TILE
        re, im = load(planes, x + i), load(planes, x + width + i)
        p, q = load(vectors, v), load(vectors, v + LANES)
        re, im = fma(q, n0, fma(p, a0, re)), fma(q, a0, fma(p, b0, im))
        p, q = load(vectors, v + 2 * LANES), load(vectors, v + 3 * LANES)
        re, im = fma(q, n1, fma(p, a1, re)), fma(q, a1, fma(p, b1, im))
        p, q = load(vectors, v + 4 * LANES), load(vectors, v + 5 * LANES)
        re, im = fma(q, n2, fma(p, a2, re)), fma(q, a2, fma(p, b2, im))
        p, q = load(vectors, v + 6 * LANES), load(vectors, v + 7 * LANES)
        re, im = fma(q, n3, fma(p, a3, re)), fma(q, a3, fma(p, b3, im))
        store(re, planes, x + i)
        store(im, planes, x + width + i)
        v += TILE


@numba.njit(**OPTIONS)
def _split(image, start, n, planes, plane, width):
    """Copy a line's real and imaginary parts to planes of their own."""
    for i in range(n):
        planes[plane + i] = image[start + 2 * i]
        planes[plane + width + i] = image[start + 2 * i + 1]


def line_filter(
    x, noise, result, vectors, lines, product, shift, work, strides, first, stop, noisy
):
    """Write U (product U^H x + shift U^H noise) of some lines of several images to `result`.

    Images are flat, real and imaginary parts side by side, and begin at `strides`. A row of
    `lines` holds a line's start in an image, its number of pixels, the start of its eigenvectors
    and that of its weights. The noise is left out unless `noisy`.
    """
    n_images = len(strides)
    c, d = work[: 2 * ROWS], work[2 * ROWS : 4 * ROWS]
    for line in range(first, stop):
        start, n, v, value = lines[line, 0], lines[line, 1], lines[line, 2], lines[line, 3]
        width = -(-n // LANES) * LANES
        size = 6 * width  # planes of x, of the noise and of the result
        planes = work[4 * ROWS : 4 * ROWS + n_images * size]
        planes[:] = 0
        for image in range(n_images):
            s, t = strides[image] + start, image * size
            _split(x, s, n, planes, t, width)
            if noisy:
                _split(noise, s, n, planes, t + 2 * width, width)
        for k in range(0, n, ROWS):
            m = min(ROWS, n - k)
            for image in range(n_images):
                t = image * size
                _analyse(vectors, v, width, planes, t, c)
                for i in range(2 * ROWS):  # rows past the last are zero
                    c[i] *= product[value + min(k + i // 2, n - 1)]
                if noisy:
                    _analyse(vectors, v, width, planes, t + 2 * width, d)
                    for i in range(2 * m):
                        c[i] += shift[value + k + i // 2] * d[i]
                _synthesise(vectors, v, width, c, planes, t + 4 * width)
            v += 2 * ROWS * width
        for image in range(n_images):
            s, t = strides[image] + start, image * size + 4 * width
            for i in range(n):
                result[s + 2 * i] = planes[t + i]
                result[s + 2 * i + 1] = planes[t + width + i]
