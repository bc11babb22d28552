"""The stages of a mixed-radix Fourier transform, written out for vectors of eight rows.

Element n of a transform is 16 numbers: the real parts of eight rows, then the imaginary parts.
A stage of radix r takes elements `stride` apart through a DFT of r points. Forward stages
decimate in frequency (twiddles after the DFT), backward ones decimate in time (conjugate
twiddles before it), so that no element is ever moved to undo a digit reversal.
"""

from __future__ import annotations

import cmath
import math
from contextlib import contextmanager
from functools import partial
from typing import Any

from numba import types
from numba.core import cgutils

from mri_alps.operators.fused import ELEMENT, LANES, RADICES
from mri_alps.operators.fused._vectors import Emitter, intrinsic


class ComplexEmitter(Emitter):
    """Complex arithmetic on pairs (real, imaginary) of vectors."""

    def load_pair(self, data, index):
        """Return an element."""
        imaginary = self.builder.add(index, self.integer(LANES))
        return self.load(data, index), self.load(data, imaginary)

    def store_pair(self, value, data, index):
        """Write an element."""
        self.store(value[0], data, index)
        self.store(value[1], data, self.builder.add(index, self.integer(LANES)))

    def splat_pair(self, data, index):
        """Return a complex number in all lanes."""
        imaginary = self.builder.add(index, self.integer(1))
        return self.load_splat(data, index), self.load_splat(data, imaginary)

    def plus(self, a, b):
        """Return a + b."""
        return self.add(a[0], b[0]), self.add(a[1], b[1])

    def minus(self, a, b):
        """Return a - b."""
        return self.sub(a[0], b[0]), self.sub(a[1], b[1])

    def times(self, a, b):
        """Return a b."""
        real = self.sub(self.mul(a[0], b[0]), self.mul(a[1], b[1]))
        return real, self.add(self.mul(a[0], b[1]), self.mul(a[1], b[0]))

    def times_conjugate(self, a, b):
        """Return a conj(b)."""
        real = self.add(self.mul(a[0], b[0]), self.mul(a[1], b[1]))
        return real, self.sub(self.mul(a[1], b[0]), self.mul(a[0], b[1]))

    def scaled(self, a, factor):
        """Return a times a vector of real numbers."""
        return self.mul(a[0], factor), self.mul(a[1], factor)

    def rotated(self, a, turn, n, inverse):
        """Return a exp(-2 pi i turn / n), conjugate if `inverse`, by as few operations."""
        turn = (-turn if inverse else turn) % n
        quarter, rest = divmod(8 * turn, 2 * n)
        if rest == 0:
            return self._quarter(a, quarter)
        if rest == n:  # an eighth: (1 - i) / sqrt(2)
            half = self.constant(math.sqrt(0.5))
            value = self.add(a[0], a[1]), self.sub(a[1], a[0])
            return self._quarter(self.scaled(value, half), quarter)
        w = cmath.exp(-2j * math.pi * turn / n)
        return self.times(a, (self.constant(w.real), self.constant(w.imag)))

    def _quarter(self, a, quarter):
        if quarter == 0:
            return a
        if quarter == 1:
            return a[1], self.builder.fneg(a[0])
        if quarter == 2:
            return self.builder.fneg(a[0]), self.builder.fneg(a[1])
        return self.builder.fneg(a[1]), a[0]

    def dft(self, x, inverse):
        """Return the unscaled DFT of a list of elements."""
        n = len(x)
        if n in (8, 16) or n == 9:
            first = 4 if n % 4 == 0 else 3
            return self._dft_composite(x, first, inverse)
        x = [value() if callable(value) else value for value in x]
        if n == 1:
            return x
        if n == 2:
            return [self.plus(x[0], x[1]), self.minus(x[0], x[1])]
        if n == 4:
            return self._dft4(x, inverse)
        first = next(f for f in (4, 2, 3, 5, 7, n) if n % f == 0)
        if first == n:
            return self._dft_odd(x, inverse)
        return self._dft_composite(x, first, inverse)

    def _dft4(self, x, inverse):
        a, b = self.plus(x[0], x[2]), self.minus(x[0], x[2])
        c, d = self.plus(x[1], x[3]), self.minus(x[1], x[3])
        down = self.add(b[0], d[1]), self.sub(b[1], d[0])  # b - i d
        up = self.sub(b[0], d[1]), self.add(b[1], d[0])
        odd = [up, down] if inverse else [down, up]
        return [self.plus(a, c), odd[0], self.minus(a, c), odd[1]]

    def _dft_odd(self, x, inverse):
        n, half = len(x), len(x) // 2
        sums = [self.plus(x[j], x[n - j]) for j in range(1, half + 1)]
        differences = [self.minus(x[j], x[n - j]) for j in range(1, half + 1)]
        result = [x[0]] * n
        for total in sums:
            result[0] = self.plus(result[0], total)
        for k in range(1, half + 1):
            even, odd = x[0], None  # type: tuple[Any, Any], Any
            for j in range(1, half + 1):
                angle = 2 * math.pi * (j * k % n) / n
                even = self.plus(even, self.scaled(sums[j - 1], self.constant(math.cos(angle))))
                term = self.scaled(differences[j - 1], self.constant(math.sin(angle)))
                odd = term if odd is None else self.plus(odd, term)
            down = self.add(even[0], odd[1]), self.sub(even[1], odd[0])  # even - i odd
            up = self.sub(even[0], odd[1]), self.add(even[1], odd[0])
            result[k], result[n - k] = (up, down) if inverse else (down, up)
        return result

    def _dft_composite(self, x, n1, inverse):
        n, n2 = len(x), len(x) // n1
        columns = [self.dft([x[n2 * i + j] for i in range(n1)], inverse) for j in range(n2)]
        result: list[Any] = [None] * n
        for k1 in range(n1):
            row = [self.rotated(columns[j][k1], j * k1, n, inverse) for j in range(n2)]
            for k2, value in enumerate(self.dft(row, inverse)):
                result[k1 + n1 * k2] = value
        return result


@contextmanager
def _each_butterfly(emit, blocks, span, radix):
    """Loop over `blocks` blocks of `radix * span` elements; yields (offset, j)."""
    builder = emit.builder
    with cgutils.for_range(builder, blocks) as outer:
        size = builder.mul(span, emit.integer(radix * ELEMENT))
        start = builder.mul(outer.index, size)
        with cgutils.for_range(builder, span) as inner:
            offset = builder.add(start, builder.mul(inner.index, emit.integer(ELEMENT)))
            yield offset, inner.index


def _offsets(emit, base, span, radix):
    stride = emit.builder.mul(span, emit.integer(ELEMENT))
    offsets = [base]
    for _ in range(radix - 1):
        offsets.append(emit.builder.add(offsets[-1], stride))
    return offsets


def _twiddles(emit, data, start, j, radix):
    """Return how to load the r - 1 factors of butterfly j, or None where all are one."""
    builder = emit.builder
    base = builder.add(start, builder.mul(j, emit.integer(2 * (radix - 1))))
    return lambda k: emit.splat_pair(data, builder.add(base, emit.integer(2 * (k - 1))))


def _stage(context, builder, scalar, radix, twiddle, body):
    """Emit `body(emit, r, has_twiddles)` for every radix, chosen at run time."""
    emit = ComplexEmitter(context, builder, scalar)
    twiddled = builder.icmp_signed(">=", twiddle, emit.integer(0))
    for r in RADICES:
        chosen = builder.icmp_signed("==", radix, emit.integer(r))
        with builder.if_then(chosen), builder.if_else(twiddled) as (then, otherwise):
            with then:
                body(emit, r, True)
            with otherwise:
                body(emit, r, False)
    return context.get_dummy_value()


@intrinsic
def forward_stage(typingctx, buffer, start, blocks, span, radix, twiddles, twiddle):
    """Decimate in frequency, in place; `twiddle` < 0 where all twiddles are one."""

    def codegen(context, builder, signature, args):
        buffer, start, blocks, span, radix, twiddles, twiddle = args

        def body(emit, r, twiddled):
            data = emit.data(signature.args[0], buffer)
            table = emit.data(signature.args[5], twiddles)
            with _each_butterfly(emit, blocks, span, r) as (offset, j):
                offsets = _offsets(emit, builder.add(start, offset), span, r)
                values = emit.dft([partial(emit.load_pair, data, o) for o in offsets], False)
                _store_twiddled(emit, values, data, offsets, table, twiddle, j, twiddled)

        return _stage(context, builder, signature.args[0].dtype, radix, twiddle, body)

    n = types.int64
    return types.void(buffer, n, n, n, n, twiddles, n), codegen


@intrinsic
def weighted_forward_stage(
    typingctx, image, image_start, maps, maps_start, buffer, span, radix, twiddles, twiddle
):
    """The first stage, of `maps` times `image` into `buffer`."""

    def codegen(context, builder, signature, args):
        image, image_start, maps, maps_start, buffer, span, radix, twiddles, twiddle = args

        def body(emit, r, twiddled):
            image_data = emit.data(signature.args[0], image)
            maps_data = emit.data(signature.args[2], maps)
            data = emit.data(signature.args[4], buffer)
            table = emit.data(signature.args[7], twiddles)
            with _each_butterfly(emit, emit.integer(1), span, r) as (offset, j):
                offsets = _offsets(emit, offset, span, r)

                def value(o):
                    return emit.times(
                        emit.load_pair(image_data, builder.add(image_start, o)),
                        emit.load_pair(maps_data, builder.add(maps_start, o)),
                    )

                values = emit.dft([partial(value, o) for o in offsets], False)
                _store_twiddled(emit, values, data, offsets, table, twiddle, j, twiddled)

        return _stage(context, builder, signature.args[4].dtype, radix, twiddle, body)

    n = types.int64
    return types.void(image, n, maps, n, buffer, n, n, twiddles, n), codegen


@intrinsic
def backward_stage(typingctx, buffer, start, blocks, span, radix, twiddles, twiddle):
    """Decimate in time, in place: the inverse of `forward_stage` but for the factor r."""

    def codegen(context, builder, signature, args):
        buffer, start, blocks, span, radix, twiddles, twiddle = args

        def body(emit, r, twiddled):
            data = emit.data(signature.args[0], buffer)
            table = emit.data(signature.args[5], twiddles)
            with _each_butterfly(emit, blocks, span, r) as (offset, j):
                offsets = _offsets(emit, builder.add(start, offset), span, r)
                values = _load_twiddled(emit, data, offsets, table, twiddle, j, twiddled)
                for value, o in zip(emit.dft(values, True), offsets, strict=True):
                    emit.store_pair(value, data, o)

        return _stage(context, builder, signature.args[0].dtype, radix, twiddle, body)

    n = types.int64
    return types.void(buffer, n, n, n, n, twiddles, n), codegen


@intrinsic
def weighted_backward_stage(
    typingctx, buffer, maps, maps_start, total, total_start, span, radix, twiddles, twiddle
):
    """The last stage, times conj(`maps`), added to `total`; asks for the maps that follow."""

    def codegen(context, builder, signature, args):
        buffer, maps, maps_start, total, total_start, span, radix, twiddles, twiddle = args

        def body(emit, r, twiddled):
            data = emit.data(signature.args[0], buffer)
            maps_data = emit.data(signature.args[1], maps)
            total_data = emit.data(signature.args[3], total)
            table = emit.data(signature.args[7], twiddles)
            with _each_butterfly(emit, emit.integer(1), span, r) as (offset, j):
                offsets = _offsets(emit, offset, span, r)
                size = builder.mul(span, emit.integer(r * ELEMENT))
                values = _load_twiddled(emit, data, offsets, table, twiddle, j, twiddled)
                for value, o in zip(emit.dft(values, True), offsets, strict=True):
                    target, here = builder.add(total_start, o), builder.add(maps_start, o)
                    sensitivity = emit.load_pair(maps_data, here)
                    emit.prefetch(maps_data, builder.add(here, size))
                    value = emit.times_conjugate(value, sensitivity)
                    emit.store_pair(
                        emit.plus(emit.load_pair(total_data, target), value), total_data, target
                    )

        return _stage(context, builder, signature.args[0].dtype, radix, twiddle, body)

    n = types.int64
    return types.void(buffer, maps, n, total, n, n, n, twiddles, n), codegen


@intrinsic
def turning_stage(typingctx, buffer, start, blocks, radix, weights, weight):
    """Last stage forward, one real weight per element, first stage backward; in place."""
    n = types.int64
    return types.void(buffer, n, n, n, weights, n), _turning_codegen(1)


@intrinsic
def turning_plane_stage(typingctx, buffer, start, blocks, radix, weights, weight):
    """The same with a weight for each lane of each element."""
    n = types.int64
    return types.void(buffer, n, n, n, weights, n), _turning_codegen(LANES)


def _turning_codegen(n_weights):
    def codegen(context, builder, signature, args):
        buffer, start, blocks, radix, weights, weight = args
        emit = ComplexEmitter(context, builder, signature.args[0].dtype)
        data = emit.data(signature.args[0], buffer)
        table = emit.data(signature.args[4], weights)
        read = emit.load_splat if n_weights == 1 else emit.load
        for r in RADICES:
            chosen = builder.icmp_signed("==", radix, emit.integer(r))
            with builder.if_then(chosen), cgutils.for_range(builder, blocks) as loop:
                first = builder.mul(loop.index, emit.integer(r))
                base = builder.add(start, builder.mul(first, emit.integer(ELEMENT)))
                offsets = _offsets(emit, base, emit.integer(1), r)
                values = emit.dft([partial(emit.load_pair, data, o) for o in offsets], False)
                base = builder.add(weight, builder.mul(first, emit.integer(n_weights)))
                for k, value in enumerate(values):
                    position = builder.add(base, emit.integer(k * n_weights))
                    values[k] = emit.scaled(value, read(table, position))
                for value, o in zip(emit.dft(values, True), offsets, strict=True):
                    emit.store_pair(value, data, o)
        return context.get_dummy_value()

    return codegen


def _store_twiddled(emit, values, data, offsets, table, start, j, twiddled):
    factor = _twiddles(emit, table, start, j, len(values))
    for k, (value, offset) in enumerate(zip(values, offsets, strict=True)):
        if twiddled and k:
            value = emit.times(value, factor(k))
        emit.store_pair(value, data, offset)


def _load_twiddled(emit, data, offsets, table, start, j, twiddled):
    factor = _twiddles(emit, table, start, j, len(offsets))

    def value(k):
        loaded = emit.load_pair(data, offsets[k])
        return emit.times_conjugate(loaded, factor(k)) if twiddled and k else loaded

    return [partial(value, k) for k in range(len(offsets))]
