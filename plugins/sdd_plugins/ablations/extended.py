from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sdd_core import Ablation, Dense, LevelView, Retraining


class Extended(Ablation):
    """Extended training: the dense network, trained as long as the iteration up to a level.

    The control for effects of pruning that may come from the longer training. It starts from the
    dense initialisation and trains with the dense schedule, then with the retraining schedule once
    for each level, without pruning. Results are reported at the sparsity of the level that took as
    long; the network itself is dense. Each level trains from the beginning, so level k costs the
    dense training and k retrainings.
    """

    name = "extended"
    source = "as a control for pruning: Jin et al., 2022, arXiv:2210.13738"

    def masks(self, level: LevelView) -> Mapping[str, Tensor]:
        masks = level.masks
        return masks | {name: torch.ones_like(masks[name]) for name in level.prunable}

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        rates = [dense.learning_rates, *[retraining.learning_rates] * level]
        return Retraining("initialisation", np.concatenate(rates))
