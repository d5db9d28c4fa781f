"""The kept weights of a matrix, listed row by row and column by column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.compilation import compiled


def kept_places(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the positions of the kept entries of a mask, flattened."""
    return list_kept(np.ascontiguousarray(mask).reshape(-1).view(np.uint8), np.count_nonzero(mask))


@compiled
def list_kept(mask, count):
    """Return the positions of what is not 0. mask: `[entries]`, 0 or 1. count: how many there are.

    There is no branch in the loop, as numpy has, because random masks cannot be predicted.
    """
    places = np.empty(count + 1, np.intp)  # the last one is written to after the last kept entry
    k = 0
    for place in range(mask.size):
        places[k] = place
        k += mask[place]
    return places[:count]


@compiled
def sort_by_line(lines, count):
    """Return the order, int32, in which entries lie line by line, those of a line in the order
    given; and where each line begins in it, [count + 1], int32. lines: from 0 to below the count.
    """
    starts = np.zeros(count + 2, np.int32)
    for line in lines:
        starts[line + 2] += 1
    for line in range(count):
        starts[line + 2] += starts[line + 1]
    order = np.empty(lines.size, np.int32)
    for k in range(lines.size):
        place = lines[k] + 1  # where the line goes on; at the end, where the next one begins
        order[starts[place]] = k
        starts[place] += 1
    return order, starts[: count + 1]
