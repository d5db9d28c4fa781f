from collections.abc import Mapping

import torch
from torch import Tensor

from sdd_core import LevelView, Pruner


class Random(Pruner):
    """Random pruning: every remaining weight is equally likely to be pruned.

    The baseline for pruners that use the weights.
    """

    name = "random"
    source = "He et al., 2022, arXiv:2206.08684, appendix A.1"

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        draw = level.generator("random pruning")
        # float64: millions of float32 draws contain equal values, and ties are not random.
        return {
            name: torch.rand(level.masks[name].shape, generator=draw, dtype=torch.float64)
            for name in level.prunable
        }
