"""The kept weights of a sparse linear layer, listed for both passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.listing import sort_by_line
from sdd_core.sparse.plan.index import Index, starts_of


def list_weights(
    layer: Any, rows: NDArray[np.int32], columns: NDArray[np.int32], index: Index
) -> slice | NDArray[np.int32]:
    """Write a sparse layer's kept weights into the index, in as many blocks as the layer says.

    They lie row by row, all of the first block of columns, then all of the next; `layer.columns`
    has their columns. For the backward pass the same weights are listed column by column, for one
    block of rows and then the next.

    rows, columns: of these weights, row by row. Returns the order in which they have to lie.
    """
    shape = (int(layer.outputs), int(layer.inputs))
    layer.row_work = layer.row_starts = index.append(starts_of(rows, shape[0]))
    order: slice | NDArray[np.int32] = slice(None)  # those of one block lie in order already
    if layer.row_blocks > 1:
        order, starts = _in_blocks(rows, columns, shape, int(layer.row_blocks))
        rows, columns = rows[order], columns[order]
        layer.row_starts = index.append(starts)
    layer.columns = index.append(columns)
    by_column, starts = _in_blocks(columns, rows, shape[::-1], int(layer.column_blocks))
    layer.column_work = layer.column_starts = index.append(starts)
    layer.rows, layer.positions = index.append(rows[by_column]), index.append(by_column)
    if layer.column_blocks > 1:
        layer.column_work = index.append(starts_of(columns, shape[1]))
    return order


def _in_blocks(
    lines: NDArray[np.int32], places: NDArray[np.int32], shape: Sequence[int], blocks: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The order of weights by block of places, line, and place; and where each line begins in it.

    shape: (lines, places). Places ascend along a line already. Returns also
    [blocks * lines + 1] positions.
    """
    line = lines if blocks == 1 else places * blocks // shape[1] * shape[0] + lines
    return sort_by_line(line, blocks * shape[0])
