"""The state_dict of a network: copies, masks, checks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def cpu_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state_dict, copied to the CPU."""
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in network.state_dict().items()}


def masked(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of a state_dict on the CPU, with pruned weights set to zero."""
    return {
        name: tensor.cpu().masked_fill(~masks[name], 0.0) if name in masks else tensor.cpu().clone()
        for name, tensor in state.items()
    }


def permuted(weight: Tensor, mask: Tensor, draw: torch.Generator) -> Tensor:
    """Return a weight with its pruned values randomly permuted."""
    pruned = weight[~mask]
    shuffled = weight.clone()
    shuffled[~mask] = pruned[torch.randperm(len(pruned), generator=draw)]
    return shuffled


def finite(state: Mapping[str, Tensor], names: Iterable[str]) -> bool:
    """Return whether the named tensors of a state_dict have no NaN and no infinity."""
    # A sum is faster, and finite numbers rarely have an infinite one.
    return all(math.isfinite(state[name].sum()) or bool(state[name].isfinite().all())
               for name in names)
