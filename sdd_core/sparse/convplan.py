"""The parts of a convolutional network, and where its kept weights find their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Convolution:
    """Square, without bias, padded by half its size; `layer` numbers the weights."""

    source: int
    target: int
    layer: int
    stride: int


@dataclass(frozen=True)
class Normalisation:
    """target = relu(norm(source) + rest); the rest is nothing, a map, or another norm of one."""

    target: int
    source: int
    norm: int
    other: int | None = None
    other_norm: int | None = None

    def normed(self) -> list[tuple[int, int]]:
        """The maps that are normalised, and by which norm."""
        first = (self.source, self.norm)
        if self.other is None or self.other_norm is None:
            return [first]
        return [first, (self.other, self.other_norm)]


@dataclass
class NormState:
    """A batch normalisation's running statistics [channels] and constants, as in torch."""

    mean: NDArray
    variance: NDArray
    momentum: float
    epsilon: float


class Taps:
    """A convolution's kept weights as compressed rows and columns of shifts.

    With a stride of 2 the source is split into four maps a channel, even and odd rows and
    columns, and the convolution runs over these with a stride of 1.
    """

    def __init__(
        self, mask: NDArray[np.bool_], size: int, stride: int, reached: NDArray[np.bool_]
    ) -> None:
        outputs, inputs, kernel, _ = mask.shape
        plane, line = (size + 2) ** 2, size + 2
        rows, columns, down, right = np.nonzero(mask)
        down, right = down - kernel // 2, right - kernel // 2
        if stride == 2:
            columns = 4 * columns + 2 * (down & 1) + (right & 1)
            down, right, inputs = down >> 1, right >> 1, 4 * inputs
        shift = down * line + right
        self.row_starts = _starts(rows, outputs)
        self.forward = (columns * plane + shift).astype(np.int32)
        by_column = np.lexsort((rows, columns))
        by_column = by_column[np.take(reached, np.take(rows, by_column))]
        self.column_starts = _starts(columns[by_column], inputs)
        self.backward = (rows * plane - shift)[by_column].astype(np.int32)
        self.positions = by_column.astype(np.int32)


def reach(
    operations: Sequence[Convolution | Normalisation],
    sizes: Sequence[tuple[int, int]],
    masks: Sequence[NDArray[np.bool_]],
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
    """The channels of each map that are read, and those that a gradient reaches."""
    read = [np.zeros(channels, bool) for channels, _ in sizes]
    reached = [np.zeros(channels, bool) for channels, _ in sizes]
    last = operations[-1].target
    read[last][:] = reached[last][:] = True
    for operation in reversed(operations):
        source, target = operation.source, operation.target
        if isinstance(operation, Convolution):
            taps = np.any(masks[operation.layer], axis=(2, 3))
            read[source] |= taps.any(axis=0)
            reached[source] |= taps[reached[target]].any(axis=0)
            continue
        reached[source] |= reached[target]
        if operation.other is not None:
            reached[operation.other] |= reached[target]
            read[operation.other] |= read[target]
    return read, reached


def _starts(numbers: NDArray, count: int) -> NDArray[np.int32]:
    return np.append(0, np.cumsum(np.bincount(numbers, minlength=count))).astype(np.int32)
