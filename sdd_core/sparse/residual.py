"""A residual network whose training costs fall with its density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdd_core.errors import SddError
from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.barrier import Thread
from sdd_core.sparse.kernels import residual as compiled
from sdd_core.sparse.kernels.records import (
    HALVES,
    IMAGES,
    NARROW,
    PIXEL,
    WIDE,
    Batch,
    Data,
    Results,
    Steps,
    Workspace,
)
from sdd_core.sparse.network import Masks, Network, SgdSettings, State, aligned
from sdd_core.sparse.plan.records import Plan
from sdd_core.sparse.processor import tile_width
from sdd_core.sparse.threads import ThreadTeam


class ResidualNetwork(Network):
    """Convolutions, batch normalisations and residual sums, then mean, Linear; see `Network`.

    Args:
        kernels: `"sparse"` for each convolution; there are no others.
        threads: 1 or 2.
    """

    GRADIENTS, group = HALVES, IMAGES

    def __init__(
        self,
        architecture: Architecture,
        state: State,
        masks: Masks,
        settings: SgdSettings,
        kernels: Sequence[str] | None = None,
        threads: int = 1,
    ) -> None:
        if threads > HALVES:
            raise SddError(f"a residual network takes 1 or {HALVES} threads, got {threads}")
        self._team = ThreadTeam(threads)
        super().__init__(architecture, state, masks, settings, kernels)

    def _arrange(
        self, plan: Plan, parameters: NDArray, momenta: NDArray, running: NDArray
    ) -> None:
        super()._arrange(plan, parameters, momenta, running)
        self._batch = self._new_batch(0)
        self._spaces = [self._new_workspace() for _ in range(self._team.size)]

    def _choose(self, masks: Sequence[NDArray[np.bool_]]) -> tuple[str, ...]:
        return ("sparse",) * len(self.architecture.convolutions)

    def _train(self, data: Data, steps: Steps) -> float:
        batch = self._batch_for(-(-min(steps.batch_size, len(steps.order)) // IMAGES))

        def work(thread: Thread) -> float:
            space = self._spaces[thread.part[0]]
            return compiled.train(self._net, self._sgd, batch, space, data, steps, thread)

        return self._team.run(work)

    def _evaluate(self, data: Data, results: Results) -> None:
        batch = self._batch_for(self._team.size)

        def work(thread: Thread) -> float:
            space = self._spaces[thread.part[0]]
            compiled.evaluate(self._net, batch, space, data, results, thread)
            return 0.0

        self._team.run(work)

    def _batch_for(self, groups: int) -> Batch:
        """Of so many groups or more. Steps and evaluations leave it as the next one needs it."""
        if len(self._batch.memory) < groups:
            self._batch = self._new_batch(groups)
        return self._batch

    def _new_batch(self, groups: int) -> Batch:
        norms, activations = self._channels()
        size = self._plan.vectors * IMAGES
        return Batch(
            memory=aligned(groups * size, self._dtype).reshape(groups, size),
            present=np.zeros((groups, 8 * IMAGES), self._dtype),
            losses=np.zeros(groups),
            result_sums=np.zeros((HALVES, 2, norms)),
            gradient_sums=np.zeros((HALVES, 3, activations)),
        )

    def _new_workspace(self) -> Workspace:
        plan, dtype = self._plan, self._dtype
        norms, activations = self._channels()
        most = max(plan.activations["channels"])
        wide = WIDE if tile_width() >= WIDE.width else NARROW
        return Workspace(
            tile_buffer=aligned(plan.tile_vectors * IMAGES, dtype),
            sums=aligned(3 * most * IMAGES, dtype),
            products=aligned(plan.products * IMAGES, dtype),
            moments=np.zeros((2, norms)),
            means=np.zeros((2, activations), dtype),
            factors=np.zeros((3, activations), dtype),
            bn_grad_coefficients=np.zeros((3, norms), dtype),
            wide=wide,
            # Where all maps take wide vectors, nothing needs to be compiled for others.
            narrow=NARROW if (plan.convolutions["side"] % 8).any() else wide,
            pixel=PIXEL,
        )

    def _channels(self) -> tuple[int, int]:
        """How many channels all normalisations have together, and all activations."""
        return self._plan.norms["channels"].sum(), self._plan.activations["channels"].sum()
