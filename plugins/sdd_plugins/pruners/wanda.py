from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from sdd_core import LevelView, Pruner, SddError


class Wanda(Pruner):
    """Wanda: the smallest |w| times the norm of what the weight is multiplied by go.

    Score |w| ||x||, where x are the values that w meets over random training examples: of a linear
    layer one for each example, of a convolution one for each example and place of the kernel. The
    network is the trained one, in evaluation mode. Its authors compare scores within each
    output of a layer; here the scope says where, by default over all layers.
    """

    name = "wanda"
    source = "Sun et al., 2023, arXiv:2306.11695, eq. 1; convolutions are this plugin's extension"

    batches: int = Field(default=1, ge=1, description="random batches that are looked at")
    batch_size: int = Field(default=128, ge=1, description="examples in each of them")

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        """Raises SddError for weights of other layers than linear and convolutional ones."""
        network = level.network()
        weights = dict(network.named_parameters())
        squares = {name: torch.zeros_like(weights[name]) for name in level.prunable}
        names = {id(weights[name]): name for name in level.prunable}
        seen: set[str] = set()

        def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            # A layer is linear in its weights: the derivative of its outputs' sum by a weight is
            # the sum of what the weight is multiplied by, whatever the stride and padding.
            with torch.enable_grad():
                total = layer.forward(inputs[0].square()).sum()
                name = names[id(layer.weight)]
                squares[name] += torch.autograd.grad(total, weights[name])[0]
                seen.add(name)

        for layer in network.modules():
            if id(getattr(layer, "weight", None)) in names:
                layer.register_forward_pre_hook(look)
        with torch.no_grad():
            for inputs, _ in level.batches(self.batches, self.batch_size):
                network(inputs)
        if unseen := [name for name in level.prunable if name not in seen]:
            raise SddError(f"pruner 'wanda' cannot see what {unseen[0]!r} is multiplied by, which "
                           "is no linear or convolutional layer of its own; name it in "
                           "pruner.exempt, or choose another pruner")
        return {
            name: (weights[name].detach().abs() * squares[name].sqrt()).cpu()
            for name in level.prunable
        }
