from collections.abc import Mapping

import torch
from torch import Tensor

from sdd_core import LevelView, Pruner


class Lamp(Pruner):
    """LAMP: prune by squared magnitude relative to the larger weights of the layer.

    The score of a weight is w^2 divided by the sum of the squares of all remaining weights of its
    layer that are not smaller, itself included. Scores of all layers compete (`pruner.scope`), and
    the largest weight of each layer has score 1, so no layer is emptied before the others.
    """

    name = "lamp"
    source = "Lee et al., 2021, arXiv:2010.07611, eq. 4"

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        return {name: _lamp(level.weights[name], level.masks[name]) for name in level.prunable}


def _lamp(weight: Tensor, kept: Tensor) -> Tensor:
    # float64: the sum over a large layer must tell neighbouring weights apart.
    squares = torch.where(kept, weight.double().square(), 0.0).flatten()
    order = squares.argsort(descending=True, stable=True)
    sums = squares[order].cumsum(0)
    scores = torch.zeros_like(squares)
    scores[order] = squares[order] / sums.clamp(min=torch.finfo(torch.float64).tiny)
    return scores.view_as(weight)
