"""The plan of a perceptron."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.listing import kept_places
from sdd_core.sparse.packing import Packing
from sdd_core.sparse.plan.index import Index
from sdd_core.sparse.plan.linear import list_weights
from sdd_core.sparse.plan.records import KERNELS, LINEAR, PARTS, PRODUCTS, Plan, plain, table
from sdd_core.sparse.simd import BLOCK

# Vectors of 128 float32 that the first level of a processor's cache holds.
CACHED = 48


def plan_perceptron(
    architecture: Architecture, masks: Sequence[NDArray[np.bool_]], kernels: Sequence[str]
) -> Plan:
    """Return the plan for given masks of the weights, and a kernel for each layer.

    The first layer sees only live blocks of features (those with a kept weight). A sparse layer
    has its kept weights, in the order of `list_weights`. A dense layer has all its weights, row
    by row; the pruned ones never change from 0.
    """
    starts, features = _live_blocks(masks[0])
    layers = table(len(masks), LINEAR)
    packing, index, units, dense = Packing(), Index(), 0, 0
    for i, (linear, mask, kernel) in enumerate(
        zip(architecture.linears, masks, kernels, strict=True)
    ):
        # -1 stands for a feature that an earlier block has already.
        seen = mask
        if i == 0 and not np.array_equal(features, np.arange(mask.shape[1])):
            seen = mask[:, features] & (features >= 0)
        places = kept_places(seen)
        rows, columns = _rows_and_columns(places, seen.shape[1])
        layer = layers[i]
        layer.kernel = KERNELS[kernel]
        layer.outputs, layer.inputs = seen.shape
        layer.source, layer.target = units, units + seen.shape[1]
        slots, size = None, None
        if kernel == "dense":
            slots, size = places, seen.size
            layer.products, dense = dense * PRODUCTS * PARTS, dense + 1
        else:
            density = rows.size / max(1, seen.size)
            layer.row_blocks = _blocks(layer.inputs, density)
            # Other layers need the sum over all rows at once, for their inputs' gradients.
            layer.column_blocks = _blocks(layer.outputs, density) if i == 0 else 1
            order = list_weights(layer, rows, columns, index)
            rows, columns, places = rows[order], columns[order], places[order]
        if seen is not mask:
            places = rows.astype(np.intp) * mask.shape[1] + features[columns]
        layer.weights, layer.biases = packing.add(mask.shape, places, slots, size), -1
        if linear.biased:
            layer.biases = packing.add((linear.outputs,), np.arange(linear.outputs))
        units = layer.target
    # Behind the logits, two vectors for `cross_entropy`.
    scratch = units + architecture.linears[-1].outputs + 2
    for layer in layers:
        layer.scratch = scratch
    return Plan(
        packing, index.flat(), plain(layers, LINEAR), features=starts,
        vectors=scratch + (max(layer.inputs for layer in layers) if dense else 0),
    )  # fmt: skip


def _rows_and_columns(
    places: NDArray[np.intp], columns: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    rows = places // max(1, columns)  # a division by one number is fast, but not with its remainder
    return rows.astype(np.int32), (places - rows * columns).astype(np.int32)


def _blocks(lines: int, density: float) -> int:
    """How many blocks are worth it: reading from the cache has to save more than going through
    all the units once more for each block."""
    return max(1, round(lines / CACHED)) if density * CACHED >= 6 else 1


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
    used = np.asarray(mask.any(axis=0))
    live = (used[features] & (features >= 0)).any(axis=1)
    return starts[live].astype(np.int32), features[live].ravel()
