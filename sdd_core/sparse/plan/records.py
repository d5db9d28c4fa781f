"""The tables of a plan, as the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.packing import Packing

# The kernels of a linear layer, by the names that costs have for them.
SPARSE, DENSE = 0, 1
KERNELS = {"sparse": SPARSE, "dense": DENSE}

# The matrix products of a dense layer, each in as many parts as threads may share.
FORWARD, WEIGHTS, INPUTS = 0, 1, 2
PRODUCTS, PARTS = 3, 2


def record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


# A linear layer.
LINEAR = record(
    "kernel", "inputs", "outputs",
    "source", "target",  # where inputs and outputs begin, in vectors
    "weights", "biases",  # into the parameters; -1: no bias
    # Of a dense layer: where its products begin, and room for its inputs' gradients, in vectors.
    "products", "scratch",
    # Into the index. Kept weights row by row, in blocks of columns: where the rows of each block
    # begin, and the weights' columns. The work is where the rows begin over all blocks.
    "row_blocks", "row_work", "row_starts", "columns",
    # The same weights column by column: their rows, and where each one lies.
    "column_blocks", "column_work", "column_starts", "rows", "positions",
)  # fmt: skip

# A convolution. Places of maps are those of their first pixel in a group's memory; -1: none.
CONVOLUTION = record(
    "activation",  # the one that makes the source; -1: the images
    "first",  # whether this is the first layer that reads the source: it has to make it
    "source", "channel_step", "row_step", "target", "outputs", "side", "stride", "weights",
    # A tile of inputs, a border around it: rows of results, rows and pixels in a row of inputs.
    "tile_rows", "buffer_rows", "buffer_line",
    "rows_at_once",  # of one channel, before another channel
    # Into the index. Channels of the source that are read, and their places; rows of kept weights.
    "filled", "filled_count", "slots", "row_starts", "shifts",
    # The same for a tile of gradients: result channels that are needed; columns of kept weights.
    "back_tile_rows", "back_buffer_rows", "back_buffer_line", "results", "result_count",
    "columns", "column_count", "channels", "present", "column_starts",
    "back_shifts", "positions", "position_count",
    "norm", "feeds",  # what normalises the result, and the activation that this goes into
    "gradient",  # of that activation
    "gradient_so_far", "source_gradient",  # of the source: what there is, and where the sum goes
)  # fmt: skip

# relu(norm(source) + rest). It is `kept` where it is needed more than once, else made anew.
ACTIVATION = record(
    "source", "norm", "other", "other_norm", "kept", "channels", "side",
    "start",  # of its channels among those of all activations
    "read", "read_count", "reached", "reached_count", "gradient",
)  # fmt: skip

# A batch normalisation; `start` of its channels among those of all of them.
NORM = np.dtype([
    *[(name, np.int64) for name in ("channels", "start", "gamma", "beta")],
    ("momentum", np.float64), ("epsilon", np.float64),
])  # fmt: skip


def table(count: int, record: np.dtype) -> list[Any]:
    """Return so many empty records, whose fields are attributes."""
    return [SimpleNamespace(**dict.fromkeys(record.names or (), 0)) for _ in range(count)]


def plain(records: Sequence[Any], record: np.dtype) -> NDArray:
    """Return the same records for the kernels. Numbers are collected as attributes, because to
    write them one by one into numpy's records takes many times as long."""
    return np.array([tuple(vars(one).values()) for one in records], record)


@dataclass(frozen=True)
class Plan:
    """Where a network's numbers lie, for given masks.

    Attributes:
        packing: of the parameters.
        index: the integers that the tables point to.
        linears, convolutions, activations, norms: the tables.
        features: where the blocks of features begin that a perceptron reads.
        vectors: how many the units, or the maps, and their gradients take.
        tile_vectors: how many a thread needs for a tile of inputs or gradients.
        products: of the kept weights of one convolution, the most.
    """

    packing: Packing
    index: NDArray[np.int32]
    linears: NDArray
    convolutions: NDArray = field(default_factory=lambda: np.zeros(0, CONVOLUTION))
    activations: NDArray = field(default_factory=lambda: np.zeros(0, ACTIVATION))
    norms: NDArray = field(default_factory=lambda: np.zeros(0, NORM))
    features: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    vectors: int = 0
    tile_vectors: int = 0
    products: int = 0
