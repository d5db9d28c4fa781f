"""Where a network's numbers lie in the flat arrays that the kernels work on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.kernels import DENSE, SPARSE
from sdd_core.sparse.vector import BLOCK

KERNELS = {"sparse": SPARSE, "dense": DENSE}

# Offsets into: units (source, target), parameters (weights, biases; -1 = no bias), index (rest).
LAYER = np.dtype([
    (name, np.int64)
    for name in (
        "kernel", "inputs", "outputs", "source", "target", "weights", "biases",
        "row_starts", "columns", "column_starts", "rows", "positions",
    )
])  # fmt: skip


class Plan:
    """The layout for given masks.

    The first layer sees only live blocks of features (those with a kept weight). A sparse layer's
    kept weights lie row by row; `columns` has their columns. For the backward pass the same
    weights are listed column by column: `rows` has their rows and `positions` where each one
    lies. A dense layer has all its weights, row by row; the pruned ones never change from 0.
    """

    def __init__(
        self, masks: Sequence[NDArray[np.bool_]], biased: Sequence[bool], kernels: Sequence[str]
    ) -> None:
        self.live, features = _live_blocks(masks[0])
        self.layers = np.zeros(len(masks), LAYER).view(np.recarray)
        self.shapes = [mask.shape for mask in masks]
        self._slots: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
        kept: list[NDArray[np.bool_]] = []
        index = _Index()
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
                by_column = np.lexsort((rows, columns))
                layer.row_starts = index.append(np.append(0, np.cumsum(seen.sum(axis=1))))
                layer.columns = index.append(columns)
                layer.column_starts = index.append(np.append(0, np.cumsum(seen.sum(axis=0))))
                layer.rows = index.append(rows[by_column])
                layer.positions = index.append(by_column)
            self._slots.append((rows, features[columns] if i == 0 else columns, slots))
            parameters += kept[-1].size
            layer.biases = parameters if biased[i] else -1
            if biased[i]:
                kept.append(np.ones(seen.shape[0], bool))
                parameters += seen.shape[0]
            units = layer.target
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


class _Index:
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
