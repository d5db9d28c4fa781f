from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sdd_core import LevelView, PluginRef, Pruner, Scope, SddError

LAYERS = (
    nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


class Wanda(Pruner):
    """Wanda: prune the weights with the smallest |w| times the norm of their inputs.

    The score is |w| ||x||, where x are the inputs that w is multiplied by, over random training
    examples: one per example for a linear layer, one per example and kernel position for a
    convolution. The network is the trained one, in evaluation mode. By default scores compete
    within each output of a layer, as in the paper; `pruner.scope` changes this.

    If a layer computes its weight (weight and spectral norm, other parametrisations), w is the
    computed weight.
    """

    name = "wanda"
    source = "Sun et al., 2023, arXiv:2306.11695, eq. 1; convolutions are this plugin's extension"

    scope: Annotated[Scope, PluginRef("scope")] = Field(
        default=cast(Any, "output"),
        description="weights whose scores compete; by default those of each output of a layer, as "
        "published",
    )
    batches: int = Field(default=1, ge=1, description="number of random batches")
    batch_size: int = Field(default=128, ge=1, description="examples per batch")

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        """Return the scores. Raises SddError for weights of layers that are not linear or
        convolutional."""
        network = level.network()
        layers = _layers(network, level.prunable)
        squares: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}

        def look(layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            # A layer is linear in its weights: the derivative of the sum of its outputs by a weight
            # is the sum of the inputs of that weight, for any stride and padding.
            with torch.enable_grad(), parametrize.cached():
                weight, name = cast(Tensor, layer.weight), layers[layer]
                if not weight.requires_grad:  # torch's older norms compute it before the hook
                    weight.requires_grad_()
                total = layer.forward(*map(_square, inputs),
                                      **{key: _square(value) for key, value in named.items()}).sum()
                seen = torch.autograd.grad(total, weight)[0]
            squares[name] = squares.get(name, 0) + seen
            weights[name] = weight.detach()

        for layer in layers:
            layer.register_forward_pre_hook(look, with_kwargs=True)
        with torch.no_grad():
            for batch, _ in level.batches(self.batches, self.batch_size):
                network(batch)
        if unseen := [name for name in level.prunable if name not in squares]:
            _refuse(unseen)
        return {name: (weights[name].abs() * squares[name].sqrt()).cpu() for name in level.prunable}


def _layers(network: nn.Module, prunable: Sequence[str]) -> dict[nn.Module, str]:
    """Return the layers to observe, with the weight of each. Raises SddError for weights that
    belong, or also belong, to other layers."""
    shapes = {name: p.shape for name, p in network.named_parameters()}
    names = {id(p): name for name, p in network.named_parameters() if name in prunable}
    found: dict[nn.Module, str] = {}
    known: set[nn.Module] = set()
    for module in network.modules():
        if isinstance(module, LAYERS):
            # Including the parametrisations of its weight.
            known |= set(module.modules())
            own = [names[id(p)] for p in module.parameters() if id(p) in names]
            if len(own) == 1 and shapes[own[0]] == module.weight.shape:
                found[module] = own[0]
    others = {names[id(p)] for module in network.modules() if module not in known
              for p in module.parameters(recurse=False) if id(p) in names}
    if odd := [name for name in prunable if name in others or name not in found.values()]:
        _refuse(odd)
    return found


def _refuse(names: Sequence[str]) -> NoReturn:
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    raise SddError(f"pruner 'wanda' cannot observe the inputs of {names[0]!r}{more}, which is not "
                   "the weight of one linear or convolutional layer; add it to pruner.exempt, or "
                   "choose another pruner")


def _square(value: Any) -> Any:
    return value.square() if isinstance(value, Tensor) and value.is_floating_point() else value
