"""How threads of compiled code share a loop and wait for each other.

A step of a small network takes tens of microseconds, and its threads have to wait for each other
after every layer: they do so by counting in shared memory, not through the operating system.
"""

# pyright: reportCallIssue=false
# (`arrive` and `look` get their first argument, the typing context, from the compiler)

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from sdd_core.sparse.compilation import compiled, inner

# A thread's number, and how many there are.
Part = tuple[int, int]

# The part of a thread that has all the work.
ALONE: Part = (0, 1)

# Where a barrier has its counts, a cache line apart: how many threads arrived, all rounds
# together; whether one was interrupted; and for each thread the rounds that it took part in.
ARRIVALS, ABANDONED, ROUNDS, LINE = 0, 8, 16, 8


class Thread(NamedTuple):
    """One of the threads that work together: its part, and the barrier where it meets the rest."""

    part: Part
    barrier: NDArray[np.int64]


def new_barrier(threads: int) -> NDArray[np.int64]:
    """A barrier for so many threads."""
    return np.zeros(ROUNDS + threads * LINE, np.int64)


# Looks at the counter before the processor is offered to others: some 10 microseconds.
PATIENCE = 4000

give_way = types.ExternalFunction(
    "SwitchToThread" if os.name == "nt" else "sched_yield", types.int32()
)


@inner
def wait(thread):
    """Wait until every thread has come here.

    Raises: RuntimeError if one of them was interrupted.
    """
    number, count = thread.part
    if count == 1:
        return
    barrier = thread.barrier
    barrier[ROUNDS + number * LINE] += 1
    arrivals = barrier[ROUNDS + number * LINE] * count
    arrive(barrier, ARRIVALS)
    looks = 0
    while look(barrier, ARRIVALS) < arrivals:
        looks += 1
        if looks > PATIENCE:
            give_way()
            if look(barrier, ABANDONED):
                raise RuntimeError("a thread of this team was interrupted")


@intrinsic
def arrive(typingctx, barrier, place):
    """Count one up. What this thread wrote before, others see who see the count."""

    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature, arguments)
        builder.atomic_rmw("add", pointer, ir.Constant(pointer.type.pointee, 1), "seq_cst")
        return context.get_dummy_value()

    return types.void(barrier, types.intp), build


@intrinsic
def look(typingctx, barrier, place):
    """Read a count, and with it what those who counted had written."""

    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature, arguments)
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(barrier, types.intp), build


def _pointer(context, builder, signature, arguments):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return cgutils.gep(builder, array.data, arguments[1])


@compiled
def share(size, part):
    """The lines begin to end of `size` that a thread works on, in pairs."""
    pairs = (size + 1) // 2
    begin, end = pairs * part[0] // part[1], pairs * (part[0] + 1) // part[1]
    return 2 * begin, min(2 * end, size)


@compiled
def share_of_weights(starts, lines, part):
    """The same where line k has starts[k + 1] - starts[k] weights: an equal part of the work."""
    return _cut(starts, lines, part[0], part[1]), _cut(starts, lines, part[0] + 1, part[1])


@inner
def _cut(starts, lines, number, count):
    """The first line that begins behind this part of the work; a line costs as two weights."""
    begin = (starts[lines] + 2 * lines) * number // count
    low, high = 0, lines
    while low < high:
        middle = (low + high) // 2
        if starts[middle] + 2 * middle < begin:
            low = middle + 1
        else:
            high = middle
    return low
