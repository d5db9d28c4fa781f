from collections.abc import Mapping, MutableMapping

from torch import Tensor

from sdd_core import LevelView, Pruner, StepView
from sdd_plugins.pruners import observed


class Movement(Pruner):
    """Movement: prune the weights that moved towards zero most while the level trained.

    The score is the sum of -w dL/dw over all steps of the level, with sign; L is the loss of the
    step's batch. Each step has the same weight, whatever its learning rate, as in the paper, whose
    factor in front of the sum is constant and does not change the order. For a level that diverged
    the score is the magnitude.
    """

    name = "movement"
    source = "Sanh et al., 2020, arXiv:2005.07683, eq. 3"

    def observe(self, state: MutableMapping[str, Tensor], step: StepView) -> None:
        for name, weight in step.weights.items():
            moved = -weight * step.gradients[name]
            state[name] = state[name] + moved if name in state else moved

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        if level.diverged:
            return {name: level.weights[name].abs() for name in level.prunable}
        return observed.scores(level, self.name)
