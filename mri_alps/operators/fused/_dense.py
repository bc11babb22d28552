"""The innermost factor as dense sums over the sampled outputs: numba functions."""

from __future__ import annotations

import numba

from mri_alps.operators.fused import ELEMENT, LANES
from mri_alps.operators.fused._vectors import add, fma, load, load_splat, mul, store, sub, zero


@numba.njit(nogil=True, error_model="numpy")
def sampled_block(buffer, start, inner, table, members, weights, first, stop, scratch):
    """Replace `inner` points x by the inverse DFT of their weighted, sampled outputs.

    Output m is a sum over the pairs x_j +- x_(n - j), j = 1 .. n / 2, times cosines and sines of
    2 pi j m / n; backward, x_j and x_(n - j) are C +- i S of such sums over the outputs. That
    takes half the products of a matrix product. Several sums run side by side because each waits
    for its last addition.
    """
    if first == stop:
        nothing = zero(buffer)
        for k in range(inner * 2):
            store(nothing, buffer, start + k * LANES)
        return
    half = inner // 2
    spectrum = half * 2 * ELEMENT
    _pairs(buffer, start, inner, half, scratch)
    _outputs(buffer, start, half, table, members, weights, first, stop, scratch, spectrum)
    _inverse(buffer, start, inner, half, table, members, first, stop, scratch, spectrum)


@numba.njit(nogil=True, error_model="numpy")
def _pairs(buffer, start, inner, half, scratch):
    """Write re(a), im(a), -re(b), im(b) of the sums a and differences b of all pairs.

    The middle of an even length is its own pair: a = x, b = 0.
    """
    for j in range(half):
        low = start + (j + 1) * ELEMENT
        high = start + (inner - 1 - j) * ELEMENT
        o = j * 2 * ELEMENT
        a, c = load(buffer, low), load(buffer, low + LANES)
        if low == high:
            store(a, scratch, o)
            store(c, scratch, o + LANES)
            store(zero(buffer), scratch, o + 2 * LANES)
            store(zero(buffer), scratch, o + 3 * LANES)
        else:
            b, d = load(buffer, high), load(buffer, high + LANES)
            store(add(a, b), scratch, o)
            store(add(c, d), scratch, o + LANES)
            store(sub(b, a), scratch, o + 2 * LANES)
            store(sub(c, d), scratch, o + 3 * LANES)


@numba.njit(nogil=True, error_model="numpy")
def _outputs(buffer, start, half, table, members, weights, first, stop, scratch, spectrum):
    """Write the sampled outputs, times their weights."""
    real, imaginary = load(buffer, start), load(buffer, start + LANES)
    i, target = first, spectrum
    while i + 4 <= stop:
        t0, t1 = members[i] * 2 * half, members[i + 1] * 2 * half
        t2, t3 = members[i + 2] * 2 * half, members[i + 3] * 2 * half
        r0, r1, r2, r3 = real, real, real, real
        i0, i1, i2, i3 = imaginary, imaginary, imaginary, imaginary
        for j in range(half):
            o, t = j * 2 * ELEMENT, 2 * j
            a, b = load(scratch, o), load(scratch, o + LANES)
            c0, c1 = load_splat(table, t0 + t), load_splat(table, t1 + t)
            c2, c3 = load_splat(table, t2 + t), load_splat(table, t3 + t)
            r0, r1, r2, r3 = fma(a, c0, r0), fma(a, c1, r1), fma(a, c2, r2), fma(a, c3, r3)
            i0, i1, i2, i3 = fma(b, c0, i0), fma(b, c1, i1), fma(b, c2, i2), fma(b, c3, i3)
            b, a = load(scratch, o + 2 * LANES), load(scratch, o + 3 * LANES)
            c0, c1 = load_splat(table, t0 + t + 1), load_splat(table, t1 + t + 1)
            c2, c3 = load_splat(table, t2 + t + 1), load_splat(table, t3 + t + 1)
            r0, r1, r2, r3 = fma(a, c0, r0), fma(a, c1, r1), fma(a, c2, r2), fma(a, c3, r3)
            i0, i1, i2, i3 = fma(b, c0, i0), fma(b, c1, i1), fma(b, c2, i2), fma(b, c3, i3)
        _put(r0, i0, weights, i, scratch, target)
        _put(r1, i1, weights, i + 1, scratch, target + ELEMENT)
        _put(r2, i2, weights, i + 2, scratch, target + 2 * ELEMENT)
        _put(r3, i3, weights, i + 3, scratch, target + 3 * ELEMENT)
        i, target = i + 4, target + 4 * ELEMENT
    while i < stop:
        t = members[i] * 2 * half
        r0, i0, r1 = real, imaginary, zero(buffer)
        i1 = r1
        for j in range(half):
            o = j * 2 * ELEMENT
            cosine, sine = load_splat(table, t + 2 * j), load_splat(table, t + 2 * j + 1)
            r0, r1 = fma(load(scratch, o), cosine, r0), fma(load(scratch, o + 3 * LANES), sine, r1)
            i0 = fma(load(scratch, o + LANES), cosine, i0)
            i1 = fma(load(scratch, o + 2 * LANES), sine, i1)
        _put(add(r0, r1), add(i0, i1), weights, i, scratch, target)
        i, target = i + 1, target + ELEMENT


@numba.njit(nogil=True, error_model="numpy")
def _put(real, imaginary, weights, i, scratch, target):
    weight = load_splat(weights, i)
    store(mul(real, weight), scratch, target)
    store(mul(imaginary, weight), scratch, target + LANES)


@numba.njit(nogil=True, error_model="numpy")
def _inverse(buffer, start, inner, half, table, members, first, stop, scratch, spectrum):
    """Write the unscaled inverse DFT of the outputs."""
    n_outputs = stop - first
    real, imaginary = zero(buffer), zero(buffer)
    for i in range(n_outputs):
        real = add(real, load(scratch, spectrum + i * ELEMENT))
        imaginary = add(imaginary, load(scratch, spectrum + i * ELEMENT + LANES))
    store(real, buffer, start)
    store(imaginary, buffer, start + LANES)
    j = 0
    while j + 2 <= half:
        r0 = zero(buffer)
        r1, r2, r3, i0, i1, i2, i3 = r0, r0, r0, r0, r0, r0, r0
        for i in range(n_outputs):
            o = spectrum + i * ELEMENT
            t = members[first + i] * 2 * half + 2 * j
            a, b = load(scratch, o), load(scratch, o + LANES)
            c0, s0 = load_splat(table, t), load_splat(table, t + 1)
            c1, s1 = load_splat(table, t + 2), load_splat(table, t + 3)
            r0, r1, r2, r3 = fma(a, c0, r0), fma(a, s0, r1), fma(a, c1, r2), fma(a, s1, r3)
            i0, i1, i2, i3 = fma(b, c0, i0), fma(b, s0, i1), fma(b, c1, i2), fma(b, s1, i3)
        _put_pair(buffer, start, inner, j, r0, i0, r1, i1)
        _put_pair(buffer, start, inner, j + 1, r2, i2, r3, i3)
        j += 2
    if j < half:
        r0 = zero(buffer)
        r1, i0, i1 = r0, r0, r0
        for i in range(n_outputs):
            o = spectrum + i * ELEMENT
            t = members[first + i] * 2 * half + 2 * j
            a, b = load(scratch, o), load(scratch, o + LANES)
            c0, s0 = load_splat(table, t), load_splat(table, t + 1)
            r0, r1, i0, i1 = fma(a, c0, r0), fma(a, s0, r1), fma(b, c0, i0), fma(b, s0, i1)
        _put_pair(buffer, start, inner, j, r0, i0, r1, i1)


@numba.njit(nogil=True, error_model="numpy")
def _put_pair(buffer, start, inner, j, real_c, imaginary_c, real_s, imaginary_s):
    low = start + (j + 1) * ELEMENT
    high = start + (inner - 1 - j) * ELEMENT
    store(sub(real_c, imaginary_s), buffer, low)
    store(add(imaginary_c, real_s), buffer, low + LANES)
    store(add(real_c, imaginary_s), buffer, high)
    store(sub(imaginary_c, real_s), buffer, high + LANES)
