import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from sdd_core import MaskView, SparseTraining


class RigL(SparseTraining):
    """RigL: drop the weights of smallest magnitude, grow those with the largest gradients.

    Each layer keeps its number of weights. The fraction of them that is replaced falls from
    `fraction` to 0 by a cosine. Weights that were just dropped may grow again; they then keep their
    value. For the densities of the paper's layers (ERK), set `pruner.scope` to 'erk'.
    """

    name = "rigl"
    source = "Evci et al., 2020, arXiv:1911.11134, algorithm 1 and eq. 1"
    gradients: ClassVar[bool] = True

    every: int = Field(default=100, ge=1, le=10**9, description="steps between two updates")
    fraction: float = Field(
        default=0.3, gt=0, le=1, description="fraction of a layer's weights that the first updates "
        "replace"
    )
    end: float = Field(
        default=0.75, gt=0, le=1, description="fraction of the level's training after which masks "
        "stay"
    )

    def updates(self, steps: int, steps_per_epoch: int) -> Iterable[int]:
        return range(self.every, math.ceil(self.end * steps), self.every)

    def masks(self, view: MaskView) -> Mapping[str, Tensor]:
        angle = math.pi * view.step / (self.end * view.steps)
        fraction = self.fraction / 2 * (1 + math.cos(angle))
        masks = {}
        for name in view.prunable:
            kept = view.masks[name]
            count = int(fraction * np.count_nonzero(kept.numpy()))
            rest = kept & ~view.smallest(view.weights[name], kept, count)
            masks[name] = rest | view.largest(view.gradients[name], ~rest, count)
        return view.masks | masks
