"""Arithmetic on vectors, lane by lane, and sums over their lanes."""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sdd_core.sparse.simd import emit
from sdd_core.sparse.simd.types import VectorType


@intrinsic
def fill(typingctx, value, lanes):
    """A vector that holds `value` in every lane."""
    vector = VectorType(value, lanes.width)

    def build(context, builder, signature, arguments):
        return emit.fill(builder, arguments[0], vector.llvm)

    return vector(value, lanes), build


@intrinsic
def add_scaled(typingctx, total, scale, vector):
    """total + scale * vector"""

    def build(context, builder, signature, arguments):
        scales = emit.fill(builder, arguments[1], vector.llvm)
        return emit.multiply_add(builder, scales, arguments[2], arguments[0])

    return total(total, total.dtype, vector), build


@intrinsic
def dot(typingctx, left, right):
    """Sum over the lanes of left * right."""

    def build(context, builder, signature, arguments):
        chunk = max(1, left.llvm.count // 4)  # of a tile of eight registers: two chains, four long
        total = None
        for start in range(0, left.llvm.count, chunk):
            a, b = (emit.cut(builder, value, start, chunk) for value in arguments)
            total = builder.fmul(a, b) if total is None else emit.multiply_add(builder, a, b, total)
        return emit.reduce(builder, total)

    return left.dtype(left, right), build


@intrinsic
def reduce(typingctx, vector):
    """Sum over the lanes."""

    def build(context, builder, signature, arguments):
        return emit.reduce(builder, arguments[0])

    return vector.dtype(vector), build


def _elementwise(operate):
    @intrinsic
    def function(typingctx, left, right):
        def build(context, builder, signature, arguments):
            return operate(builder, *arguments)

        return left(left, right), build

    return function


add = _elementwise(ir.IRBuilder.fadd)
subtract = _elementwise(ir.IRBuilder.fsub)
multiply = _elementwise(ir.IRBuilder.fmul)
divide = _elementwise(ir.IRBuilder.fdiv)
maximum = _elementwise(lambda builder, left, right: builder.select(
    builder.fcmp_ordered(">", left, right), left, right
))  # fmt: skip


@intrinsic
def exponential(typingctx, vector):
    """exp of numbers that are at most 0 (or nan), to rounding: 2^n times a Taylor series."""
    single = vector.dtype == types.float32
    lowest, degree, mantissa, exponent_bias = (-87, 7, 23, 127) if single else (-708, 13, 52, 1023)
    # The leading bits of ln 2, few enough that n times them is exact, and the rest.
    high = math.ldexp(math.floor(math.ldexp(math.log(2), 10)), -10)
    low = 0.0007643680599453094

    def build(context, builder, signature, arguments):
        def constant(value):
            return ir.Constant(vector.llvm, [value] * vector.llvm.count)

        integers = ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.llvm.count)
        floor = constant(lowest)
        x = builder.select(builder.fcmp_ordered("<", arguments[0], floor), floor, arguments[0])
        n = emit.call(builder, "llvm.rint", builder.fmul(x, constant(1 / math.log(2))))
        rest = emit.multiply_add(builder, n, constant(-high), x)
        rest = emit.multiply_add(builder, n, constant(-low), rest)
        series = constant(1 / math.factorial(degree))
        for k in range(degree - 1, -1, -1):
            series = emit.multiply_add(builder, series, rest, constant(1 / math.factorial(k)))
        power = builder.fptosi(n, integers)
        power = builder.add(power, ir.Constant(integers, [exponent_bias] * integers.count))
        power = builder.shl(power, ir.Constant(integers, [mantissa] * integers.count))
        return builder.fmul(series, builder.bitcast(power, vector.llvm))

    return vector(vector), build


@intrinsic
def relu(typingctx, vector):
    """0 where a number is negative, else the number (nan too)."""

    def build(context, builder, signature, arguments):
        return emit.zero_where(builder, "<", arguments[0], arguments[0])

    return vector(vector), build


@intrinsic
def relu_gradient(typingctx, activation, gradient):
    """`gradient` where the activation is positive (or nan), else 0: torch's rule at exactly 0."""

    def build(context, builder, signature, arguments):
        return emit.zero_where(builder, "<=", arguments[0], arguments[1])

    return gradient(activation, gradient), build
