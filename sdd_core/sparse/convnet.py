"""A convolutional network whose training costs fall with its density."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse import convolution as compiled
from sdd_core.sparse.convolution import IMAGES
from sdd_core.sparse.convplan import Convolution, Normalisation, NormState, Taps, reach
from sdd_core.sparse.kernels import descend
from sdd_core.sparse.mlp import Evaluation, aligned
from sdd_core.sparse.vector import Tile

PIXEL = Tile(IMAGES)


@dataclass
class _Batch:
    """What the backward pass needs of the forward pass."""

    examples: int
    groups: int
    maps: list[NDArray]
    present: NDArray  # [groups, 8 pixels x 16 images]: 1 where there is an image
    means: NDArray = field(default_factory=lambda: np.empty(0))
    sums: dict[int, NDArray] = field(default_factory=dict)
    moments: dict[int, tuple[NDArray, NDArray]] = field(default_factory=dict)
    divided: set[int] = field(default_factory=set)
    gradients: dict[int | tuple[int], NDArray] = field(default_factory=dict)


class SparseConvNet:
    """Convolutions, batch normalisations and residual sums, then mean, Linear, cross-entropy.

    Map 0 holds the images; each operation makes one more map. The last one is averaged over its
    pixels and goes into the linear layer.

    Args:
        operations: in the order of the forward pass.
        sizes: channels and width (= height) of each map; widths are multiples of 4.
        parameters: weights [outputs, inputs, k, k] of each convolution, then gamma and beta of
            each normalisation, then the linear layer's weight and bias.
        masks: for each parameter, True where it is kept (None: all).
        norms: the normalisations' running statistics, changed in place by training.
        momenta: buffers to go on from, shaped as the parameters (None: zeros).
        threads: 1 or 2; the results are the same bit for bit.

    Attributes:
        steps: taken since the network was made, or since `save_convolution` wrote it to a model.
    """

    def __init__(
        self,
        operations: Sequence[Convolution | Normalisation],
        sizes: Sequence[tuple[int, int]],
        parameters: Sequence[NDArray],
        masks: Sequence[NDArray[np.bool_] | None],
        norms: Sequence[NormState],
        *,
        momentum: float,
        weight_decay: float,
        momenta: Sequence[NDArray] | None = None,
        threads: int = 1,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._operations = operations
        self._sizes = sizes
        self.norms = norms
        self._dtype = parameters[0].dtype.type
        self._masks = [
            np.ones(parameter.shape, bool) if mask is None else mask
            for parameter, mask in zip(parameters, masks, strict=True)
        ]
        counts = [int(mask.sum()) for mask in self._masks]
        self._starts = np.append(0, np.cumsum(counts))
        self._parameters = self._pack(parameters)
        self._momenta = np.zeros_like(self._parameters) if momenta is None else self._pack(momenta)
        # One for each half of a batch.
        self._gradients = np.zeros((2, self._parameters.size), self._dtype)
        self.steps = 0
        self._kept = np.ones(self._parameters.size, bool)
        self._momentum, self._weight_decay = self._dtype(momentum), self._dtype(weight_decay)
        self._read, self._reached = reach(operations, sizes, self._masks)
        self._taps = {
            operation.layer: Taps(
                self._masks[operation.layer],
                sizes[operation.target][1],
                operation.stride,
                self._reached[operation.target],
            )
            for operation in operations
            if isinstance(operation, Convolution)
        }
        self._live = {
            operation.target: self._masks[operation.layer].any(axis=(1, 2, 3))
            for operation in operations
            if isinstance(operation, Convolution)
        }
        self._maps: dict[int | tuple[int], NDArray] = {}
        self._free: dict[int, list[NDArray]] = {}

    @np.errstate(over="ignore", invalid="ignore")  # the loss says it when training diverges
    def train_epoch(
        self,
        images: NDArray,
        labels: NDArray[np.int64],
        order: NDArray[np.int64],
        batch_size: int,
        learning_rates: NDArray | Sequence[float],
    ) -> float:
        """As `SparseMLP.train_epoch`, with images [examples, channels, height, width]."""
        total = 0.0
        rates = np.asarray(learning_rates, self._dtype)
        for step, start in enumerate(range(0, len(order), batch_size)):
            examples = order[start : start + batch_size]
            batch = self._forward(images, examples, training=True)
            logits = self._head(batch.means)
            loss, gradient = _cross_entropy(logits, labels[examples])
            total += loss.sum()
            self._backward(batch, gradient / len(examples))
            self._gradients[0] += self._gradients[1]
            self._gradients[1] = 0
            descend(
                self._parameters, self._momenta, self._gradients[0], self._kept,
                rates[step], self._momentum, self._weight_decay,
            )  # fmt: skip
            self.steps += 1
        return total / len(order)

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self, images: NDArray, labels: NDArray[np.int64]) -> Evaluation:
        """Loss, accuracy and logits, normalised by the running statistics."""
        batches = np.array_split(np.arange(len(images)), -(-len(images) // 128))
        logits = np.concatenate(
            [self._head(self._forward(images, part, training=False).means) for part in batches]
        )
        loss, _ = _cross_entropy(logits, labels)
        hits = logits.argmax(axis=1) == labels
        return Evaluation(float(loss.mean()), float(hits.mean()), logits)

    def parameters(self) -> list[NDArray]:
        """The parameters as given; pruned ones are 0."""
        return self._unpack(self._parameters)

    def momenta(self) -> list[NDArray]:
        """Their momentum buffers."""
        return self._unpack(self._momenta)

    def _pack(self, arrays: Sequence[NDArray]) -> NDArray:
        kept = [array[mask] for array, mask in zip(arrays, self._masks, strict=True)]
        return np.concatenate(kept).astype(self._dtype)

    def _unpack(self, flat: NDArray) -> list[NDArray]:
        arrays = []
        for i, mask in enumerate(self._masks):
            arrays.append(np.zeros(mask.shape, self._dtype))
            arrays[-1][mask] = flat[self._starts[i] : self._starts[i + 1]]
        return arrays

    def _part(self, flat: NDArray, i: int) -> NDArray:
        """Parameter number i (its kept entries), or its gradient; negative ones from the end."""
        i %= len(self._masks)
        return flat[self._starts[i] : self._starts[i + 1]]

    def _norm(self, flat: NDArray, norm: int) -> tuple[NDArray, NDArray]:
        i = len(self._taps) + 2 * norm
        return self._part(flat, i), self._part(flat, i + 1)

    def _head_weight(self) -> NDArray:
        weight = np.zeros(self._masks[-2].shape, self._dtype)
        weight[self._masks[-2]] = self._part(self._parameters, -2)
        return weight

    def _head(self, means: NDArray) -> NDArray:
        return means @ self._head_weight().T + self._part(self._parameters, -1)

    def _map(self, key: int | tuple[int], groups: int, channels: int, size: int) -> NDArray:
        """The map's buffer, whose border stays zero."""
        if key not in self._maps or len(self._maps[key]) < groups:
            self._maps[key] = self._new(groups, channels * (size + 2) ** 2)
        return self._maps[key][:groups]

    def _new(self, groups: int, pixels: int) -> NDArray:
        return aligned(groups * pixels * IMAGES, self._dtype).reshape(groups, -1)

    def _source(self, operation: Convolution, batch: _Batch) -> NDArray:
        """The maps that a convolution runs over."""
        if operation.stride == 1:
            return batch.maps[operation.source]
        channels, size = self._sizes[operation.source]
        return self._map((operation.source,), batch.groups, 4 * channels, size // 2)

    def _forward(self, images: NDArray, examples: NDArray[np.int64], *, training: bool) -> _Batch:
        groups = -(-len(examples) // IMAGES)
        maps = [self._map(i, groups, *size) for i, size in enumerate(self._sizes)]
        present = np.arange(groups * IMAGES).reshape(groups, IMAGES) < len(examples)
        batch = _Batch(len(examples), groups, maps, np.tile(present, 8).astype(self._dtype))
        size = self._sizes[0][1]
        self._both(
            lambda half: compiled.spread(images, examples, maps[0][half], half.start, size), batch
        )
        for operation in self._operations:
            if isinstance(operation, Convolution):
                self._convolve(operation, batch)
            else:
                self._normalise(operation, batch, training=training)
        last = self._operations[-1].target
        channels, size = self._sizes[last]
        means = np.zeros((groups, IMAGES, channels), self._dtype)
        self._both(lambda half: compiled.pool(maps[last][half], means[half], size), batch)
        batch.means = means.reshape(-1, channels)[: len(examples)]
        return batch

    def _both(self, work: Callable[[slice], None], batch: _Batch) -> None:
        """Do this for both halves of a batch's groups."""
        self._each(work, (slice(0, batch.groups // 2), slice(batch.groups // 2, batch.groups)))

    def _each(self, work: Callable[[Any], None], parts: Sequence[Any]) -> None:
        first, second = parts
        if self._pool is None:
            work(first)
            work(second)
            return
        other = self._pool.submit(work, second)
        work(first)  # here and not in a second thread, which would have to be woken first
        other.result()

    def _convolve(self, operation: Convolution, batch: _Batch) -> None:
        channels, size = self._sizes[operation.target]
        source = self._source(operation, batch)
        if operation.stride == 2 and operation.source not in batch.divided:
            batch.divided.add(operation.source)
            whole, read = batch.maps[operation.source], self._read[operation.source]
            self._both(
                lambda half: compiled.split(whole[half], source[half], read, size, False, PIXEL),
                batch,
            )
        taps = self._taps[operation.layer]
        target, weights = (
            batch.maps[operation.target],
            self._part(self._parameters, operation.layer),
        )
        sums = np.zeros((2, 2, channels))

        def work(half: slice) -> None:
            compiled.convolve(
                weights, taps.row_starts, taps.forward, source[half], target[half],
                sums[min(half.start, 1)], size, _tile(size),
            )  # fmt: skip

        self._both(work, batch)
        batch.sums[operation.target] = sums.sum(axis=0)

    def _normalise(self, operation: Normalisation, batch: _Batch, *, training: bool) -> None:
        channels, size = self._sizes[operation.target]
        target = batch.maps[operation.target]
        shift, scales = np.zeros(channels), []
        for source, norm in operation.normed():
            if training:
                count = batch.examples * size * size
                batch.moments[norm] = self._measure(norm, batch.sums[source], count)
            else:
                state = self.norms[norm]
                batch.moments[norm] = state.mean, 1 / np.sqrt(state.variance + state.epsilon)
            mean, inverse = batch.moments[norm]
            gamma, beta = self._norm(self._parameters, norm)
            scales.append(gamma * inverse)
            shift += beta - mean * scales[-1]
        inputs = batch.maps[operation.source]
        other = target[:0] if operation.other is None else batch.maps[operation.other]
        factor = scales[1] if len(scales) > 1 else np.ones(channels)
        factors = [values.astype(self._dtype) for values in (scales[0], shift, factor)]

        def work(half: slice) -> None:
            compiled.normalise(
                inputs[half], *factors[:2], other[half], factors[2], target[half],
                self._read[operation.target], batch.present[half], size, _tile(size),
            )  # fmt: skip

        self._both(work, batch)

    def _measure(self, norm: int, sums: NDArray, count: int) -> tuple[NDArray, NDArray]:
        """Mean and inverse deviation of a batch; takes them into the running statistics."""
        state = self.norms[norm]
        mean = sums[0] / count
        variance = np.maximum(sums[1] / count - mean**2, 0)
        state.mean += state.momentum * (mean - state.mean)
        state.variance += state.momentum * (variance * count / (count - 1) - state.variance)
        return mean, 1 / np.sqrt(variance + state.epsilon)

    def _backward(self, batch: _Batch, gradient: NDArray) -> None:
        """All parameters' gradients, given that of the logits."""
        self._part(self._gradients[0], -2)[:] = (gradient.T @ batch.means)[self._masks[-2]]
        self._part(self._gradients[0], -1)[:] = gradient.sum(axis=0)
        last = self._operations[-1].target
        source, buffer = batch.maps[last], self._borrow(batch.maps[last])
        batch.gradients[last] = buffer
        channels, size = self._sizes[last]
        pooled = np.zeros((batch.groups * IMAGES, channels), self._dtype)
        pooled[: batch.examples] = gradient @ self._head_weight()
        pooled = pooled.reshape(batch.groups, IMAGES, channels)
        self._both(
            lambda half: compiled.pool_backward(source[half], pooled[half], buffer[half], size),
            batch,
        )
        for operation in reversed(self._operations):
            if isinstance(operation, Convolution):
                self._convolve_backward(operation, batch)
            else:
                self._normalise_backward(operation, batch)

    def _convolve_backward(self, operation: Convolution, batch: _Batch) -> None:
        source = self._source(operation, batch)
        key = operation.source if operation.stride == 1 else (operation.source,)
        more = key in batch.gradients
        if operation.source == 0:
            before = source[:0]
        elif more:
            before = batch.gradients[key]
        else:
            before = batch.gradients[key] = self._borrow(source)
        taps = self._taps[operation.layer]
        reached = np.repeat(self._reached[operation.source], operation.stride**2)
        size = self._sizes[operation.target][1]
        target, weights = (
            batch.maps[operation.target],
            self._part(self._parameters, operation.layer),
        )

        def work(half: slice) -> None:
            compiled.convolve_backward(
                weights, self._part(self._gradients[min(half.start, 1)], operation.layer),
                taps.column_starts, taps.backward, taps.positions, source[half], target[half],
                before[half], more, reached, size, _tile(size),
            )  # fmt: skip

        self._both(work, batch)

    def _normalise_backward(self, operation: Normalisation, batch: _Batch) -> None:
        channels, size = self._sizes[operation.target]
        reached = self._reached[operation.target]
        parts = batch.gradients.pop((operation.target,), None)
        if parts is None:
            gradient = batch.gradients.pop(operation.target)
        else:
            gradient = self._borrow(batch.maps[operation.target])
            half_size = size // 2
            self._both(
                lambda half: compiled.split(
                    gradient[half], parts[half], reached, half_size, True, PIXEL
                ),
                batch,
            )
            self._give_back(parts)
        for source, norm in operation.normed():
            mean, inverse = batch.moments[norm]
            gamma, _ = self._norm(self._parameters, norm)
            sums = np.zeros((2, channels))
            arguments = (
                gradient, batch.maps[source], mean.astype(self._dtype), inverse, gamma,
                self._live[source], reached, batch.examples * size * size, sums,
                batch.present, size, _tile(size),
            )  # fmt: skip
            every = np.flatnonzero(reached)
            self._each(
                functools.partial(_apply, compiled.normalise_backward, arguments),
                np.array_split(every, 2),
            )
            for total, part in zip(sums[::-1], self._norm(self._gradients[0], norm), strict=True):
                part[:] = total
        if operation.other is None or operation.other_norm is not None:
            self._give_back(gradient)
            return
        # Handed on as it is; the channels that it did not reach hold anything.
        fresh = self._reached[operation.other] & ~reached
        gradient.reshape(batch.groups, channels, -1)[:, fresh] = 0
        batch.gradients[operation.other] = gradient

    def _borrow(self, like: NDArray) -> NDArray:
        """A buffer of this shape for a gradient; its border may hold anything."""
        stock = self._free.setdefault(like.size, [])
        buffer = stock.pop() if stock else aligned(like.size, self._dtype)
        return buffer.reshape(like.shape)

    def _give_back(self, buffer: NDArray) -> None:
        self._free[buffer.size].append(buffer.reshape(-1))


def _apply(function: Callable[..., None], rest: tuple, first: Any) -> None:
    function(first, *rest)


def _tile(size: int) -> Tile:
    return Tile(IMAGES * (8 if size % 8 == 0 else 4), IMAGES)


def _cross_entropy(logits: NDArray, labels: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    """Each example's loss, and the gradient of their sum."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    shares = np.exp(shifted)
    totals = shares.sum(axis=1, keepdims=True)
    examples = np.arange(len(labels))
    loss = np.log(totals[:, 0]) - shifted[examples, labels]
    gradient = shares / totals
    gradient[examples, labels] -= 1
    return loss, gradient.astype(logits.dtype)
