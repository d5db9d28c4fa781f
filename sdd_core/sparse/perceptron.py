"""A multilayer perceptron whose training costs fall with its density."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sdd_core.errors import SddError
from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.barrier import Thread
from sdd_core.sparse.costs import KernelCosts
from sdd_core.sparse.kernels import perceptron as compiled
from sdd_core.sparse.kernels.records import Data, Results, Steps
from sdd_core.sparse.network import Masks, Network, SgdSettings, State, aligned
from sdd_core.sparse.simd import Lanes
from sdd_core.sparse.threads import AdaptiveTeam, ThreadTeam


class Perceptron(Network):
    """Linear, ReLU, ..., Linear; see `Network`. Biases have no masks.

    Args:
        kernels: None: as `KernelCosts` chooses.
        threads: how many work on a step together, where the clock says that it is faster.
    """

    GRADIENTS, GROUP = 1, 128

    def __init__(
        self,
        architecture: Architecture,
        state: State,
        masks: Masks,
        settings: SgdSettings,
        kernels: Sequence[str] | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(architecture, state, masks, settings, kernels)
        for mask, shape in zip(masks, architecture.shapes(), strict=True):
            if mask is not None and len(shape) == 1 and not mask.all():
                raise SddError("the biases of a perceptron cannot be pruned; mask weights only")
        self._units: dict[tuple[Lanes, int], NDArray] = {}
        self._team = AdaptiveTeam(threads)

    def _choose(self, masks: Sequence[NDArray[np.bool_]]) -> tuple[str, ...]:
        return KernelCosts().choose(masks)

    def _train(self, data: Data, steps: Steps) -> float:
        size, lanes = steps.batch_size, _lanes(steps.batch_size)
        units = self._buffer(lanes, 0)

        def take(team: ThreadTeam, begin: int, end: int) -> float:
            some = Steps(
                steps.order[begin * size : end * size], size, steps.learning_rates[begin:end]
            )
            return team.run(
                lambda thread: compiled.train(
                    self._net, self._sgd, units, data, some, thread, lanes
                )
            )

        return self._team.run(take, len(steps.learning_rates))

    def factors(self, images: NDArray, labels: NDArray[np.int64]) -> list[tuple[NDArray, NDArray]]:
        data, count = self._data(images, labels), len(images)
        lanes = _lanes(count)
        units, pairs = self._buffer(lanes, 0), []
        inputs, scratch = np.empty_like(units), np.empty_like(self._sgd.gradients[0])
        everything, scale = np.arange(count), self._dtype(1 / count)

        def work(examples: NDArray[np.int64], thread: Thread) -> float:
            compiled.differentiate(self._net, scratch, units, inputs, data, examples, scale, thread,
                                   lanes)
            return 0.0

        def lines(array: NDArray, first: int, number: int, there: int) -> NDArray:
            part = array[first * lanes.width : (first + number) * lanes.width]
            return part.reshape(number, lanes.width)[:, :there].copy()

        for start in range(0, count, lanes.width):
            examples = everything[start : start + lanes.width]
            ThreadTeam(1).run(partial(work, examples))
            pairs.append([
                (lines(units, layer["target"], layer["outputs"], len(examples)),
                 lines(inputs, layer["source"], layer["inputs"], len(examples)) if number else
                 data.images[examples].T)
                for number, layer in enumerate(self._plan.linears)
            ])
        return [(np.concatenate([gradient for gradient, _ in parts], axis=1),
                 np.concatenate([given for _, given in parts], axis=1)) if len(parts) > 1
                else parts[0] for parts in zip(*pairs, strict=True)]

    def _evaluate(self, data: Data, results: Results) -> None:
        lanes = Lanes(self.GROUP)

        def work(thread: Thread) -> float:
            units = self._buffer(lanes, thread.part[0])
            compiled.evaluate(self._net, units, data, results, thread, lanes)
            return 0.0

        self._team.whole.run(work)

    def _buffer(self, lanes: Lanes, thread: int) -> NDArray:
        size = self._plan.vectors * lanes.width
        if (lanes, thread) not in self._units or self._units[lanes, thread].size != size:
            self._units[lanes, thread] = aligned(size, self._dtype)
        return self._units[lanes, thread]


def _lanes(batch_size: int) -> Lanes:
    """The width that wastes least: idle lanes cost as much as busy ones, each vector some more."""
    return Lanes(min((128, 64, 32), key=lambda width: -(-batch_size // width) * (width + 16)))
