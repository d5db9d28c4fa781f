"""A multilayer perceptron whose training costs fall with its density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdd_core.errors import SddError
from sdd_core.sparse import kernels as compiled
from sdd_core.sparse.plan import Plan
from sdd_core.sparse.team import Crew, Part, Team
from sdd_core.sparse.vector import Tile
from sdd_core.training.costs import KernelCosts


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy (nats), accuracy (0 to 1) and logits [examples, classes]."""

    loss: float
    accuracy: float
    logits: NDArray


class SparseMLP:
    """Linear, ReLU, ..., Linear under mean cross-entropy and SGD, with masked weights.

    Does what `torch.optim.SGD(momentum=..., weight_decay=...)` does to the same network when
    the masks are applied to weights and gradients, biases and disconnected weights included, up
    to the rounding of the number type. The weights of runs with the same inputs and kernels on
    one machine agree bit for bit, as do those of a run that was split between any two steps.

    Args:
        weights: for each layer [outputs, inputs], all float32 or all float64.
        biases: for each layer [outputs], or None.
        masks: for each layer [outputs, inputs], True where a weight is kept.
        momentum, weight_decay: as in torch.optim.SGD (no dampening, no Nesterov).
        weight_momenta, bias_momenta: momentum buffers to go on from, shaped as the parameters
            (None: zeros, what torch starts from).
        kernels: `"sparse"` or `"dense"` for each layer (None: as `KernelCosts` chooses).
        threads: how many work on a step together; the results are the same bit for bit.

    Raises:
        SddError: if shapes or number types do not fit together.
    """

    def __init__(
        self,
        weights: Sequence[NDArray],
        biases: Sequence[NDArray | None],
        masks: Sequence[NDArray[np.bool_]],
        *,
        momentum: float,
        weight_decay: float,
        weight_momenta: Sequence[NDArray] | None = None,
        bias_momenta: Sequence[NDArray | None] | None = None,
        kernels: Sequence[str] | None = None,
        threads: int = 1,
    ) -> None:
        _check(weights, biases, masks)
        self.kernels = tuple(kernels) if kernels is not None else KernelCosts().choose(masks)
        self._dtype = weights[0].dtype.type
        self._momentum = self._dtype(momentum)
        self._weight_decay = self._dtype(weight_decay)
        self._features = masks[0].shape[1]
        self._classes = masks[-1].shape[0]
        self._plan = Plan(masks, [bias is not None for bias in biases], self.kernels)
        self._parameters = self._plan.pack(weights, biases)
        self._momenta = np.zeros_like(self._parameters)
        if weight_momenta is not None:
            self._momenta = self._plan.pack(weight_momenta, bias_momenta or [None] * len(masks))
        self._gradients = np.zeros_like(self._parameters)
        self._units: dict[tuple[Tile, int], NDArray] = {}
        self._crew = Crew(threads)

    def train_epoch(
        self,
        images: NDArray,
        labels: NDArray[np.int64],
        order: NDArray[np.int64],
        batch_size: int,
        learning_rates: NDArray | Sequence[float],
    ) -> float:
        """Take one step for each batch of `order`; the last batch may be smaller.

        Args:
            images: [examples, features] of the network's number type, C-contiguous.
            labels: [examples], classes 0, 1, ...
            order: the examples' numbers in the order of training: an epoch or a part of one.
            learning_rates: one for each batch.

        Returns:
            The mean loss of the examples, each under the weights that met it.
        """
        self._check_data(images, labels)
        steps = -(-len(order) // batch_size)
        if steps == 0 or len(learning_rates) != steps:
            raise SddError(
                f"training takes one learning rate for each of {steps} batches"
                f" ({len(order)} examples, {batch_size} a batch), got {len(learning_rates)}"
            )
        if not compiled.within(order, len(images)):
            raise SddError(f"order names examples outside 0 to {len(images) - 1}")
        tile = _tile(batch_size)
        plan, units = self._plan, self._buffer(tile)
        rates = np.asarray(learning_rates, self._dtype)

        def take(team: Team, begin: int, end: int) -> float:
            examples, some = order[begin * batch_size : end * batch_size], rates[begin:end]
            return team.run(lambda part, meeting: compiled.train(
                plan.table, plan.index, plan.live, self._parameters, self._momenta,
                self._gradients, plan.kept, units, images, labels, examples, batch_size, some,
                self._momentum, self._weight_decay, part, meeting, tile,
            ))  # fmt: skip

        return self._crew.run(take, steps) / len(order)

    def evaluate(self, images: NDArray, labels: NDArray[np.int64]) -> Evaluation:
        """Loss, accuracy and logits on `images` [examples, features]."""
        self._check_data(images, labels)
        plan, tile = self._plan, _tile(128)
        logits = np.empty((len(images), self._classes), self._dtype)
        tiles = -(-len(images) // tile.width)
        losses, hits = np.empty(tiles), np.empty(tiles, np.int64)

        def work(part: Part, meeting: NDArray[np.int64]) -> float:
            compiled.evaluate(
                plan.table, plan.index, plan.live, self._parameters,
                self._buffer(tile, part[0]), images, labels, logits, losses, hits,
                part, meeting, tile,
            )  # fmt: skip
            return 0.0

        self._crew.whole.run(work)
        # One after the other: the sum must not depend on the number of threads.
        return Evaluation(sum(losses.tolist()) / len(images), hits.sum() / len(images), logits)

    def weights(self) -> list[NDArray]:
        """The weights, [outputs, inputs] for each layer; pruned ones are 0."""
        return self._plan.weights(self._parameters)

    def biases(self) -> list[NDArray | None]:
        """The biases, [outputs] or None for each layer."""
        return self._plan.biases(self._parameters)

    def weight_momenta(self) -> list[NDArray]:
        """The weights' momentum buffers, shaped as `weights`; pruned ones are 0."""
        return self._plan.weights(self._momenta)

    def bias_momenta(self) -> list[NDArray | None]:
        """The biases' momentum buffers, shaped as `biases`."""
        return self._plan.biases(self._momenta)

    def _buffer(self, tile: Tile, thread: int = 0) -> NDArray:
        if (tile, thread) not in self._units:
            self._units[tile, thread] = aligned(self._plan.units * tile.width, self._dtype)
        return self._units[tile, thread]

    def _check_data(self, images: NDArray, labels: NDArray) -> None:
        if (
            images.ndim != 2
            or images.shape[1] != self._features
            or images.dtype != self._dtype
            or not images.flags.c_contiguous
        ):
            raise SddError(
                f"images are {images.dtype} of shape {images.shape}, the network takes contiguous"
                f" {np.dtype(self._dtype)} of shape (examples, {self._features})"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.int64 or len(labels) == 0:
            raise SddError(
                f"labels are {labels.dtype} of shape {labels.shape}, {len(images)} images take"
                f" int64 of shape ({len(images)},), at least one"
            )
        if not compiled.within(labels, self._classes):
            raise SddError(
                f"labels lie in {labels.min()} to {labels.max()}, the network has classes 0 to"
                f" {self._classes - 1}"
            )


def _tile(batch_size: int) -> Tile:
    """The width that wastes least: idle lanes cost as much as busy ones, each tile some more."""
    return Tile(min((128, 64, 32), key=lambda width: -(-batch_size // width) * (width + 16)))


def aligned(size: int, dtype: type[np.floating]) -> NDArray:
    """Zeros that begin a cache line: vector loads across two lines take twice as long."""
    spare = 64 // np.dtype(dtype).itemsize
    array = np.zeros(size + spare, dtype)
    start = -array.ctypes.data % 64 // array.itemsize
    return array[start : start + size]


def _check(
    weights: Sequence[NDArray], biases: Sequence[NDArray | None], masks: Sequence[NDArray]
) -> None:
    if not len(weights) == len(biases) == len(masks) > 0:
        raise SddError(
            f"a network needs as many biases and masks as weights, got {len(weights)} weights,"
            f" {len(biases)} biases, {len(masks)} masks"
        )
    for i, (weight, bias, mask) in enumerate(zip(weights, biases, masks, strict=True)):
        if weight.dtype not in (np.float32, np.float64) or weight.dtype != weights[0].dtype:
            raise SddError(f"layer {i}: weights are {weight.dtype}, need all float32 or float64")
        if mask.shape != weight.shape or mask.dtype != np.bool_ or mask.ndim != 2:
            raise SddError(
                f"layer {i}: the mask is {mask.dtype} of shape {mask.shape}, the weights need"
                f" bool of shape {weight.shape}"
            )
        if bias is not None and bias.shape != weight.shape[:1]:
            raise SddError(
                f"layer {i}: the bias has shape {bias.shape}, needs ({weight.shape[0]},)"
            )
        if i > 0 and weight.shape[1] != weights[i - 1].shape[0]:
            raise SddError(
                f"layer {i} takes {weight.shape[1]} inputs, but the layer before has"
                f" {weights[i - 1].shape[0]} outputs"
            )
