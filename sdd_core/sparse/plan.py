"""Where a network's numbers lie in the flat arrays that the kernels work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.kernels import DENSE, SPARSE
from sdd_core.sparse.vector import BLOCK

# Vectors of 128 float32 that the first level of a processor's cache holds.
CACHED = 48

KERNELS = {"sparse": SPARSE, "dense": DENSE}

# Offsets into: units (source, target), parameters (weights, biases; -1 = no bias), index (rest).
LAYER = np.dtype([
    (name, np.int64)
    for name in (
        "kernel", "inputs", "outputs", "source", "target", "weights", "biases",
        "row_blocks", "row_work", "row_starts", "columns",
        "column_blocks", "column_work", "column_starts", "rows", "positions",
    )
])  # fmt: skip


class Plan:
    """The layout for given masks.

    The first layer sees only live blocks of features (those with a kept weight). A sparse layer's
    kept weights lie row by row, all of the first block of columns, then all of the next;
    `columns` has their columns. For the backward pass the same weights are listed column by
    column, for one block of rows and then the next: `rows` has their rows and `positions` where
    each one lies. A dense layer has all its weights, row by row; the pruned ones never change
    from 0.
    """

    def __init__(
        self, masks: Sequence[NDArray[np.bool_]], biased: Sequence[bool], kernels: Sequence[str]
    ) -> None:
        self.live, features = _live_blocks(masks[0])
        self.layers = np.zeros(len(masks), LAYER).view(np.recarray)
        self.shapes = [mask.shape for mask in masks]
        self._slots: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
        kept: list[NDArray[np.bool_]] = []
        index = Index()
        units = parameters = 0
        for i, (mask, kernel) in enumerate(zip(masks, kernels, strict=True)):
            # -1 stands for a feature that an earlier block has already.
            seen = mask[:, features] & (features >= 0) if i == 0 else mask
            rows, columns = np.nonzero(seen)
            layer = self.layers[i]
            layer.kernel = KERNELS[kernel]
            layer.outputs, layer.inputs = seen.shape
            layer.source, layer.target = units, units + seen.shape[1]
            layer.weights = parameters
            if kernel == "dense":
                kept.append(seen.ravel())
                slots = np.flatnonzero(seen)
            else:
                kept.append(np.ones(rows.size, bool))
                slots = np.arange(rows.size)
                density = rows.size / max(1, seen.size)
                layer.row_blocks = _blocks(layer.inputs, density)
                # Other layers need the sum over all rows at once, for their inputs' gradients.
                layer.column_blocks = _blocks(layer.outputs, density) if i == 0 else 1
                rows, columns = list_weights(layer, rows, columns, index)
            self._slots.append((rows, features[columns] if i == 0 else columns, slots))
            parameters += kept[-1].size
            layer.biases = parameters if biased[i] else -1
            if biased[i]:
                kept.append(np.ones(seen.shape[0], bool))
                parameters += seen.shape[0]
            units = layer.target
        # The same numbers for the kernels: of a plain array the compiler knows the type at once.
        self.table = self.layers.view(np.ndarray)
        self.units = units + masks[-1].shape[0] + 2  # two for `cross_entropy`
        self.index = index.flat()
        self.kept = np.concatenate(kept)

    def pack(self, weights: Sequence[NDArray], biases: Sequence[NDArray | None]) -> NDArray:
        """The flat array of these parameters."""
        flat = np.zeros(self.kept.size, weights[0].dtype)
        for layer, (rows, columns, slots), weight, bias in zip(
            self.layers, self._slots, weights, biases, strict=True
        ):
            flat[layer.weights + slots] = weight[rows, columns]
            if bias is not None:
                flat[layer.biases : layer.biases + layer.outputs] = bias
        return flat

    def weights(self, flat: NDArray) -> list[NDArray]:
        """What `pack` took for weights, with 0 where they are masked."""
        dense = [np.zeros(shape, flat.dtype) for shape in self.shapes]
        for weight, layer, (rows, columns, slots) in zip(
            dense, self.layers, self._slots, strict=True
        ):
            weight[rows, columns] = flat[layer.weights + slots]
        return dense

    def biases(self, flat: NDArray) -> list[NDArray | None]:
        """What `pack` took for biases."""
        return [
            flat[layer.biases : layer.biases + layer.outputs].copy() if layer.biases >= 0 else None
            for layer in self.layers
        ]


def list_weights(
    layer: Any, rows: NDArray[np.intp], columns: NDArray[np.intp], index: Index
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Write a sparse layer's kept weights into the index, in as many blocks as the layer says.

    rows, columns: of these weights, row by row. Returns them in the order in which they have to
    lie.
    """
    shape = (int(layer.outputs), int(layer.inputs))
    order, starts = _in_blocks(rows, columns, shape, int(layer.row_blocks))
    layer.row_work = index.append(_starts(rows, shape[0]))
    rows, columns = rows[order], columns[order]
    layer.row_starts, layer.columns = index.append(starts), index.append(columns)
    order, starts = _in_blocks(columns, rows, shape[::-1], int(layer.column_blocks))
    layer.column_starts, layer.rows = index.append(starts), index.append(rows[order])
    layer.positions = index.append(order)
    layer.column_work = index.append(_starts(columns, shape[1]))
    return rows, columns


class Index:
    """Integer arrays laid end to end."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int32]] = []
        self._size = 0

    def append(self, values: NDArray) -> int:
        """Returns where `values` begin."""
        self._parts.append(values.astype(np.int32))
        self._size += values.size
        return self._size - values.size

    def flat(self) -> NDArray[np.int32]:
        return np.concatenate([*self._parts, np.zeros(1, np.int32)])


def _blocks(lines: int, density: float) -> int:
    """How many blocks are worth it: reading from the cache has to save more than going through
    all the units once more for each block."""
    return max(1, round(lines / CACHED)) if density * CACHED >= 6 else 1


def _in_blocks(
    lines: NDArray[np.intp], places: NDArray[np.intp], shape: Sequence[int], blocks: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The order of weights by block of places, line, and place; and where each line begins in it.

    shape: (lines, places). Places ascend along a line already. Returns also
    [blocks * lines + 1] positions.
    """
    line = lines if blocks == 1 else places * blocks // shape[1] * shape[0] + lines
    count = blocks * shape[0]
    # numpy sorts numbers of 16 bits in linear time.
    order = np.argsort(line.astype(np.uint16) if count <= 1 << 16 else line, kind="stable")
    return order, _starts(line, count)


def _starts(lines: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """[count + 1]: where each line begins when what belongs to them lies line by line."""
    return np.append(0, np.cumsum(np.bincount(lines, minlength=count)))


def _live_blocks(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Where the blocks of features with a kept weight begin, and all features in them.

    The last block ends with the last feature, so it may overlap the one before: its first
    features are then -1.
    """
    count = mask.shape[1]
    block = BLOCK if count >= BLOCK else 1
    starts = np.arange(0, count, block)
    features = starts[:, None] + np.arange(block)
    if count % block:
        starts[-1] = count - block
        features[-1] = starts[-1] + np.arange(block)
        features[-1, : block - count % block] = -1
    used = np.flatnonzero(mask.any(axis=0))
    live = np.isin(features, used).any(axis=1)
    return starts[live].astype(np.int32), features[live].ravel()
