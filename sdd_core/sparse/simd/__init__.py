"""Vectors in compiled code: how many lanes they have, to and from memory, arithmetic."""

from sdd_core.sparse.simd.arithmetic import (
    add,
    add_scaled,
    divide,
    dot,
    exponential,
    fill,
    maximum,
    multiply,
    reduce,
    relu,
    relu_gradient,
    subtract,
)
from sdd_core.sparse.simd.memory import (
    BLOCK,
    accumulate,
    accumulate_product,
    add_to,
    entry,
    load,
    load_apart,
    prefetch,
    store,
    store_apart,
    transpose_block,
)
from sdd_core.sparse.simd.transposition import transpose_in, transpose_out
from sdd_core.sparse.simd.types import Lanes, width

__all__ = [
    "BLOCK", "Lanes", "accumulate", "accumulate_product", "add", "add_scaled", "add_to", "divide",
    "dot", "entry", "exponential", "fill", "load", "load_apart", "maximum", "multiply", "prefetch",
    "reduce", "relu", "relu_gradient", "store", "store_apart", "subtract", "transpose_block",
    "transpose_in", "transpose_out", "width",
]  # fmt: skip
