"""LLVM's vector instructions, as the functions of `memory` and `arithmetic` emit them."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils


def fill(builder, value, vector):
    """A vector of this type with `value` in every lane."""
    single = ir.Constant(ir.VectorType(value.type, 1), ir.Undefined)
    single = builder.insert_element(single, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, single, mask_of([0] * vector.count))


def cut(builder, value, start, count):
    """The lanes from `start` on, `count` of them."""
    undefined = ir.Constant(value.type, ir.Undefined)
    return builder.shuffle_vector(value, undefined, mask_of(list(range(start, start + count))))


def join(builder, parts):
    """One vector of as many as a power of 2."""
    while len(parts) > 1:
        lanes = mask_of(list(range(2 * parts[0].type.count)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(*pair, lanes) for pair in pairs]
    return parts[0]


def mask_of(positions):
    """The constant that says which lanes a shuffle takes."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(positions)), positions)


def transpose(builder, rows):
    """Swap ever smaller quadrants: log2(n) rounds of n shuffles."""
    half = len(rows) // 2
    while half:
        swapped = list(rows)
        for i in range(len(rows)):
            if not i & half:
                lanes = range(len(rows))
                upper = [k + len(rows) - half if k & half else k for k in lanes]
                lower = [k + len(rows) if k & half else k + half for k in lanes]
                pair = rows[i], rows[i + half]
                swapped[i] = builder.shuffle_vector(*pair, mask_of(upper))
                swapped[i + half] = builder.shuffle_vector(*pair, mask_of(lower))
        rows, half = swapped, half // 2
    return rows


def prefetch(builder, pointer, level=1):
    """Begin to fetch what will be read soon into a level of the cache; a place that is not there
    does no harm."""
    byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch")
    reading, nearness, data = 0, 4 - level, 1
    constants = [ir.Constant(integer, value) for value in (reading, nearness, data)]
    builder.call(function, [builder.bitcast(pointer, byte), *constants])


def call(builder, name, *vectors):
    """Call LLVM's elementwise intrinsic."""
    vector = vectors[0].type
    bits = 32 if isinstance(vector.element, ir.FloatType) else 64
    signature = ir.FunctionType(vector, [vector] * len(vectors))
    name = f"{name}.v{vector.count}f{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), vectors)


def multiply_add(builder, a, b, c):
    """a * b + c, rounded once where the processor can."""
    return call(builder, "llvm.fmuladd", a, b, c)


def reduce(builder, vector):
    """Sum over the lanes."""
    scalar = vector.type.element
    signature = ir.FunctionType(scalar, [scalar, vector.type])
    bits = 32 if isinstance(scalar, ir.FloatType) else 64
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}f{bits}"
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    # `reassoc` lets the sum be a tree instead of a chain; which tree is fixed when it is compiled.
    return builder.call(function, [ir.Constant(scalar, -0.0), vector], fastmath=("reassoc",))


def zero_where(builder, comparison, compared, value):
    """0 where `compared` compares so with 0, else `value`; nan compares with nothing."""
    zero = ir.Constant(value.type, None)
    return builder.select(builder.fcmp_ordered(comparison, compared, zero), zero, value)
