"""The parts of a convolutional network, and where the kernels find all of its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.plan import LAYER as LINEAR
from sdd_core.sparse.plan import Index, list_weights

# Rows of a result that are worked on at once, with a stride of 1; their inputs stay in the cache.
STRIP = 8

# Kept weights of a layer from which they are not gone through anew for each row of a strip: what
# belongs to them would not stay in the cache.
MANY = 60_000


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


def _record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


# A convolution. Places of maps are those of their first pixel in a group's memory; -1: none.
LAYER = _record(
    "activation",  # the one that makes the source; -1: the images
    "first",  # whether this is the first layer that reads the source: it has to make it
    "source", "channel_step", "row_step", "target", "outputs", "side", "stride", "weights",
    # A strip of inputs, a border around it: results at once, its lines, and pixels in a line.
    "rows", "lines", "line",
    "together",  # rows of one channel that come before another channel
    # Into the index. Channels of the source that are read, and their places; rows of kept weights.
    "filled", "filled_count", "slots", "row_starts", "shifts",
    # The same for a strip of gradients: result channels that are needed; columns of kept weights.
    "back_rows", "back_lines", "back_line", "results", "result_count",
    "columns", "column_count", "channels", "present", "column_starts",
    "back_shifts", "positions", "position_count",
    "norm", "made",  # what normalises the result, and the activation that this goes into
    "gradient",  # of that activation
    "given", "before",  # the source's gradients: what there is, and where the sum goes
)  # fmt: skip

# relu(norm(source) + rest). It is `kept` where it is needed more than once, else made anew.
ACTIVATION = _record(
    "source", "norm", "other", "other_norm", "kept", "channels", "side", "start",
    "read", "read_count", "reached", "reached_count", "gradient",
)  # fmt: skip

NORM = np.dtype([
    *[(name, np.int64) for name in ("channels", "start", "gamma", "beta")],
    ("momentum", np.float64), ("epsilon", np.float64),
])  # fmt: skip


class Layout:
    """Where everything is, for given masks.

    A group's memory has the images, the results of the convolutions, the activations that are
    kept, one vector for each mean, logit and its gradient, and gradients of activations, whose
    place is used again when they are done with. `pixels` is how many vectors that makes, `strip`
    how many a thread needs for a strip of inputs or gradients.

    Args:
        starts: where each parameter's kept entries begin in the flat array.
    """

    def __init__(
        self,
        operations: Sequence[Convolution | Normalisation],
        sizes: Sequence[tuple[int, int]],
        masks: Sequence[NDArray[np.bool_]],
        norms: Sequence[NormState],
        starts: Sequence[int] | NDArray[np.intp],
    ) -> None:
        self._operations = operations
        self._sizes = sizes
        self._masks = masks
        self._starts = starts
        self._convolutions = [part for part in operations if isinstance(part, Convolution)]
        self._activations = [part for part in operations if isinstance(part, Normalisation)]
        self._read, self._reached = reach(operations, sizes, masks)
        self._index = Index()
        self.pixels = self.strip = self.products = 0
        self.layers: Any = np.zeros(len(self._convolutions), LAYER).view(np.recarray)
        self.activations: Any = np.zeros(len(self._activations), ACTIVATION).view(np.recarray)
        self.norms = self._place_norms(norms)
        self._places = self._place_maps()
        self._describe_activations()
        self.head = self._place_head()
        self._describe_layers()
        self._place_gradients()
        self.index = self._index.flat()

    def _place_norms(self, states: Sequence[NormState]) -> Any:
        records: Any = np.zeros(len(states), NORM).view(np.recarray)
        start = 0
        for number, (record, state) in enumerate(zip(records, states, strict=True)):
            parameter = len(self._convolutions) + 2 * number
            record.gamma, record.beta = self._starts[parameter], self._starts[parameter + 1]
            record.channels, record.start = len(state.mean), start
            record.momentum, record.epsilon = state.momentum, state.epsilon
            start += len(state.mean)
        return records

    def _take(self, pixels: int) -> int:
        self.pixels += pixels
        return self.pixels - pixels

    def _place_maps(self) -> list[int]:
        """The images, all results, and the activations that are read more than once."""
        places = [-1] * len(self._sizes)
        results = {0, *(part.target for part in self._convolutions)}
        summed = {part.other for part in self._activations}
        for number, (channels, size) in enumerate(self._sizes):
            readers = sum(part.source == number for part in self._convolutions)
            made = [part for part in self._activations if part.target == number]
            needed = readers > 1 or number in summed or any(part.other is not None for part in made)
            if number in results or (readers and needed):
                places[number] = self._take(channels * size * size)
        return places

    def _describe_activations(self) -> None:
        start = 0
        for record, part in zip(self.activations, self._activations, strict=True):
            channels, size = self._sizes[part.target]
            record.source, record.norm = self._places[part.source], part.norm
            record.other = -1 if part.other is None else self._places[part.other]
            record.other_norm = -1 if part.other_norm is None else part.other_norm
            record.kept = self._places[part.target]
            record.channels, record.side, record.start = channels, size, start
            record.read, record.read_count = self._list(self._read[part.target])
            record.reached, record.reached_count = self._list(self._reached[part.target])
            start += channels

    def _list(self, chosen: NDArray[np.bool_]) -> tuple[int, int]:
        numbers = np.flatnonzero(chosen)
        return self._index.append(numbers), len(numbers)

    def _place_head(self) -> Any:
        head: Any = np.zeros(1, LINEAR).view(np.recarray)
        mask = self._masks[-2]
        head[0].outputs, head[0].inputs = mask.shape
        head[0].source = self._take(mask.shape[1])
        head[0].target = self._take(mask.shape[0] + 2)  # two for `cross_entropy`
        head[0].weights, head[0].biases = self._starts[-3], self._starts[-2]
        head[0].row_blocks = head[0].column_blocks = 1
        rows, columns = np.nonzero(mask)
        list_weights(head[0], rows, columns, self._index)
        return head

    def _describe_layers(self) -> None:
        makers = {part.target: number for number, part in enumerate(self._activations)}
        users = {
            source: (number, norm)
            for number, part in enumerate(self._activations)
            for source, norm in part.normed()
        }
        seen: set[int] = set()
        for layer, part in zip(self.layers, self._convolutions, strict=True):
            layer.activation = makers.get(part.source, -1)
            layer.first = part.source not in seen
            seen.add(part.source)
            kept = self._places[part.source]
            if kept < 0:  # the activation is made anew from what it normalises
                kept = self.activations[layer.activation].source
            layer.source, layer.target = kept, self._places[part.target]
            channels, size = self._sizes[part.source]
            layer.channel_step, layer.row_step = size, channels * size
            if part.source == 0:
                layer.channel_step, layer.row_step = size * size, size
            layer.outputs, layer.side = self._sizes[part.target]
            layer.stride, layer.weights = part.stride, self._starts[part.layer]
            layer.made, layer.norm = users[part.target]
            self._list_taps(layer, part)

    def _list_taps(self, layer: Any, part: Convolution) -> None:
        """Kept weights as shifts: of the place in a strip of inputs, and in one of gradients."""
        mask, stride, size = self._masks[part.layer], part.stride, layer.side
        rows, columns, down, right = np.nonzero(mask)
        down, right = down - mask.shape[2] // 2, right - mask.shape[3] // 2

        layer.rows, layer.back_rows = min(size, STRIP // stride), min(size, STRIP)
        layer.prune_ties = layer.back_rows if len(rows) > MANY else 1
        layer.lines, layer.line = stride * (layer.rows - 1) + 3, stride * size + 2
        layer.back_lines, layer.back_line = layer.back_rows + 2, size + 2
        area = layer.lines * layer.line
        across = right + 1 if stride == 1 else np.where(right == 0, layer.line // 2, right > 0)
        reads = np.any(mask, axis=(0, 2, 3))
        layer.filled, layer.filled_count = self._list(reads)
        slots = np.where(reads, np.cumsum(reads) - 1, -1)
        layer.slots, slots = self._index.append(slots), slots[columns]
        layer.row_starts = self._index.append(_starts(rows, layer.outputs))
        layer.shifts = self._index.append(slots * area + (down + 1) * layer.line + across)
        self.strip = max(self.strip, layer.filled_count * area)

        # Pixels of the source fall into stride * stride phases, each with weights of its own.
        wanted = self._reached[part.target] & np.any(mask, axis=(1, 2, 3))
        layer.results, layer.result_count = self._list(wanted)
        phase = down % stride * stride + right % stride
        by_column = np.lexsort((rows, phase, columns))
        by_column = by_column[wanted[rows[by_column]]]
        area = layer.back_lines * layer.back_line
        down, right = (down % stride - down) // stride, (right % stride - right) // stride
        slots = (np.cumsum(wanted) - 1)[rows]
        shifts = slots * area + down * layer.back_line + right
        inputs = mask.shape[1] * stride * stride
        counts = _starts((columns * stride * stride + phase)[by_column], inputs)
        layer.back_shifts = self._index.append(shifts[by_column])
        layer.positions = self._index.append(by_column)
        layer.column_starts, layer.position_count = self._index.append(counts), len(by_column)
        self.products = max(self.products, len(by_column))
        self.strip = max(self.strip, layer.result_count * area)

    def _place_gradients(self) -> None:
        """In the order of the backward pass: which gradients are there when, and where."""
        free: dict[int, list[int]] = {}
        gradients: dict[int, int] = {}
        present = [np.zeros(channels, bool) for channels, _ in self._sizes]
        makers: dict[int, int] = {}  # convolutions that still need an activation's gradient
        lenders: dict[int, int] = {}  # of activations whose gradient is that of another so far

        def place(number: int) -> int:
            if number not in gradients:
                channels, size = self._sizes[number]
                stock = free.get(channels * size * size)
                gradients[number] = stock.pop() if stock else self._take(channels * size * size)
            return gradients[number]

        parts: list[Any] = [*self._activations, *self._convolutions]
        found = [*self.activations, *self.layers]
        records = {part.target: record for part, record in zip(parts, found, strict=True)}
        for part in reversed(self._operations):
            source, target = part.source, part.target
            if isinstance(part, Normalisation):
                records[target].gradient = place(target)
                makers[target] = len(part.normed())
                if part.other is not None and part.other_norm is None:
                    # A residual sum hands its gradient on as it is.
                    gradients[part.other] = gradients[target]
                    present[part.other] |= self._reached[target]
                    lenders[part.other] = target
                continue
            layer = records[target]
            made = self._activations[layer.made].target
            layer.gradient = gradients[made]
            layer.given = layer.before = place(source) if source else -1
            # What is lent must not be added to while others, or this one, have to read it.
            moves = source in lenders and makers[lenders[source]] > 0
            if moves:
                del gradients[source], lenders[source]
                layer.before = place(source)
            self._list_columns(layer, part, present[source], moves)
            makers[made] -= 1
            if makers[made] == 0:
                kept = [number for number, lender in lenders.items() if lender == made]
                for number in kept:
                    del lenders[number]
                if not kept:
                    channels, size = self._sizes[made]
                    free.setdefault(channels * size * size, []).append(gradients[made])

    def _list_columns(
        self, layer: Any, part: Convolution, present: NDArray[np.bool_], moves: bool
    ) -> None:
        """The phases of source channels that get something; notes that they have it then."""
        phases = part.stride * part.stride
        mask = self._masks[part.layer]
        touched = mask[self._reached[part.target]].any(axis=(0, 2, 3))
        # The first reader is the last here: it completes all channels, also the untouched ones.
        chosen = self._reached[part.source] if layer.first and part.source else touched
        chosen = chosen | present if moves else chosen
        channels = np.repeat(np.flatnonzero(chosen), phases)
        phase = np.tile(np.arange(phases), len(channels) // phases)
        layer.columns = self._index.append(channels * phases + phase)
        layer.channels = self._index.append(channels)
        layer.present = self._index.append(present[channels])
        layer.column_count = len(channels)
        present |= touched


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
