"""Vectors from and to memory, and single numbers without the look at their place."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sdd_core.sparse.simd import emit
from sdd_core.sparse.simd.types import VectorType

# Features, and examples, that `transpose_block` copies at once.
BLOCK = 16

# Bytes that are fetched at once.
CACHE_LINE = 64

# How many blocks of an image are fetched before they are read.
AHEAD = 4


@intrinsic
def load(typingctx, units, unit, lanes):
    """The vector of one unit."""
    vector = VectorType(units.dtype, lanes.width)

    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], vector, lanes)
        return builder.load(pointer, align=units.dtype.bitwidth // 8)

    return vector(units, types.intp, lanes), build


@intrinsic
def store(typingctx, units, unit, vector, lanes):
    """Write a vector into one unit."""

    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], vector, lanes)
        builder.store(arguments[2], pointer, align=units.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(units, types.intp, vector, lanes), build


@intrinsic
def load_apart(typingctx, units, unit, step, lanes):
    """The vector of every `step`-th unit."""
    vector = VectorType(units.dtype, lanes.width)

    def build(context, builder, signature, arguments):
        align = units.dtype.bitwidth // 8
        pointers = _pointers(context, builder, units, *arguments[:3], lanes)
        return emit.join(builder, [builder.load(pointer, align=align) for pointer in pointers])

    return vector(units, types.intp, types.intp, lanes), build


@intrinsic
def store_apart(typingctx, units, unit, step, vector, lanes):
    """Write a vector into every `step`-th unit."""

    def build(context, builder, signature, arguments):
        align = units.dtype.bitwidth // 8
        for i, pointer in enumerate(_pointers(context, builder, units, *arguments[:3], lanes)):
            part = emit.cut(builder, arguments[3], i * lanes.unit, lanes.unit)
            builder.store(part, pointer, align=align)
        return context.get_dummy_value()

    return types.void(units, types.intp, types.intp, vector, lanes), build


@intrinsic
def prefetch(typingctx, units, unit, step, lanes):
    """Begin to fetch the vector of every `step`-th unit, to be loaded later. It may lie outside
    the array."""

    def build(context, builder, signature, arguments):
        line = CACHE_LINE * 8 // units.dtype.bitwidth
        for pointer in _pointers(context, builder, units, *arguments[:3], lanes):
            numbers = builder.bitcast(pointer, pointer.type.pointee.element.as_pointer())
            for start in range(0, lanes.unit, line):
                place = builder.gep(numbers, [ir.Constant(ir.IntType(32), start)])
                emit.prefetch(builder, place, level=2)
        return context.get_dummy_value()

    return types.void(units, types.intp, types.intp, lanes), build


@intrinsic
def accumulate(typingctx, units, unit, vector, lanes):
    """Add to the vector of one unit the sum of the vector's parts of its width."""

    def build(context, builder, signature, arguments):
        target = VectorType(units.dtype, lanes.width)
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], target, lanes)
        starts = range(0, vector.llvm.count, lanes.width)
        parts = [emit.cut(builder, arguments[2], start, lanes.width) for start in starts]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [builder.fadd(*pair) for pair in pairs]
        align = units.dtype.bitwidth // 8
        total = builder.fadd(builder.load(pointer, align=align), parts[0])
        builder.store(total, pointer, align=align)
        return context.get_dummy_value()

    return types.void(units, types.intp, vector, lanes), build


@intrinsic
def accumulate_product(typingctx, units, unit, left, right, lanes):
    """As `accumulate`, of left * right."""

    def build(context, builder, signature, arguments):
        target = VectorType(units.dtype, lanes.width)
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], target, lanes)
        align = units.dtype.bitwidth // 8
        chains = [builder.load(pointer, align=align), None]
        for i, start in enumerate(range(0, left.llvm.count, lanes.width)):
            a, b = (emit.cut(builder, value, start, lanes.width) for value in arguments[2:4])
            total = chains[i % 2]
            chains[i % 2] = (
                builder.fmul(a, b) if total is None else emit.multiply_add(builder, a, b, total)
            )
        builder.store(builder.fadd(*chains), pointer, align=align)
        return context.get_dummy_value()

    return types.void(units, types.intp, left, right, lanes), build


@intrinsic
def entry(typingctx, array, place):
    """array[place], and no look at whether `place` is negative: in a short loop that takes time."""

    def build(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]]))

    return array.dtype(array, types.intp), build


@intrinsic
def add_to(typingctx, array, place, value):
    """array[place] += value, as in `entry`."""

    def build(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        pointer = builder.gep(data, [arguments[1]])
        builder.store(builder.fadd(builder.load(pointer), arguments[2]), pointer)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), build


@intrinsic
def transpose_block(typingctx, images, examples, start, feature, units, unit, lanes):
    """Copy features `feature` to `feature` + 15 of examples[start : start + 16] into units."""
    row = ir.VectorType(ir.FloatType() if images.dtype == types.float32 else ir.DoubleType(), BLOCK)

    def build(context, builder, signature, arguments):
        def array(position):
            return context.make_array(signature.args[position])(
                context, builder, arguments[position]
            )

        source, numbers, target = array(0), array(1), array(4)
        _, _, start, feature, _, unit, _ = arguments
        features = cgutils.unpack_tuple(builder, source.shape)[1]

        def offset(base, step, count):
            return builder.add(base, builder.mul(step, ir.Constant(step.type, count)))

        rows = []
        for lane in range(BLOCK):
            position = builder.add(start, ir.Constant(start.type, lane))
            number = builder.load(builder.gep(numbers.data, [position]))
            begin = builder.add(builder.mul(number, features), feature)
            begin = builder.bitcast(builder.gep(source.data, [begin]), row.as_pointer())
            emit.prefetch(builder, builder.gep(begin, [ir.Constant(start.type, AHEAD)]))
            rows.append(builder.load(begin, align=images.dtype.bitwidth // 8))
        for k, column in enumerate(emit.transpose(builder, rows)):
            begin = offset(start, builder.add(unit, ir.Constant(unit.type, k)), lanes.width)
            begin = builder.bitcast(builder.gep(target.data, [begin]), row.as_pointer())
            builder.store(column, begin, align=images.dtype.bitwidth // 8)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(images, examples, intp, intp, units, intp, lanes), build


def _pointer(context, builder, array_type, array, unit, vector, lanes):
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(unit, ir.Constant(unit.type, lanes.unit))
    return builder.bitcast(builder.gep(data, [offset]), vector.llvm.as_pointer())


def _pointers(context, builder, array_type, array, unit, step, lanes):
    """Those of a vector's units."""
    part = VectorType(array_type.dtype, lanes.unit)
    pointers = []
    for _ in range(lanes.width // lanes.unit):
        pointers.append(_pointer(context, builder, array_type, array, unit, part, lanes))
        unit = builder.add(unit, step)
    return pointers
