from collections.abc import Mapping, MutableMapping

from torch import Tensor

from sdd_core import LevelView, Pruner, StepView
from sdd_plugins.pruners import observed


class Taylor(Pruner):
    """Taylor expansion over an epoch: prune the weights with the smallest (w dL/dw)^2.

    The squares are summed over the batches of the level's last epoch; L is the loss of a batch, and
    w and dL/dw are those of its step. The pruner `gradient` takes |w dL/dw| once, after training.
    With `pruner.pattern` the squares of a group are added. For a level that diverged the score is
    the magnitude.
    """

    name = "taylor"
    source = "Molchanov et al., 2019, arXiv:1906.10771, eq. 8"

    def observe(self, state: MutableMapping[str, Tensor], step: StepView) -> None:
        observed.add_over_epoch(state, step, {
            name: (weight * step.gradients[name]).square() for name, weight in step.weights.items()
        })

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        if level.diverged:
            return {name: level.weights[name].abs() for name in level.prunable}
        return observed.scores(level, self.name)
