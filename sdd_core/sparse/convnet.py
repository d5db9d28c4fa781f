"""A convolutional network whose training costs fall with its density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse import convpass as compiled
from sdd_core.sparse.convolution import IMAGES, NARROW, PIXEL, WIDE, Net, Room
from sdd_core.sparse.convpass import HALVES, Batch
from sdd_core.sparse.convplan import Convolution, Layout, Normalisation, NormState
from sdd_core.sparse.mlp import Evaluation, aligned
from sdd_core.sparse.team import Part, Team


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
        norms: the normalisations' running statistics and constants.
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
        self._dtype = parameters[0].dtype.type
        self._masks = [
            np.ones(parameter.shape, bool) if mask is None else mask
            for parameter, mask in zip(parameters, masks, strict=True)
        ]
        counts = [int(mask.sum()) for mask in self._masks]
        self._starts = np.append(0, np.cumsum(counts))
        self._layout = Layout(operations, sizes, self._masks, norms, self._starts)
        self._parameters = self._pack(parameters)
        self._momenta = np.zeros_like(self._parameters) if momenta is None else self._pack(momenta)
        self._kept = np.ones(self._parameters.size, bool)
        self._momentum, self._weight_decay = self._dtype(momentum), self._dtype(weight_decay)
        pairs = [np.stack([state.mean, state.variance]) for state in norms]
        self._running = np.concatenate(pairs, axis=1).astype(self._dtype)
        self._net = Net(
            self._layout.layers, self._layout.activations, self._layout.norms, self._layout.head,
            self._layout.index, self._parameters, self._running,
        )  # fmt: skip
        # Where all maps take wide vectors, nothing needs to be compiled for others.
        self._narrow = WIDE if not (self._layout.layers.side % 8).any() else NARROW
        self._team = Team(threads)
        self._batch = self._new_batch(0)
        self._rooms = [self._new_room() for _ in range(threads)]
        self.steps = 0

    def train_epoch(
        self,
        images: NDArray,
        labels: NDArray[np.int64],
        order: NDArray[np.int64],
        batch_size: int,
        learning_rates: NDArray | Sequence[float],
    ) -> float:
        """As `SparseMLP.train_epoch`, with images [examples, channels, height, width]."""
        batch = self._room_for(-(-min(batch_size, len(order)) // IMAGES))
        rates = np.asarray(learning_rates, self._dtype)
        flat = images.reshape(len(images), -1)

        def work(part: Part, meeting: NDArray[np.int64]) -> float:
            return compiled.train(
                self._net, batch, self._rooms[part[0]], self._momenta, self._kept,
                flat, labels, order, batch_size, rates, self._momentum, self._weight_decay,
                part, meeting, WIDE, self._narrow, PIXEL,
            )  # fmt: skip

        loss = self._team.run(work)
        self.steps += len(rates)
        return loss / len(order)

    def evaluate(self, images: NDArray, labels: NDArray[np.int64]) -> Evaluation:
        """Loss, accuracy and logits, normalised by the running statistics."""
        logits = np.empty((len(images), len(self._masks[-1])), self._dtype)
        losses = np.empty(-(-len(images) // IMAGES))
        batch = self._room_for(self._team.size)
        flat = images.reshape(len(images), -1)

        def work(part: Part, meeting: NDArray[np.int64]) -> float:
            compiled.evaluate(
                self._net, batch, self._rooms[part[0]], flat, labels, logits, losses,
                part, WIDE, self._narrow, PIXEL,
            )  # fmt: skip
            return 0.0

        self._team.run(work)
        hits = logits.argmax(axis=1) == labels
        return Evaluation(sum(losses.tolist()) / len(images), float(hits.mean()), logits)

    def parameters(self) -> list[NDArray]:
        """The parameters as given; pruned ones are 0."""
        return self._unpack(self._parameters)

    def momenta(self) -> list[NDArray]:
        """Their momentum buffers."""
        return self._unpack(self._momenta)

    def statistics(self) -> list[tuple[NDArray, NDArray]]:
        """Each normalisation's running mean and variance."""
        ends = np.cumsum(self._layout.norms.channels)[:-1]
        means, variances = (np.split(values, ends) for values in self._running)
        return list(zip(means, variances, strict=True))

    def _pack(self, arrays: Sequence[NDArray]) -> NDArray:
        kept = [array[mask] for array, mask in zip(arrays, self._masks, strict=True)]
        return np.concatenate(kept).astype(self._dtype)

    def _unpack(self, flat: NDArray) -> list[NDArray]:
        arrays = []
        for i, mask in enumerate(self._masks):
            arrays.append(np.zeros(mask.shape, self._dtype))
            arrays[-1][mask] = flat[self._starts[i] : self._starts[i + 1]]
        return arrays

    def _room_for(self, groups: int) -> Batch:
        """Of so many groups or more. Steps and evaluations leave it as the next one needs it."""
        if len(self._batch.memory) < groups:
            self._batch = self._new_batch(groups)
        return self._batch

    def _new_batch(self, groups: int) -> Batch:
        layout = self._layout
        norms, activations = layout.norms.channels.sum(), layout.activations.channels.sum()
        size = layout.pixels * IMAGES
        return Batch(
            aligned(groups * size, self._dtype).reshape(groups, size),
            np.zeros((groups, 8 * IMAGES), self._dtype),
            np.zeros(groups),
            np.zeros((HALVES, 2, norms)),
            np.zeros((HALVES, 3, activations)),
            np.zeros((HALVES, self._parameters.size), self._dtype),
        )

    def _new_room(self) -> Room:
        layout = self._layout
        norms, activations = layout.norms.channels.sum(), layout.activations.channels.sum()
        most = max(layout.activations.channels)
        return Room(
            aligned(layout.strip * IMAGES, self._dtype),
            aligned(3 * most * IMAGES, self._dtype),
            aligned(layout.products * IMAGES, self._dtype),
            np.zeros((2, norms)),
            np.zeros((2, activations), self._dtype),
            np.zeros((3, activations), self._dtype),
            np.zeros((3, norms), self._dtype),
        )
