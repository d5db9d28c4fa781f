"""How threads of compiled code share a loop and wait for each other.

A step of a small network takes tens of microseconds, and its threads have to wait for each other
after every layer: they meet by counting in shared memory, not through the operating system.
"""

# pyright: reportCallIssue=false
# (`arrive` and `look` get their first argument, the typing context, from the compiler)

from __future__ import annotations

import os

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sdd_core.sparse.compilation import compiled

# Where the counts lie in the array that threads share: a cache line apart.
ARRIVALS, ABANDONED, SIZE = 0, 8, 16

# The part of a thread that has all the work.
ALONE = (0, 1)

# Looks at the counter before the processor is offered to others: some 10 microseconds.
PATIENCE = 4000

give_way = types.ExternalFunction(
    "SwitchToThread" if os.name == "nt" else "sched_yield", types.int32()
)


@compiled
def meet(meeting, rounds, part):
    """Wait until every thread has come here; returns how often they have met.

    rounds: how often they had met before.
    """
    count = part[1]
    if count == 1:
        return rounds + 1
    arrive(meeting, ARRIVALS)
    looks = 0
    while look(meeting, ARRIVALS) < (rounds + 1) * count:
        looks += 1
        if looks > PATIENCE:
            give_way()
            if look(meeting, ABANDONED):
                raise RuntimeError("a thread of this team was interrupted")
    return rounds + 1


@intrinsic
def arrive(typingctx, meeting, place):
    """Count one up. What this thread wrote before, others see who see the count."""

    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature, arguments)
        builder.atomic_rmw("add", pointer, ir.Constant(pointer.type.pointee, 1), "seq_cst")
        return context.get_dummy_value()

    return types.void(meeting, types.intp), build


@intrinsic
def look(typingctx, meeting, place):
    """Read a count, and with it what those who counted had written."""

    def build(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature, arguments)
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(meeting, types.intp), build


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


@compiled
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
