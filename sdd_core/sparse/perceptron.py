"""A multilayer perceptron whose training costs fall with its density."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sdd_core.errors import SddError
from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.barrier import Thread
from sdd_core.sparse.costs import default_costs
from sdd_core.sparse.kernels import perceptron as compiled
from sdd_core.sparse.kernels.records import Data, Results, Steps
from sdd_core.sparse.network import Masks, Network, SgdSettings, State, aligned
from sdd_core.sparse.plan.records import Plan
from sdd_core.sparse.processor import tile_width
from sdd_core.sparse.products import Products, one_thread_each
from sdd_core.sparse.simd import Lanes
from sdd_core.sparse.threads import AdaptiveTeam, ThreadTeam


class Perceptron(Network):
    """Linear, ReLU, ..., Linear; see `Network`. Biases have no masks.

    Args:
        kernels: None: as the costs of this kind of processor choose.
        threads: how many work on a step together, where the clock says that it is faster.
        tile: how many examples the kernels work on at a time, 32, 64 or 128; fewer where a batch
            is smaller (None: what this processor's registers hold).
    """

    GRADIENTS = 1

    def __init__(
        self,
        architecture: Architecture,
        state: State,
        masks: Masks,
        settings: SgdSettings,
        kernels: Sequence[str] | None = None,
        threads: int = 1,
        tile: int | None = None,
    ) -> None:
        super().__init__(architecture, state, masks, settings, kernels)
        for mask, shape in zip(masks, architecture.shapes(), strict=True):
            if mask is not None and len(shape) == 1 and not mask.all():
                raise SddError("the biases of a perceptron cannot be pruned; mask weights only")
        self.group = tile or tile_width()
        self._team = AdaptiveTeam(threads)
        self._limit = one_thread_each if "dense" in self.kernels else nullcontext

    def _choose(self, masks: Sequence[NDArray[np.bool_]]) -> tuple[str, ...]:
        return default_costs().choose(masks)

    def _train(self, data: Data, steps: Steps) -> float:
        size, lanes = steps.batch_size, self._lanes(steps.batch_size)
        units, products = self._room(lanes, 0)

        def take(team: ThreadTeam, begin: int, end: int) -> float:
            some = Steps(
                steps.order[begin * size : end * size], size, steps.learning_rates[begin:end]
            )

            def work(thread: Thread) -> float:
                with self._limit():
                    return compiled.train(
                        self._net, self._sgd, units, products.addresses, data, some, thread, lanes
                    )

            return team.run(work)

        return self._team.run(take, len(steps.learning_rates))

    def factors(
        self, images: NDArray, labels: NDArray[np.int64], batch: NDArray[np.int64]
    ) -> list[tuple[NDArray, NDArray]]:
        data, count = self._data(images, labels), len(batch)
        lanes = self._lanes(count)
        (units, products), pairs = self._room(lanes, 0), []
        inputs, gradients = np.empty_like(units), self._sgd.gradients[0]
        scale = self._dtype(1 / count)

        def work(examples: NDArray[np.int64], thread: Thread) -> float:
            with self._limit():
                compiled.differentiate(self._net, gradients, units, products.addresses, inputs,
                                       data, examples, scale, thread, lanes)
            return 0.0

        def lines(array: NDArray, first: int, number: int, there: int) -> NDArray:
            part = array[first * lanes.width : (first + number) * lanes.width]
            return part.reshape(number, lanes.width)[:, :there].copy()

        # The units have the inputs too, unless some have no kept weight.
        seen = self._plan.linears[0]["inputs"] == data.images.shape[1]
        for start in range(0, count, lanes.width):
            examples = batch[start : start + lanes.width]
            ThreadTeam(1).run(partial(work, examples))
            pairs.append([
                (lines(units, layer["target"], layer["outputs"], len(examples)),
                 data.images[examples].T if number == 0 and not seen else
                 lines(inputs if number else units, layer["source"], layer["inputs"],
                       len(examples)))
                for number, layer in enumerate(self._plan.linears)
            ])
        gradients[:] = 0  # a step begins with zeros
        return [(np.concatenate([gradient for gradient, _ in parts], axis=1),
                 np.concatenate([given for _, given in parts], axis=1)) if len(parts) > 1
                else parts[0] for parts in zip(*pairs, strict=True)]

    def _evaluate(self, data: Data, results: Results) -> None:
        lanes = Lanes(self.group)

        def work(thread: Thread) -> float:
            units, products = self._room(lanes, thread.part[0])
            with self._limit():
                compiled.evaluate(
                    self._net, units, products.addresses, data, results, thread, lanes
                )
            return 0.0

        self._team.whole.run(work)

    def _arrange(
        self, plan: Plan, parameters: NDArray, momenta: NDArray, running: NDArray
    ) -> None:
        super()._arrange(plan, parameters, momenta, running)
        # Their products are of these arrays.
        self._rooms: dict[tuple[Lanes, int], tuple[NDArray, Products]] = {}

    def _lanes(self, batch_size: int) -> Lanes:
        """The width that wastes least: idle lanes cost as much as busy ones, each vector some
        more."""
        widths = [width for width in (128, 64, 32) if width <= self.group]
        return Lanes(min(widths, key=lambda width: -(-batch_size // width) * (width + 16)))

    def _room(self, lanes: Lanes, thread: int) -> tuple[NDArray, Products]:
        """A thread's units, and the products on them."""
        if (lanes, thread) not in self._rooms:
            units = aligned(self._plan.vectors * lanes.width, self._dtype)
            self._rooms[lanes, thread] = units, Products(
                self._plan.linears, self._net.parameters, self._sgd.gradients[0],
                units.reshape(-1, lanes.width),
            )  # fmt: skip
        return self._rooms[lanes, thread]
