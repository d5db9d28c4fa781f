from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from sdd_core import LevelView, Pruner, SddError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Slimming(Pruner):
    """Network slimming: prune whole channels, those with the smallest scale |gamma|.

    The score of all weights into a channel is the scale of the batch normalisation after the layer.
    They are pruned together, so a level may prune slightly more than requested. Only these weights
    are masked and counted. The channel then outputs a constant, the shift of its normalisation,
    which is still trained, as a bias of the next layers; their weights from that channel are not
    pruned. Layers without a batch normalisation after them must be exempt.

    The authors train with an l1 penalty on the scales: `train.norm_penalty`, 1e-4 or 1e-5.
    """

    name = "slimming"
    source = "Liu et al., 2017, arXiv:1708.06519, sec. 3"
    prune_ties: ClassVar[bool] = True

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        """Return the scores. Raises SddError for a layer without batch normalisation after it."""
        network = level.network()
        scale_behind: dict[int, Tensor] = {}
        last = None
        for module in network.modules():
            if isinstance(module, LAYERS):
                last = module
            elif isinstance(module, NORMS) and last is not None and module.weight is not None:
                if len(module.weight) == len(last.weight):
                    # All its parameters, because a weight may be computed from several of them.
                    scale = module.weight.detach().abs().cpu()
                    scale_behind |= {id(tensor): scale for tensor in last.parameters()}
                last = None
        weights = dict(network.named_parameters())
        scores = {}
        for name in level.prunable:
            if id(weights[name]) not in scale_behind:
                layer = name.rpartition(".")[0]
                raise SddError(f"pruner 'slimming' finds no batch normalisation after {layer!r}; "
                               "add all such layers to pruner.exempt")
            scale = scale_behind[id(weights[name])]
            ones = (1,) * (weights[name].dim() - 1)
            scores[name] = scale.view(-1, *ones).expand(weights[name].shape).clone()
        return scores
