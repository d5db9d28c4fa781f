from collections.abc import Mapping, MutableMapping

from torch import Tensor

from sdd_core import LevelView, Pruner, StepView
from sdd_plugins.pruners import observed


class Fisher(Pruner):
    """Diagonal Fisher: prune the weights with the smallest F w^2 / 2.

    This estimates how much the loss rises without a weight, as in Optimal Brain Damage, with the
    diagonal F of the empirical Fisher information instead of the Hessian's. F is the mean of the
    squared gradients of the batches in the level's last epoch, and w is the weight at the level's
    end. The gradients are those of whole batches, as in WoodFisher with mini-batches: squares of
    single examples' gradients would need one backward pass each. For a level that diverged the
    score is the magnitude.
    """

    name = "fisher"
    source = (
        "Singh & Alistarh, 2020, arXiv:2004.14340, sec. 3, the diagonal case; "
        "LeCun et al., 1990, 'Optimal Brain Damage', eq. 5"
    )

    def observe(self, state: MutableMapping[str, Tensor], step: StepView) -> None:
        observed.add_over_epoch(state, step, {
            "batches": step.weights[next(iter(step.weights))].new_ones(()),
            **{name: gradient.square() for name, gradient in step.gradients.items()},
        })

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        if level.diverged:
            return {name: level.weights[name].abs() for name in level.prunable}
        squares = observed.scores(level, self.name)
        batches = level.observed["batches"]
        return {name: level.weights[name].square() * square / batches / 2
                for name, square in squares.items()}
