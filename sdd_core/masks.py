"""Masks: which weights are kept, and which go next.

A mask is a bool tensor for each prunable weight, True where the weight is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from sdd_core.errors import SddError
from sdd_core.guard import blaming
from sdd_core.plugin import Scope, label
from sdd_core.plugin_options import Layer

_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
PRUNABLE: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("weight",),
    nn.Conv1d: ("weight",),
    nn.Conv2d: ("weight",),
    nn.Conv3d: ("weight",),
    nn.ConvTranspose1d: ("weight",),
    nn.ConvTranspose2d: ("weight",),
    nn.ConvTranspose3d: ("weight",),
    nn.MultiheadAttention: _PROJECTIONS,  # its output projection is a Linear
}
"""The layers whose weights can be pruned, and what those are called there."""

Masks = Mapping[str, Tensor]


def prunable_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of every linear and convolutional layer and attention projection, in the
    network's order; one that two layers share comes once, and one that is an embedding too is
    left alone. Raises SddError when there is none."""
    names = {id(p): name for name, p in network.named_parameters() if p.requires_grad}
    for module in network.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            names.pop(id(module.weight), None)
    weights = {
        names[id(weight)]: weight
        for module in network.modules()
        for kind, attributes in PRUNABLE.items()
        if isinstance(module, kind)
        for weight in (getattr(module, attribute, None) for attribute in attributes)
        if weight is not None and id(weight) in names
    }
    if not weights:
        raise SddError(
            f"{type(network).__name__} has no prunable layers; expected at least one trainable "
            "Linear, Conv1d to Conv3d, ConvTranspose1d to ConvTranspose3d or MultiheadAttention"
        )
    return weights


def exempt_weights(names: Iterable[str], patterns: Iterable[str]) -> frozenset[str]:
    """The weights whose name, or whose layer's name, matches one of the patterns (fnmatch).

    Raises SddError when a pattern matches nothing or when nothing is left to prune.
    """
    names = list(names)
    exempt: set[str] = set()
    for pattern in patterns:
        found = {n for n in names if fnmatchcase(n, pattern) or fnmatchcase(_layer(n), pattern)}
        if not found:
            raise SddError(f"pruner.exempt: {pattern!r} matches no layer; there are "
                           + ", ".join(_layer(name) or name for name in names))
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
    kept, size = _count(masks, names)
    return kept / size


def sparsity(masks: Masks, names: Iterable[str] | None = None) -> float:
    """Fraction of the weights that are pruned, over the layers `names` (all, if not given)."""
    kept, size = _count(masks, names)
    return (size - kept) / size  # 1 - density would make 0.19999999999999996 of 0.2


def _count(masks: Masks, names: Iterable[str] | None) -> tuple[int, int]:
    chosen = [masks[name] for name in (masks if names is None else names)]
    return sum(int(mask.sum()) for mask in chosen), sum(mask.numel() for mask in chosen)


def prune_fraction(
    masks: Masks, scores: Masks, fraction: float, scope: Scope, *, together: bool = False
) -> dict[str, Tensor]:
    """Masks without a fraction of the weights that are still kept, lowest scores first.

    The number that goes is the smallest whole number that is at least `fraction` of those kept,
    as in the authors' code, but over the layers in `scores` alone; so repeated pruning reaches
    zero. Layers without scores keep their masks. Ties go in the order of layers and of positions
    within them, or, with `together`, all at once, so that more may go than were asked for. Which
    scores compete, and how many of them go, the scope says. Raises SddError for one that is wrong.
    """
    return _prune(masks, scores, scope, together, lambda kept, _: _ceil(fraction, kept))


def prune_to(
    masks: Masks, scores: Masks, sparsity: float, scope: Scope, *, together: bool = False
) -> dict[str, Tensor]:
    """Masks pruned to a sparsity, counted over the layers in `scores`, lowest scores first; ties
    as in `prune_fraction`."""

    def count(kept: int, size: int) -> int:
        return max(0, _ceil(sparsity, size) - (size - kept))

    return _prune(masks, scores, scope, together, count)


def _prune(
    masks: Masks, scores: Masks, scope: Scope, together: bool, count: Callable[[int, int], int]
) -> dict[str, Tensor]:
    pruned = {name: mask.clone() for name, mask in masks.items()}
    for names, number in _shares(masks, scores, scope, count):
        kept = torch.cat([masks[name].flatten() for name in names])
        ranked = torch.cat([scores[name].flatten() for name in names])
        positions = kept.nonzero().squeeze(1)
        gone = positions[_lowest(ranked[positions], number, together)]
        kept[gone] = False
        for name, part in zip(names, kept.split([masks[n].numel() for n in names]), strict=True):
            pruned[name] = part.view(masks[name].shape)
    return pruned


def _shares(
    masks: Masks, scores: Masks, scope: Scope, count: Callable[[int, int], int]
) -> list[tuple[list[str], int]]:
    """Layers whose scores compete, and how many weights they lose between them."""
    layers = {name: Layer(_count(masks, [name])[0], tuple(masks[name].shape)) for name in scores}
    with blaming(scope):
        return checked_shares(scope, layers, scope.shares(dict(layers), count))


def checked_shares(
    scope: Scope, layers: Mapping[str, Layer], found: Iterable[tuple[Iterable[str], int]]
) -> list[tuple[list[str], int]]:
    """The groups of a scope that have layers. Raises SddError when it does not give each layer a
    place or takes more than there is."""
    shares = [(list(names), int(number)) for names, number in found]
    if sorted(name for names, _ in shares for name in names) != sorted(layers):
        raise SddError(f"scope {label(scope)!r} does not put each layer into one group; expected "
                       f"{', '.join(layers)}, each once")
    for names, number in shares:
        kept = sum(layers[name].kept for name in names)
        if not 0 <= number <= kept:
            raise SddError(f"scope {label(scope)!r} takes {number} weights of {', '.join(names)}; "
                           f"expected 0 to {kept}, which are left there")
    return [(names, number) for names, number in shares if names]


def _lowest(scores: Tensor, count: int, together: bool) -> Tensor:
    """Positions of the `count` lowest scores; of equal ones the first, or all. Selection, not
    sorting: it must not take longer than an epoch on a network of many millions of weights."""
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    threshold = scores.kthvalue(count).values
    if together:
        return (scores <= threshold).nonzero().squeeze(1)
    below = (scores < threshold).nonzero().squeeze(1)
    tied = (scores == threshold).nonzero().squeeze(1)
    return torch.cat([below, tied[: count - len(below)]])


def check_scores(scores: Masks, masks: Masks, prunable: list[str], pruner: str) -> Masks:
    """The scores on the CPU, in the network's order.

    Raises SddError: a layer is missing or unknown, a shape differs, a score is no real number or,
    where the weight is kept, NaN.
    """
    if not isinstance(scores, Mapping):
        raise SddError(f"pruner {pruner!r} returned {type(scores).__name__}; expected a mapping "
                       "from layer to scores")
    if set(scores) != set(prunable):
        wrong = sorted(set(prunable) ^ set(scores))[0]
        problem = "gave no scores for" if wrong in prunable else "scored an unknown layer"
        raise SddError(f"pruner {pruner!r} {problem} {wrong!r}; expected {', '.join(prunable)}")
    for name in prunable:
        if not isinstance(scores[name], Tensor) or scores[name].shape != masks[name].shape:
            shape = list(getattr(scores[name], "shape", []))
            raise SddError(f"pruner {pruner!r}: scores of {name!r} have shape {shape}; "
                           f"expected {list(masks[name].shape)}")
        if scores[name].dtype == torch.bool or scores[name].is_complex():
            raise SddError(f"pruner {pruner!r}: scores of {name!r} are {scores[name].dtype}; "
                           "expected real numbers")
        if scores[name].detach().cpu()[masks[name]].isnan().any():
            raise SddError(f"pruner {pruner!r}: scores of {name!r} are not a number (NaN)")
    return {name: scores[name].detach().cpu() for name in prunable}


def check_masks(masks: Masks, like: Masks, ablation: str) -> dict[str, Tensor]:
    """The masks on the CPU, in the network's order. Raises SddError unless they fit `like`."""
    fits = isinstance(masks, Mapping) and set(masks) == set(like) and all(
        isinstance(masks[name], Tensor)
        and masks[name].dtype == torch.bool
        and masks[name].shape == mask.shape
        for name, mask in like.items()
    )
    if not fits:
        raise SddError(f"ablation {ablation!r} did not return a bool mask of the weight's shape "
                       f"for each of {', '.join(like)}")
    return {name: masks[name].cpu().clone() for name in like}


def _ceil(fraction: float, count: int) -> int:
    # Decimal: 0.2 of 49,200 is 9,840, where floats would say 9,840.000000000002 and take one more.
    return math.ceil(Decimal(repr(fraction)) * count)


def _layer(weight: str) -> str:
    return weight.rpartition(".")[0]
