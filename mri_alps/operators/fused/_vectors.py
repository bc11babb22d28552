"""Vectors of eight image rows as values inside numba functions, and small DFTs of them.

numba turns loops into vector instructions only where LLVM's heuristics find them. Here the
instructions are written out: `load`, `store`, `fma` and so on work on a `VectorType`, and the
stages of a Fourier transform are emitted butterfly by butterfly. LLVM maps eight lanes to
whatever registers the machine has (two with SSE or NEON, one with AVX).

Everything in this module runs while numba compiles, nothing while an operator is applied.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

from mri_alps.operators.fused import LANES

intrinsic: Any = numba_intrinsic  # its type does not tell that calls leave out the context


def _exchange(span):
    """Lanes for exchanging the off-diagonal `span` blocks between two rows."""
    low = [lane if not lane & span else LANES + lane - span for lane in range(LANES)]
    high = [lane + span if not lane & span else LANES + lane for lane in range(LANES)]
    return low, high


_TRANSPOSE = tuple((span, _exchange(span)) for span in (4, 2, 1))


class VectorType(types.Type):
    """Eight real numbers of the same kind."""

    def __init__(self, scalar: types.Float):
        self.scalar = scalar
        super().__init__(name=f"Vector({scalar}, {LANES})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, llvm_vector(fe_type.scalar))


def llvm_scalar(scalar):
    """Return LLVM's type for numba's float32 or float64."""
    return ir.DoubleType() if scalar == types.float64 else ir.FloatType()


def llvm_vector(scalar):
    """Return LLVM's type of a vector of eight."""
    return ir.VectorType(llvm_scalar(scalar), LANES)


class Emitter:
    """Writes vector instructions for arrays of one kind of number.

    Products and sums may be contracted to fused multiply-adds; nothing else is reordered.
    """

    FLAGS = ("contract", "nsz")

    def __init__(self, context, builder, scalar):
        self.context, self.builder = context, builder
        self.scalar, self.vector = llvm_scalar(scalar), llvm_vector(scalar)
        self.bytes = 8 if scalar == types.float64 else 4

    def data(self, array_type, array):
        """Return the pointer to an array's first number."""
        return self.context.make_array(array_type)(self.context, self.builder, array).data

    def integer(self, value):
        """Return an index constant."""
        return ir.Constant(ir.IntType(64), value)

    def splat(self, scalar):
        """Return a vector with one scalar in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return self.shuffle(first, undefined, [0] * LANES)

    def constant(self, value):
        """Return a vector with one number in all lanes."""
        return ir.Constant(self.vector, [ir.Constant(self.scalar, value)] * LANES)

    def load(self, data, index):
        """Return the eight numbers from `index` on."""
        pointer = self._pointer(data, index)
        return self.builder.load(pointer, align=self.bytes)

    def store(self, value, data, index):
        """Write eight numbers from `index` on."""
        self.builder.store(value, self._pointer(data, index), align=self.bytes)

    def load_splat(self, data, index):
        """Return the number at `index` in all lanes."""
        return self.splat(self.builder.load(self.builder.gep(data, [index])))

    def transposed(self, rows):
        """Return the transpose of eight vectors."""
        for span, patterns in _TRANSPOSE:
            mixed = list(rows)
            for i in range(LANES):
                if not i & span:
                    for k, target in enumerate((i, i + span)):
                        mixed[target] = self.shuffle(rows[i], rows[i + span], patterns[k])
            rows = mixed
        return rows

    def shuffle(self, a, b, lanes):
        """Return the given lanes of `a` followed by `b`."""
        kind = ir.VectorType(ir.IntType(32), len(lanes))
        return self.builder.shuffle_vector(a, b, ir.Constant(kind, lanes))

    def prefetch(self, data, index):
        """Ask for the cache line at `index`, which may be past the end."""
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = self.builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        pointer = self.builder.bitcast(self.builder.gep(data, [index]), byte)
        read, near, is_data = (ir.Constant(word, value) for value in (0, 2, 1))
        self.builder.call(function, [pointer, read, near, is_data])

    def pair_pointer(self, data, row, column):
        """Return a pointer to the two numbers of a complex image point."""
        pointer = self.builder.gep(data, [self.builder.add(row, column)])
        return self.builder.bitcast(pointer, ir.VectorType(self.scalar, 2).as_pointer())

    def _pointer(self, data, index):
        pointer = self.builder.gep(data, [index])
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def add(self, a, b):
        """Return a + b."""
        return self.builder.fadd(a, b, flags=self.FLAGS)

    def sub(self, a, b):
        """Return a - b."""
        return self.builder.fsub(a, b, flags=self.FLAGS)

    def mul(self, a, b):
        """Return a b."""
        return self.builder.fmul(a, b, flags=self.FLAGS)


@intrinsic
def load(typingctx, array, index):
    """Return eight numbers of a contiguous array from `index` on."""

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, signature.args[0].dtype)
        return emit.load(emit.data(signature.args[0], args[0]), args[1])

    return VectorType(array.dtype)(array, types.int64), codegen


@intrinsic
def load_splat(typingctx, array, index):
    """Return the number at `index` in all lanes."""

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, signature.args[0].dtype)
        return emit.load_splat(emit.data(signature.args[0], args[0]), args[1])

    return VectorType(array.dtype)(array, types.int64), codegen


@intrinsic
def store(typingctx, value, array, index):
    """Write eight numbers into a contiguous array from `index` on."""

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, signature.args[1].dtype)
        emit.store(args[0], emit.data(signature.args[1], args[1]), args[2])
        return context.get_dummy_value()

    return types.void(value, array, types.int64), codegen


@intrinsic
def zero(typingctx, array):
    """Return eight zeros of the kind of `array`."""

    def codegen(context, builder, signature, args):
        return Emitter(context, builder, signature.args[0].dtype).constant(0.0)

    return VectorType(array.dtype)(array), codegen


@intrinsic
def add(typingctx, a, b):
    """Return a + b."""

    def codegen(context, builder, signature, args):
        return Emitter(context, builder, signature.args[0].scalar).add(*args)

    return a(a, b), codegen


@intrinsic
def sub(typingctx, a, b):
    """Return a - b."""

    def codegen(context, builder, signature, args):
        return Emitter(context, builder, signature.args[0].scalar).sub(*args)

    return a(a, b), codegen


@intrinsic
def mul(typingctx, a, b):
    """Return a b."""

    def codegen(context, builder, signature, args):
        return Emitter(context, builder, signature.args[0].scalar).mul(*args)

    return a(a, b), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Return a b + c."""

    def codegen(context, builder, signature, args):
        emit = Emitter(context, builder, signature.args[0].scalar)
        return emit.add(emit.mul(args[0], args[1]), args[2])

    return a(a, b, c), codegen


@intrinsic
def transpose(typingctx, source, start, source_stride, target, target_start, target_stride):
    """Copy an 8 x 8 tile, transposed; the strides are between its rows."""

    def codegen(context, builder, signature, args):
        source, start, source_stride, target, target_start, target_stride = args
        emit = Emitter(context, builder, signature.args[0].dtype)
        source_data = emit.data(signature.args[0], source)
        target_data = emit.data(signature.args[3], target)
        rows = []
        for _ in range(LANES):
            rows.append(emit.load(source_data, start))
            start = builder.add(start, source_stride)
        for row in emit.transposed(rows):
            emit.store(row, target_data, target_start)
            target_start = builder.add(target_start, target_stride)
        return context.get_dummy_value()

    n = types.int64
    return types.void(source, n, n, target, n, n), codegen


def _row_offsets(builder, rows):
    return [
        builder.load(builder.gep(rows, [ir.Constant(ir.IntType(64), lane)]))
        for lane in range(LANES)
    ]


@intrinsic
def gather_column(typingctx, image, rows, column, lanes, start):
    """Copy one complex point of each of eight rows (offsets) into lanes."""

    def codegen(context, builder, signature, args):
        image, rows, column, lanes, start = args
        emit = Emitter(context, builder, signature.args[0].dtype)
        data = emit.data(signature.args[0], image)
        parts = [
            builder.load(emit.pair_pointer(data, row, column), align=emit.bytes)
            for row in _row_offsets(builder, emit.data(signature.args[1], rows))
        ]
        while len(parts) > 2:
            width = 2 * parts[0].type.count
            parts = [
                emit.shuffle(parts[i], parts[i + 1], list(range(width)))
                for i in range(0, len(parts), 2)
            ]
        target = emit.data(signature.args[3], lanes)
        emit.store(emit.shuffle(parts[0], parts[1], list(range(0, 2 * LANES, 2))), target, start)
        start = builder.add(start, emit.integer(LANES))
        emit.store(emit.shuffle(parts[0], parts[1], list(range(1, 2 * LANES, 2))), target, start)
        return context.get_dummy_value()

    n = types.int64
    return types.void(image, rows, n, lanes, n), codegen


@intrinsic
def scatter_column(typingctx, lanes, start, image, rows, column):
    """Copy lanes to one complex point of each of eight rows (offsets)."""

    def codegen(context, builder, signature, args):
        lanes, start, image, rows, column = args
        emit = Emitter(context, builder, signature.args[0].dtype)
        source = emit.data(signature.args[0], lanes)
        real = emit.load(source, start)
        imaginary = emit.load(source, builder.add(start, emit.integer(LANES)))
        data = emit.data(signature.args[2], image)
        offsets = _row_offsets(builder, emit.data(signature.args[3], rows))
        for lane, row in enumerate(offsets):
            value = emit.shuffle(real, imaginary, [lane, LANES + lane])
            pointer = emit.pair_pointer(data, row, column)
            builder.store(value, pointer, align=emit.bytes)
        return context.get_dummy_value()

    n = types.int64
    return types.void(lanes, n, image, rows, n), codegen
