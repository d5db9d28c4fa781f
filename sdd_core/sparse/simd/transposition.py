"""Squares of 16 x 16 numbers between arrays of examples and vectors of one feature."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sdd_core.sparse.simd import emit
from sdd_core.sparse.simd.memory import AHEAD, BLOCK


@intrinsic
def transpose_in(typingctx, source, start, step, places, first, target, shift):
    """Copy 16 numbers from `start` on of 16 examples, `step` numbers apart: number k of all
    examples lies at target[places[first + k] + shift] and behind."""

    def build(context, builder, signature, arguments):
        arrays = _arrays(context, builder, signature, arguments, (0, 3, 5))
        _, start, step, _, first, _, shift = arguments
        rows = []
        for pointer in _lines(builder, arrays[0], start, step):
            emit.prefetch(builder, builder.gep(pointer, [ir.Constant(start.type, AHEAD)]))
            rows.append(builder.load(pointer, align=source.dtype.bitwidth // 8))
        columns = zip(
            _placed(builder, arrays[2], arrays[1], first, shift),
            emit.transpose(builder, rows), strict=True,
        )  # fmt: skip
        for pointer, column in columns:
            builder.store(column, pointer, align=source.dtype.bitwidth // 8)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, intp, intp, places, intp, target, intp), build


@intrinsic
def transpose_out(typingctx, source, places, first, shift, target, start, step):
    """The reverse of `transpose_in`: source[places[first + k] + shift] and behind has number k."""

    def build(context, builder, signature, arguments):
        arrays = _arrays(context, builder, signature, arguments, (0, 1, 4))
        _, _, first, shift, _, start, step = arguments
        align = source.dtype.bitwidth // 8
        columns = [
            builder.load(pointer, align=align)
            for pointer in _placed(builder, arrays[0], arrays[1], first, shift)
        ]
        rows = emit.transpose(builder, columns)
        for pointer, row in zip(_lines(builder, arrays[2], start, step), rows, strict=True):
            builder.store(row, pointer, align=align)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, places, intp, intp, target, intp, intp), build


def _arrays(context, builder, signature, arguments, positions):
    return [
        context.make_array(signature.args[i])(context, builder, arguments[i]) for i in positions
    ]


def _lines(builder, array, start, step):
    """Pointers to the vectors that begin at `start`, `start + step`, ..."""
    for _ in range(BLOCK):
        yield _vector(builder, array, start)
        start = builder.add(start, step)


def _placed(builder, array, places, first, shift):
    """Pointers to the vectors that begin at the listed places."""
    for k in range(BLOCK):
        number = builder.add(first, ir.Constant(first.type, k))
        place = builder.load(builder.gep(places.data, [number]))
        place = builder.add(builder.sext(place, shift.type), shift)
        yield _vector(builder, array, place)


def _vector(builder, array, place):
    pointer = cgutils.gep(builder, array.data, place)
    row = ir.VectorType(pointer.type.pointee, BLOCK)
    return builder.bitcast(pointer, row.as_pointer())
