"""The kept weights of a matrix, listed row by row and column by column."""

from __future__ import annotations

import numpy as np

from sdd_core.sparse.compilation import compiled


@compiled
def list_kept(mask):
    """Return the rows and the columns of the kept entries, row by row, int32.

    There is no branch in the loop, because what a random mask does next cannot be predicted.
    """
    count = 0
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            count += mask[row, column]
    rows, columns = np.empty(count + 1, np.int32), np.empty(count + 1, np.int32)
    k = 0
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            rows[k] = row
            columns[k] = column
            k += mask[row, column]
    return rows[:count], columns[:count]


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
