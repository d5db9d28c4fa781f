from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from sdd_core import LevelView, Pruner


class Snip(Pruner):
    """SNIP, connection sensitivity: prune the smallest |w dL/dw| at initialisation.

    L is the mean training loss, with noisy labels, at the dense network's initialisation under the
    current masks; the level's training has no effect. The network is in training mode, because its
    batch normalisation has no statistics yet. It is meant for pruning once, before any training:
    `--pruner=snip --pruner.sparsity=0.9 --retrain=rewind`.
    """

    name = "snip"
    source = "Lee et al., 2019, arXiv:1810.02340, eq. 6"

    batches: int = Field(default=1, ge=1, description="number of random batches to average")
    batch_size: int = Field(default=128, ge=1, description="examples per batch")

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        weights = dict(level.network("initialisation").named_parameters())
        gradients = level.gradients(self.batches, self.batch_size, "initialisation")
        return {
            name: (weights[name].detach().cpu() * gradients[name]).abs() for name in level.prunable
        }
