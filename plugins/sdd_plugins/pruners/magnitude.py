from collections.abc import Mapping

from torch import Tensor

from sdd_core import LevelView, Pruner


class Magnitude(Pruner):
    """Iterative magnitude pruning: prune the weights with the smallest |w|.

    The score is |w| of the trained weights.
    """

    name = "imp"
    source = "Han et al., 2015, arXiv:1506.02626; Frankle & Carbin, 2019, arXiv:1803.03635, sec. 2"

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        return {name: level.weights[name].abs() for name in level.prunable}
