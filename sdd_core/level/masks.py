"""Masks: which weights are kept.

A mask is a bool tensor for each prunable weight, True where the weight is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from sdd_core.errors import SddError
from sdd_core.level.layers import Layout, included, weights_of
from sdd_core.level.naming import layer_of, matches

Masks = Mapping[str, Tensor]


def prunable_weights(network: nn.Module, include: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return the weights that can be pruned, by name, in the order of the network's layers.

    These are the trained weights of the layers in `sdd_core.level.layers.PRUNABLE`, except those
    that are also embeddings, and the weights that a pattern of `include` matches. A shared weight
    appears once. Raises SddError if there is none, or if a pattern matches no trained weight.
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
    """Return the weights that can be pruned, like `prunable_weights`, but allow none."""
    names = {id(p): name for name, p in network.named_parameters() if p.requires_grad}
    extra = included(network, include)
    return {
        names[id(weight.tensor)]: weight.tensor
        for weight in weights_of(network)
        if id(weight.tensor) in names and (weight.known or id(weight.tensor) in extra)
    }


def layouts_of(network: nn.Module) -> dict[str, Layout]:
    """Return the layout of each weight of a network, by name."""
    names = {id(p): name for name, p in network.named_parameters()}
    return {names[id(weight.tensor)]: weight.layout for weight in weights_of(network)}


def exempt_weights(names: Iterable[str], patterns: Iterable[str]) -> frozenset[str]:
    """Return the weights whose name, or whose layer's name, matches a pattern (fnmatch).

    Raises SddError if a pattern matches nothing, or if nothing is left to prune.
    """
    names = list(names)
    exempt: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if matches(name, pattern)}
        if not found:
            raise SddError(f"pruner.exempt: {pattern!r} matches no layer; available: "
                           + ", ".join(dict.fromkeys(layer_of(name) or name for name in names)))
        exempt |= found
    if len(exempt) == len(names):
        raise SddError("pruner.exempt leaves no layer to prune; exempt fewer layers")
    return frozenset(exempt)


def full_masks(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks that keep all weights."""
    return {
        name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()
    }


def nonzero_masks(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Return masks that keep the weights that are not exactly zero."""
    return {name: state[name].cpu() != 0 for name in names}


def density(masks: Masks, names: Iterable[str] | None = None) -> float:
    """Return the fraction of weights that are kept, over the layers `names` (default: all)."""
    kept, size = kept_and_size(masks, names)
    return kept / size


def sparsity(masks: Masks, names: Iterable[str] | None = None) -> float:
    """Return the fraction of weights that are pruned, over the layers `names` (default: all)."""
    kept, size = kept_and_size(masks, names)
    return (size - kept) / size  # 1 - density would give 0.19999999999999996 instead of 0.2


def kept_and_size(masks: Masks, names: Iterable[str] | None) -> tuple[int, int]:
    """Return the numbers of kept weights and of all weights, over the layers `names`."""
    chosen = [masks[name] for name in (masks if names is None else names)]
    kept = sum(int(np.count_nonzero(mask.cpu().numpy())) for mask in chosen)
    return kept, sum(mask.numel() for mask in chosen)
