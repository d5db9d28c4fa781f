"""Vectors of one number per example, held in registers.

The kernels keep activations as units x examples. A `Tile` fixes how many examples one vector
holds; the functions below act on whole vectors inside compiled code. They emit LLVM vector
instructions, because a loop over an array would go through memory where these stay in registers,
and LLVM fits any width to the machine (a tile of 128 float32 is eight AVX-512 registers).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

from sdd_core.sparse.compilation import source_digest

BLOCK = 16

# How many blocks of an image are fetched before they are read.
AHEAD = 4


@dataclass(frozen=True)
class Tile:
    """How many numbers a vector holds, and how many a unit has, in which positions are counted.

    Both are part of its compiled type. Vectors overlap where `unit` is less than `width`.
    """

    width: int
    unit: int = 0  # 0: as `width`


class TileType(types.Type):
    def __init__(self, width: int, unit: int) -> None:
        self.width = width
        self.unit = unit or width
        super().__init__(name=f"Tile({width}, {self.unit}, {source_digest()})")


class VectorType(types.Type):
    def __init__(self, dtype: types.Float, width: int) -> None:
        self.dtype = dtype
        scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
        self.llvm = ir.VectorType(scalar, width)
        super().__init__(name=f"Vector({dtype}, {width})")


register_model(TileType)(models.OpaqueModel)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


@typeof_impl.register(Tile)
@functools.cache  # asked at every call of a kernel
def _typeof_tile(value, context):
    return TileType(value.width, value.unit)


@unbox(TileType)
def _unbox_tile(typ, obj, c):
    return NativeValue(c.context.get_dummy_value())


@intrinsic
def width(typingctx, tile):
    def build(context, builder, signature, arguments):
        return context.get_constant(types.intp, tile.width)

    return types.intp(tile), build


@intrinsic
def load(typingctx, units, unit, tile):
    """The vector of one unit."""
    vector = VectorType(units.dtype, tile.width)

    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], vector, tile)
        return builder.load(pointer, align=units.dtype.bitwidth // 8)

    return vector(units, types.intp, tile), build


@intrinsic
def store(typingctx, units, unit, vector, tile):
    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], vector, tile)
        builder.store(arguments[2], pointer, align=units.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(units, types.intp, vector, tile), build


@intrinsic
def load_apart(typingctx, units, unit, step, tile):
    """The vector of every `step`-th unit."""
    vector = VectorType(units.dtype, tile.width)

    def build(context, builder, signature, arguments):
        align = units.dtype.bitwidth // 8
        pointers = _pointers(context, builder, units, *arguments[:3], tile)
        return _join(builder, [builder.load(pointer, align=align) for pointer in pointers])

    return vector(units, types.intp, types.intp, tile), build


@intrinsic
def store_apart(typingctx, units, unit, step, vector, tile):
    """A vector into every `step`-th unit."""

    def build(context, builder, signature, arguments):
        align = units.dtype.bitwidth // 8
        for i, pointer in enumerate(_pointers(context, builder, units, *arguments[:3], tile)):
            part = _slice(builder, arguments[3], i * tile.unit, tile.unit)
            builder.store(part, pointer, align=align)
        return context.get_dummy_value()

    return types.void(units, types.intp, types.intp, vector, tile), build


@intrinsic
def fill(typingctx, value, tile):
    """A vector that holds `value` for every example."""
    vector = VectorType(value, tile.width)

    def build(context, builder, signature, arguments):
        return _fill(builder, arguments[0], vector.llvm)

    return vector(value, tile), build


@intrinsic
def add_scaled(typingctx, total, scale, vector):
    """total + scale * vector"""

    def build(context, builder, signature, arguments):
        scales = _fill(builder, arguments[1], vector.llvm)
        return _multiply_add(builder, scales, arguments[2], arguments[0])

    return total(total, total.dtype, vector), build


@intrinsic
def dot(typingctx, left, right):
    """Sum over the examples of left * right."""

    def build(context, builder, signature, arguments):
        chunk = min(32, left.llvm.count)  # two chains of AVX-512 registers hide the latency
        total = None
        for start in range(0, left.llvm.count, chunk):
            a, b = (_slice(builder, value, start, chunk) for value in arguments)
            total = builder.fmul(a, b) if total is None else _multiply_add(builder, a, b, total)
        return _reduce(builder, total)

    return left.dtype(left, right), build


@intrinsic
def reduce(typingctx, vector):
    """Sum over the examples."""

    def build(context, builder, signature, arguments):
        return _reduce(builder, arguments[0])

    return vector.dtype(vector), build


@intrinsic
def accumulate(typingctx, units, unit, vector, tile):
    """Add to the tile's vector of one unit the sum of the vector's parts of its width."""

    def build(context, builder, signature, arguments):
        target = VectorType(units.dtype, tile.width)
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], target, tile)
        starts = range(0, vector.llvm.count, tile.width)
        parts = [_slice(builder, arguments[2], start, tile.width) for start in starts]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [builder.fadd(*pair) for pair in pairs]
        align = units.dtype.bitwidth // 8
        total = builder.fadd(builder.load(pointer, align=align), parts[0])
        builder.store(total, pointer, align=align)
        return context.get_dummy_value()

    return types.void(units, types.intp, vector, tile), build


@intrinsic
def accumulate_product(typingctx, units, unit, left, right, tile):
    """As `accumulate`, of left * right."""

    def build(context, builder, signature, arguments):
        target = VectorType(units.dtype, tile.width)
        pointer = _pointer(context, builder, units, arguments[0], arguments[1], target, tile)
        align = units.dtype.bitwidth // 8
        chains = [builder.load(pointer, align=align), None]
        for i, start in enumerate(range(0, left.llvm.count, tile.width)):
            a, b = (_slice(builder, value, start, tile.width) for value in arguments[2:4])
            total = chains[i % 2]
            product = builder.fmul(a, b) if total is None else _multiply_add(builder, a, b, total)
            chains[i % 2] = product
        builder.store(builder.fadd(*chains), pointer, align=align)
        return context.get_dummy_value()

    return types.void(units, types.intp, left, right, tile), build


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
        n = _call(builder, "llvm.rint", builder.fmul(x, constant(1 / math.log(2))))
        rest = _multiply_add(builder, n, constant(-high), x)
        rest = _multiply_add(builder, n, constant(-low), rest)
        series = constant(1 / math.factorial(degree))
        for k in range(degree - 1, -1, -1):
            series = _multiply_add(builder, series, rest, constant(1 / math.factorial(k)))
        power = builder.fptosi(n, integers)
        power = builder.add(power, ir.Constant(integers, [exponent_bias] * integers.count))
        power = builder.shl(power, ir.Constant(integers, [mantissa] * integers.count))
        return builder.fmul(series, builder.bitcast(power, vector.llvm))

    return vector(vector), build


@intrinsic
def transpose_block(typingctx, images, examples, start, feature, units, unit, tile):
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
            _prefetch(builder, builder.gep(begin, [ir.Constant(start.type, AHEAD)]))
            rows.append(builder.load(begin, align=images.dtype.bitwidth // 8))
        for k, column in enumerate(_transpose(builder, rows)):
            begin = offset(start, builder.add(unit, ir.Constant(unit.type, k)), tile.width)
            begin = builder.bitcast(builder.gep(target.data, [begin]), row.as_pointer())
            builder.store(column, begin, align=images.dtype.bitwidth // 8)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(images, examples, intp, intp, units, intp, tile), build


@intrinsic
def relu(typingctx, vector):
    def build(context, builder, signature, arguments):
        return _zero_where(builder, "<", arguments[0], arguments[0])

    return vector(vector), build


@intrinsic
def relu_gradient(typingctx, activation, gradient):
    """`gradient` where the activation is positive (or nan), else 0: torch's rule at exactly 0."""

    def build(context, builder, signature, arguments):
        return _zero_where(builder, "<=", arguments[0], arguments[1])

    return gradient(activation, gradient), build


def _pointer(context, builder, array_type, array, unit, vector, tile):
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(unit, ir.Constant(unit.type, tile.unit))
    return builder.bitcast(builder.gep(data, [offset]), vector.llvm.as_pointer())


def _pointers(context, builder, array_type, array, unit, step, tile):
    """Those of a vector's units."""
    part = VectorType(array_type.dtype, tile.unit)
    pointers = []
    for _ in range(tile.width // tile.unit):
        pointers.append(_pointer(context, builder, array_type, array, unit, part, tile))
        unit = builder.add(unit, step)
    return pointers


def _fill(builder, value, vector):
    single = ir.Constant(ir.VectorType(value.type, 1), ir.Undefined)
    single = builder.insert_element(single, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, single, _lanes([0] * vector.count))


def _slice(builder, value, start, count):
    undefined = ir.Constant(value.type, ir.Undefined)
    return builder.shuffle_vector(value, undefined, _lanes(list(range(start, start + count))))


def _join(builder, parts):
    """One vector of as many as a power of 2."""
    while len(parts) > 1:
        lanes = _lanes(list(range(2 * parts[0].type.count)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(*pair, lanes) for pair in pairs]
    return parts[0]


def _lanes(positions):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(positions)), positions)


def _transpose(builder, rows):
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
                swapped[i] = builder.shuffle_vector(*pair, _lanes(upper))
                swapped[i + half] = builder.shuffle_vector(*pair, _lanes(lower))
        rows, half = swapped, half // 2
    return rows


def _prefetch(builder, pointer):
    """Begin to fetch what will be read soon; a place that is not there does no harm."""
    byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch")
    reading, nearest, data = 0, 3, 1
    constants = [ir.Constant(integer, value) for value in (reading, nearest, data)]
    builder.call(function, [builder.bitcast(pointer, byte), *constants])


def _call(builder, name, *vectors):
    """Call LLVM's elementwise intrinsic."""
    vector = vectors[0].type
    bits = 32 if isinstance(vector.element, ir.FloatType) else 64
    signature = ir.FunctionType(vector, [vector] * len(vectors))
    name = f"{name}.v{vector.count}f{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), vectors)


def _multiply_add(builder, a, b, c):
    return _call(builder, "llvm.fmuladd", a, b, c)


def _reduce(builder, vector):
    scalar = vector.type.element
    signature = ir.FunctionType(scalar, [scalar, vector.type])
    bits = 32 if isinstance(scalar, ir.FloatType) else 64
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}f{bits}"
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    # `reassoc` lets the sum be a tree instead of a chain; which tree is fixed when it is compiled.
    return builder.call(function, [ir.Constant(scalar, -0.0), vector], fastmath=("reassoc",))


def _zero_where(builder, comparison, compared, value):
    zero = ir.Constant(value.type, None)
    return builder.select(builder.fcmp_ordered(comparison, compared, zero), zero, value)
