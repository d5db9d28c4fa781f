"""Networks that `torch.nn.utils.prune` has masked, as plain networks with exact zeros."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import prune


def without_torch_pruning(network: nn.Module) -> nn.Module:
    """Replace each pair `weight_orig` and `weight_mask` by the parameter `weight`, which is zero
    where the mask is. Return the network."""
    for module, name in list(_pruned(network)):
        original, mask = getattr(module, f"{name}_orig"), getattr(module, f"{name}_mask")
        with torch.no_grad():
            # Not by multiplication, which gives -0.0 and keeps NaN.
            original.masked_fill_(mask == 0, 0.0)
        prune.remove(module, name)
    return network


def masked_tensors(network: nn.Module) -> dict[int, Tensor]:
    """Return the products of weights and masks by id, each with a copy. `copy.deepcopy` takes them
    as its memo, because it cannot copy the results of computations."""
    found = [module.__dict__.get(name) for module, name in _pruned(network)]
    return {id(one): one.detach().clone() for one in found if isinstance(one, Tensor)}


def _pruned(network: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Yield the modules with a mask, each with the name of the masked parameter."""
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                yield module, hook._tensor_name
