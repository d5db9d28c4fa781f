from collections.abc import Iterable, Mapping

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import MaskView, SparseTraining


class Set(SparseTraining):
    """SET: drop the weights closest to zero, grow as many at random.

    A fraction of each layer's positive weights and the same fraction of its negative ones are
    dropped, those closest to zero. Each layer keeps its number of weights. Regrown weights start at
    zero.
    """

    name = "set"
    source = "Mocanu et al., 2018, arXiv:1707.04780, algorithm 1"

    every: int | None = Field(
        default=None, ge=1, le=10**9,
        description="steps between two updates; default: an epoch"
    )
    fraction: float = Field(
        default=0.3, gt=0, le=1, description="fraction of a layer's weights that an update replaces"
    )

    def updates(self, steps: int, steps_per_epoch: int) -> Iterable[int]:
        every = self.every or steps_per_epoch
        return range(every, steps, every)

    def masks(self, view: MaskView) -> Mapping[str, Tensor]:
        draw, masks = view.generator("regrown weights"), {}
        for name in view.prunable:
            weights, kept = view.weights[name], view.masks[name]
            rest = kept
            for side in (kept & (weights > 0), kept & (weights <= 0)):
                count = int(self.fraction * int(side.count_nonzero()))
                rest = rest & ~view.smallest(weights, side, count)
            order = torch.rand(kept.shape, generator=draw)
            missing = int(kept.count_nonzero()) - int(rest.count_nonzero())
            masks[name] = rest | view.lowest(order, ~rest, missing)
        return view.masks | masks
