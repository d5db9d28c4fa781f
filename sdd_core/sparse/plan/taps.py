"""The kept weights of a convolution, listed as shifts of an address for both passes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.architecture import Convolution
from sdd_core.sparse.plan.index import Index, starts_of
from sdd_core.sparse.plan.reach import Reach

# Rows of a result that are worked on at once, with a stride of 1; their inputs stay in the cache.
TILE_ROWS = 8

# Kept weights of a layer from which they are not gone through anew for each row of a tile: what
# belongs to them would not stay in the cache.
MANY = 60_000


class Taps(NamedTuple):
    """What the taps of a layer need of a thread: vectors for a tile, and for products."""

    tile_vectors: int
    products: int


class _Weights(NamedTuple):
    """Where each kept weight is in its kernel: output, input, and the place from the centre."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    down: NDArray[np.intp]
    right: NDArray[np.intp]


def list_taps(
    layer: Any, part: Convolution, mask: NDArray[np.bool_], reach: Reach, index: Index
) -> Taps:
    """Describe the tiles of a layer, and its kept weights as shifts of the place in them."""
    rows, columns, down, right = np.nonzero(mask)
    weights = _Weights(rows, columns, down - mask.shape[2] // 2, right - mask.shape[3] // 2)
    size, stride = int(layer.side), part.stride
    layer.tile_rows, layer.back_tile_rows = min(size, TILE_ROWS // stride), min(size, TILE_ROWS)
    layer.rows_at_once = layer.back_tile_rows if len(rows) > MANY else 1
    layer.buffer_rows = stride * (layer.tile_rows - 1) + 3
    layer.buffer_line = stride * size + 2
    layer.back_buffer_rows, layer.back_buffer_line = layer.back_tile_rows + 2, size + 2
    forward = _list_forward(layer, weights, mask, index)
    wanted = reach.reached[part.target] & np.any(mask, axis=(1, 2, 3))
    backward = _list_backward(layer, weights, wanted, mask.shape[1], index)
    return Taps(max(forward, backward), int(layer.position_count))


def _list_forward(
    layer: Any, weights: _Weights, mask: NDArray[np.bool_], index: Index
) -> int:
    """By result: where the inputs lie in a tile. Returns the vectors of a tile."""
    stride, line = int(layer.stride), int(layer.buffer_line)
    area = int(layer.buffer_rows) * line
    right = weights.right
    # With a stride of 2, a line has first the pixels beside the centres, then the centres.
    across = right + 1 if stride == 1 else np.where(right == 0, line // 2, right > 0)
    reads = np.any(mask, axis=(0, 2, 3))
    layer.filled, layer.filled_count = index.append_chosen(reads)
    slots = np.where(reads, np.cumsum(reads) - 1, -1)
    layer.slots, slots = index.append(slots), slots[weights.columns]
    layer.row_starts = index.append(starts_of(weights.rows, int(layer.outputs)))
    layer.shifts = index.append(slots * area + (weights.down + 1) * line + across)
    return int(layer.filled_count) * area


def _list_backward(
    layer: Any, weights: _Weights, wanted: NDArray[np.bool_], channels: int, index: Index
) -> int:
    """By source: where the results' gradients lie in a tile. Returns the vectors of a tile.

    Pixels of the source fall into stride * stride phases, each with weights of its own.
    """
    stride, line = int(layer.stride), int(layer.back_buffer_line)
    area, phases = int(layer.back_buffer_rows) * line, stride * stride
    rows, columns, down, right = weights
    layer.results, layer.result_count = index.append_chosen(wanted)
    phase = down % stride * stride + right % stride
    by_column = np.lexsort((rows, phase, columns))
    by_column = by_column[wanted[rows[by_column]]]
    down, right = (down % stride - down) // stride, (right % stride - right) // stride
    slots = (np.cumsum(wanted) - 1)[rows]
    shifts = slots * area + down * line + right
    counts = starts_of((columns * phases + phase)[by_column], channels * phases)
    layer.back_shifts = index.append(shifts[by_column])
    layer.positions = index.append(by_column)
    layer.column_starts, layer.position_count = index.append(counts), len(by_column)
    return int(layer.result_count) * area
