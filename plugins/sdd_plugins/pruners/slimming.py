from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from sdd_core import LevelView, Pruner, SddError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Slimming(Pruner):
    """Network slimming: whole channels go, those with the smallest scale |gamma|.

    All weights into a channel have the scale of the batch normalisation behind the layer for
    their score and go at once, so that a level may prune a little more than it was asked for.
    They alone are masked and counted. What is left of the channel is a constant, the shift of its
    normalisation, which trains on as a bias of the layers behind; their weights from that channel
    are not pruned. Layers without a batch normalisation behind them have to be exempt.

    Its authors train with an l1 penalty on the scales: `train.norm_penalty`, 1e-4 or 1e-5.
    """

    name = "slimming"
    source = "Liu et al., 2017, arXiv:1708.06519, sec. 3"
    prune_ties: ClassVar[bool] = True

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        """Raises SddError for a layer without batch normalisation behind it."""
        network = level.network()
        scale_behind: dict[int, Tensor] = {}
        last = None
        for module in network.modules():
            if isinstance(module, LAYERS):
                last = module
            elif isinstance(module, NORMS) and last is not None and module.weight is not None:
                if len(module.weight) == len(last.weight):
                    # Its parameters: where it computes its weight, what it does so from.
                    scale = module.weight.detach().abs().cpu()
                    scale_behind |= {id(tensor): scale for tensor in last.parameters()}
                last = None
        weights = dict(network.named_parameters())
        scores = {}
        for name in level.prunable:
            if id(weights[name]) not in scale_behind:
                layer = name.rpartition(".")[0]
                raise SddError(f"pruner 'slimming' finds no batch normalisation behind {layer!r}; "
                               "name all such layers in pruner.exempt")
            scale = scale_behind[id(weights[name])]
            ones = (1,) * (weights[name].dim() - 1)
            scores[name] = scale.view(-1, *ones).expand(weights[name].shape).clone()
        return scores
