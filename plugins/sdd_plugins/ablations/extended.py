from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sdd_core import Ablation, Dense, LevelView, Retraining


class Extended(Ablation):
    """Extended training: the dense network, trained as long as the iteration up to a level.

    The control for what pruning is given credit for, though it may be the longer training: from
    the dense initialisation through the dense schedule, then through the retraining schedule once
    for each level, without pruning anything. Its results stand at the sparsity of the level that
    took as long; the network itself has none. Each level trains from the beginning, so that level
    k costs the dense training and k retrainings.
    """

    name = "extended"
    source = "as a control for pruning: Jin et al., 2022, arXiv:2210.13738"

    def masks(self, level: LevelView) -> Mapping[str, Tensor]:
        masks = level.masks
        return masks | {name: torch.ones_like(masks[name]) for name in level.prunable}

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        rates = [dense.learning_rates, *[retraining.learning_rates] * level]
        return Retraining("initialisation", np.concatenate(rates))
