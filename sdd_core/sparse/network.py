"""What every network of the kernels does: train epochs, evaluate, give its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.checks import check_data, check_masks, check_network, check_steps
from sdd_core.sparse.kernels.loss import count_hits
from sdd_core.sparse.kernels.records import Data, Net, Results, Sgd, Steps
from sdd_core.sparse.plan import make_plan
from sdd_core.sparse.plan.records import Plan

Masks = Sequence[NDArray[np.bool_] | None]


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy (nats), accuracy (0 to 1) and logits [examples, classes]."""

    loss: float
    accuracy: float
    logits: NDArray


@dataclass(frozen=True)
class State:
    """Everything that training changes.

    Attributes:
        parameters: in the architecture's order, all float32 or all float64.
        momenta: their momentum buffers (None: zeros, what torch starts from).
        statistics: each normalisation's running mean and variance.
    """

    parameters: Sequence[NDArray]
    momenta: Sequence[NDArray] | None = None
    statistics: Sequence[tuple[NDArray, NDArray]] = field(default_factory=list)


class SgdSettings(NamedTuple):
    """As in torch.optim.SGD (no dampening, no Nesterov)."""

    momentum: float
    weight_decay: float


class Network(ABC):
    """A network under mean cross-entropy and SGD, with masked parameters.

    Does what `torch.optim.SGD` does to the same network when the masks are applied to parameters
    and gradients, biases and disconnected weights included, up to the rounding of the number
    type. The parameters of runs with the same inputs and kernels on one machine agree bit for
    bit, as do those of a run that was split between any two steps, and of runs with other numbers
    of threads.

    Args:
        state: copied.
        masks: for each parameter, True where an entry is kept (None: all).
        kernels: `"sparse"` or `"dense"` for each weight (None: the kind of network decides).

    Attributes:
        steps: taken since the network was made, or since `save` wrote it to a model.

    Raises:
        SddError: if shapes or number types do not fit together.
    """

    GRADIENTS: int
    """Parts of a batch whose gradients are summed apart."""

    group: int
    """Examples in a group of an evaluation."""

    def __init__(
        self,
        architecture: Architecture,
        state: State,
        masks: Masks,
        settings: SgdSettings,
        kernels: Sequence[str] | None,
    ) -> None:
        self.architecture = architecture
        self.kernels = tuple(kernels or ())
        self._settings = settings
        self.steps = 0
        self._fill(state, masks)

    def refill(self, state: State, masks: Masks) -> None:
        """Go on with another state under other masks; the kernels stay. See `Network`."""
        self.steps = 0
        self._fill(state, masks)

    def remask(self, masks: Masks, values: Mapping[int, NDArray]) -> None:
        """Go on under other masks. What both keep stays as it is, momenta too; the rest begins at
        0, or at `values`, by the number of the parameter. See `Network`."""
        check_masks(self.architecture, masks)
        plan, before = self._make_plan(masks), self._plan.packing
        parameters, momenta = plan.packing.repack(
            before, [self._net.parameters, self._sgd.momenta])
        for number, value in values.items():
            plan.packing.add_to(parameters, number, value)
        self._arrange(plan, parameters, momenta, self._net.running)

    def _fill(self, state: State, masks: Masks) -> None:
        check_network(self.architecture, state.parameters, masks)
        self._dtype = state.parameters[0].dtype.type
        plan = self._make_plan(masks)
        momenta = np.zeros(plan.packing.size, self._dtype)
        if state.momenta is not None:
            momenta = plan.packing.pack(state.momenta)
        pairs = [np.stack(pair) for pair in state.statistics] or [np.zeros((2, 0))]
        self._arrange(plan, plan.packing.pack(state.parameters), momenta,
                      np.concatenate(pairs, axis=1).astype(self._dtype))

    def _make_plan(self, masks: Masks) -> Plan:
        architecture = self.architecture
        full = [np.ones(shape, bool) if mask is None else mask
                for shape, mask in zip(architecture.shapes(), masks, strict=True)]  # fmt: skip
        if not self.kernels:
            self.kernels = self._choose([full[i] for i in architecture.weights()])
        return make_plan(architecture, full, self.kernels)

    def _arrange(
        self, plan: Plan, parameters: NDArray, momenta: NDArray, running: NDArray
    ) -> None:
        """Lay out the arrays that the kernels work on."""
        self._plan, settings = plan, self._settings
        # Aligned, because the last bits of a matrix product may depend on where its numbers begin.
        own = aligned(plan.packing.size, self._dtype)
        own[:] = parameters
        gradients = aligned(self.GRADIENTS * own.size, self._dtype)
        self._net = Net(
            plan.linears, plan.convolutions, plan.activations, plan.norms, plan.index,
            plan.features, own, running,
        )  # fmt: skip
        self._sgd = Sgd(
            momenta, gradients.reshape(self.GRADIENTS, -1), plan.packing.kept(),
            self._dtype(settings.momentum), self._dtype(settings.weight_decay),
        )  # fmt: skip

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
            images: [examples, ...] of the network's number type, C-contiguous.
            labels: [examples], classes 0, 1, ...
            order: the examples' numbers in the order of training: an epoch or a part of one.
            learning_rates: one for each batch.

        Returns:
            The mean loss of the examples, each under the weights that met it.
        """
        data = self._data(images, labels)
        rates = np.asarray(learning_rates, self._dtype)
        check_steps(len(images), order, batch_size, len(rates))
        loss = self._train(data, Steps(order, batch_size, rates))
        self.steps += len(rates)
        return loss / len(order)

    def evaluate(self, images: NDArray, labels: NDArray[np.int64]) -> Evaluation:
        """Return loss, accuracy and logits on `images` [examples, ...]; normalisations take their
        running statistics."""
        data, count = self._data(images, labels), len(images)
        logits = np.empty((count, self.architecture.linears[-1].outputs), self._dtype)
        results = Results(logits, np.empty(-(-count // self.group)))
        self._evaluate(data, results)
        hits = count_hits(logits, labels)
        # One after the other: the sum must not depend on the number of threads.
        return Evaluation(sum(results.losses.tolist()) / count, hits / count, logits)

    def state(self) -> State:
        """Return a copy of everything that training changes; pruned entries are 0."""
        ends = np.cumsum(self._net.norms["channels"])[:-1]
        means, variances = (np.split(values.copy(), ends) for values in self._net.running)
        unpack = self._plan.packing.unpack
        return State(
            unpack(self._net.parameters), unpack(self._sgd.momenta),
            list(zip(means, variances, strict=True)) if self._net.norms.size else [],
        )  # fmt: skip

    def parameter(self, number: int) -> NDArray:
        """Return a copy of one of the parameters of `state`."""
        return self._plan.packing.unpack_one(self._net.parameters, number)

    def factors(
        self, images: NDArray, labels: NDArray[np.int64], batch: NDArray[np.int64]
    ) -> list[tuple[NDArray, NDArray]] | None:
        """Return the factors of the weights' gradients, pruned weights too, for each linear layer:
        the gradient of its results, [outputs, examples], and its inputs, [inputs, examples]. The
        gradient of its weight is the first times the second transposed, that of its bias the sum of
        the first. None for networks with other layers.

        batch: the numbers of the examples whose mean loss it is.
        """
        return None

    @abstractmethod
    def _choose(self, masks: Sequence[NDArray[np.bool_]]) -> tuple[str, ...]:
        """Return a kernel for each weight, given the masks of all weights."""

    @abstractmethod
    def _train(self, data: Data, steps: Steps) -> float:
        """Carry out the steps; return the sum of the examples' losses."""

    @abstractmethod
    def _evaluate(self, data: Data, results: Results) -> None:
        """Fill in the results."""

    def _data(self, images: NDArray, labels: NDArray[np.int64]) -> Data:
        check_data(self.architecture, self._dtype, images, labels)
        return Data(images.reshape(len(images), -1), labels)


def aligned(size: int, dtype: type[np.floating]) -> NDArray:
    """Zeros that begin a cache line: vector loads across two lines take twice as long."""
    spare = 64 // np.dtype(dtype).itemsize
    array = np.zeros(size + spare, dtype)
    start = -array.ctypes.data % 64 // array.itemsize
    return array[start : start + size]
