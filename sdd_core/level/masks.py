"""Masks: which weights are kept, and which go next.

A mask is a bool tensor for each prunable weight, True where the weight is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from sdd_core.errors import SddError
from sdd_core.level.layers import Layout, included, weights_of
from sdd_core.level.naming import layer_of, matches

Masks = Mapping[str, Tensor]


def prunable_weights(network: nn.Module, include: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return the weights that can be pruned, by name, in the order of the network's layers.

    They are those of the layers in `sdd_core.level.layers.PRUNABLE` that are trained, but for what
    is an embedding too, and the weights that a pattern of `include` matches. One that layers
    share comes once. Raises SddError when there is none, or a pattern matches no weight that is
    trained.
    """
    weights = known_weights(network, include)
    if not weights:
        raise SddError(
            f"{type(network).__name__} has no prunable layers; expected at least one trainable "
            "linear, convolutional, recurrent or attention layer, or patterns of other weights in "
            "pruner.include"
        )
    return weights


def known_weights(network: nn.Module, include: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return the same, where there may be none."""
    names = {id(p): name for name, p in network.named_parameters() if p.requires_grad}
    asked = included(network, include)
    return {
        names[id(weight.tensor)]: weight.tensor
        for weight in weights_of(network)
        if id(weight.tensor) in names and (weight.known or id(weight.tensor) in asked)
    }


def layouts_of(network: nn.Module) -> dict[str, Layout]:
    """Return where outputs and inputs are in each weight of a network, by name."""
    names = {id(p): name for name, p in network.named_parameters()}
    return {names[id(weight.tensor)]: weight.layout for weight in weights_of(network)}


def exempt_weights(names: Iterable[str], patterns: Iterable[str]) -> frozenset[str]:
    """The weights whose name, or whose layer's name, matches one of the patterns (fnmatch).

    Raises SddError when a pattern matches nothing or when nothing is left to prune.
    """
    names = list(names)
    exempt: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if matches(name, pattern)}
        if not found:
            raise SddError(f"pruner.exempt: {pattern!r} matches no layer; there are "
                           + ", ".join(dict.fromkeys(layer_of(name) or name for name in names)))
        exempt |= found
    if len(exempt) == len(names):
        raise SddError("pruner.exempt leaves no layer to prune; exempt fewer layers")
    return frozenset(exempt)


def full_masks(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks that keep everything."""
    return {
        name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()
    }


def density(masks: Masks, names: Iterable[str] | None = None) -> float:
    """Fraction of the weights that are kept, over the layers `names` (all, if not given)."""
    kept, size = kept_and_size(masks, names)
    return kept / size


def sparsity(masks: Masks, names: Iterable[str] | None = None) -> float:
    """Fraction of the weights that are pruned, over the layers `names` (all, if not given)."""
    kept, size = kept_and_size(masks, names)
    return (size - kept) / size  # 1 - density would make 0.19999999999999996 of 0.2


def kept_and_size(masks: Masks, names: Iterable[str] | None) -> tuple[int, int]:
    """Return how many weights are kept, and how many there are, over the layers `names`."""
    chosen = [masks[name] for name in (masks if names is None else names)]
    return sum(int(mask.sum()) for mask in chosen), sum(mask.numel() for mask in chosen)
