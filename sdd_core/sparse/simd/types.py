"""How many lanes a vector has, and the types of vectors in compiled code.

The functions of this package act on whole vectors inside compiled code. They emit LLVM's vector
instructions, because a loop over an array would go through memory where these stay in registers.
LLVM fits any number of lanes to the machine (128 of float32 are eight AVX-512 registers).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

from sdd_core.sparse.sources import source_digest


@dataclass(frozen=True)
class Lanes:
    """How many lanes a vector has, and how many numbers a unit of memory.

    Places in memory are counted in units. A vector holds one unit, or `width // unit` neighbouring
    ones. Both numbers are part of the compiled type, so each pair has code of its own; and so is
    the digest of the sources (see `source_digest`).
    """

    width: int
    unit: int = 0  # 0: as `width`


class LanesType(types.Type):
    """`Lanes` in compiled code, where it takes no room."""

    def __init__(self, width: int, unit: int) -> None:
        self.width = width
        self.unit = unit or width
        super().__init__(name=f"Lanes({width}, {self.unit}, {source_digest()})")


class VectorType(types.Type):
    """A vector in compiled code, held in registers."""

    def __init__(self, dtype: types.Float, width: int) -> None:
        self.dtype = dtype
        scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
        self.llvm = ir.VectorType(scalar, width)
        super().__init__(name=f"Vector({dtype}, {width})")


register_model(LanesType)(models.OpaqueModel)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


@typeof_impl.register(Lanes)
@functools.cache  # asked at every call of a kernel
def _typeof_lanes(value, context):
    return LanesType(value.width, value.unit)


@unbox(LanesType)
def _unbox_lanes(typ, obj, c):
    return NativeValue(c.context.get_dummy_value())


@intrinsic
def width(typingctx, lanes):
    """How many lanes a vector has."""

    def build(context, builder, signature, arguments):
        return context.get_constant(types.intp, lanes.width)

    return types.intp(lanes), build
