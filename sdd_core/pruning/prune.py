"""Scores to masks: which weights a level prunes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from sdd_core.data.plain import dense_tensor
from sdd_core.errors import SddError
from sdd_core.level.masks import Masks, kept_and_size
from sdd_core.plugin.kinds import Scope
from sdd_core.pruning.groups import (
    Groups,
    capped,
    groups_that_may_go,
    lines_of,
    lowest_groups,
    positions_of,
)
from sdd_core.pruning.rules import USUAL, Rules, check_together
from sdd_core.pruning.selection import (
    PRUNE_LESS,
    least,
    lowest,
    lowest_within,
    may_go,
    quotas,
    too_few,
)
from sdd_core.pruning.shares import (
    Shares,
    by_fraction,
    groups_of,
    layers_of,
    shares_of,
    to_sparsity,
)


def prune_fraction(
    masks: Masks, scores: Masks, fraction: float, scope: Scope, rules: Rules = USUAL
) -> dict[str, Tensor]:
    """Return masks with a fraction of the remaining weights pruned, lowest scores first.

    The number of pruned weights is `fraction` of those kept, rounded up, as in the authors' code,
    but counted only over the layers in `scores`; so repeated pruning reaches zero. Layers without
    scores keep their masks. Ties are pruned in the order of layers and of positions within them.
    The scope decides which scores compete and how many weights each group loses; `lowest_within`
    distributes this number over the outputs of a layer.

    Raises SddError for an invalid scope, and if `rules` leave too few weights to prune.
    """
    return _prune(masks, scores, scope, rules, by_fraction(fraction))


def prune_to(
    masks: Masks, scores: Masks, sparsity: float, scope: Scope, rules: Rules = USUAL
) -> dict[str, Tensor]:
    """Return masks pruned to a sparsity, counted over the layers in `scores`, lowest scores first;
    otherwise like `prune_fraction`."""
    return _prune(masks, scores, scope, rules, to_sparsity(sparsity))


def prune_to_counts(
    masks: Masks, scores: Masks, wanted: Callable[[list[str]], int], scope: Scope,
    rules: Rules = USUAL,
) -> dict[str, Tensor]:
    """Return masks pruned to a number of weights, lowest scores first; otherwise like
    `prune_fraction`. wanted: the number that a group of layers whose scores compete keeps; a group
    that has fewer keeps all."""
    shares = [(names, max(0, kept_and_size(masks, names)[0] - wanted(names)))
              for names in groups_of(scope, masks, scores)]
    return _prune_shares(masks, scores, scope, rules, shares)


def _prune(
    masks: Masks, scores: Masks, scope: Scope, rules: Rules, count: Callable[[int, int], int]
) -> dict[str, Tensor]:
    shares = shares_of(scope, layers_of(masks, scores), count)
    return _prune_shares(masks, scores, scope, rules, shares)


def _prune_shares(
    masks: Masks, scores: Masks, scope: Scope, rules: Rules, shares: Shares
) -> dict[str, Tensor]:
    """Prune a number of weights of each group of layers."""
    check_together(scope, rules.prune_ties)
    pruned = {name: mask.clone() for name, mask in masks.items()}
    layers = layers_of(masks, scores)
    for names, number in shares:
        if rules.pattern is not None:
            for name, gone in _groups_to_prune(masks, scores, names, number, scope, rules):
                pruned[name].view(-1)[gone.flatten()] = False
            continue
        free = [
            may_go(scores[name].flatten(), masks[name].flatten(),
                   least(rules.keep_at_least, layers[name].size), rules.prune_ties)
            for name in names
        ]
        spare = sum(int(one.sum()) for one in free)
        if rules.keep_at_least is not None and number > spare:
            raise too_few(f"pruner.keep_at_least {rules.keep_at_least:g}", spare, number, names,
                          f"keep fewer, or {PRUNE_LESS}")
        if scope.within is not None:
            name = names[0]
            pruned[name] &= ~lowest_within(scores[name], masks[name], number, rules.layout(name),
                                           scope.within)
            continue
        positions = torch.cat(free).nonzero().squeeze(1)
        ranked = torch.cat([scores[name].flatten() for name in names])
        kept = torch.cat([masks[name].flatten() for name in names])
        kept[positions[lowest(ranked[positions], number, rules.prune_ties)]] = False
        for name, part in zip(names, kept.split([layers[n].size for n in names]), strict=True):
            pruned[name] = part.view(masks[name].shape)
    return pruned


def _groups_to_prune(
    masks: Masks, scores: Masks, names: list[str], number: int, scope: Scope, rules: Rules
) -> Iterator[tuple[str, Tensor]]:
    """Yield for each of the layers `names`, whose scores compete, the positions of the weights to
    prune: `number` in total, or the rest of the last group more."""
    pattern = rules.pattern
    assert pattern is not None
    found = []
    for name in names:
        positions = positions_of(pattern, name, masks[name].shape, rules.layout(name))
        floor = least(rules.keep_at_least, masks[name].numel())
        found.append(groups_that_may_go(scores[name], masks[name], positions, pattern,
                                        rules.combine, floor))
    spare = sum(int(groups.sizes.sum()) for groups in found)
    if number > spare and (pattern.keep is not None or rules.keep_at_least is not None):
        raise too_few(f"pruner.pattern {pattern.text!r}", spare, number, names,
                      f"{PRUNE_LESS}, or lower pruner.keep_at_least")
    if scope.within is not None:
        layout = rules.layout(names[0])
        lines = lines_of(found[0], masks[names[0]], layout, scope.within, names[0])
        left = layout.lines(masks[names[0]], scope.within).sum(1)
        room = torch.zeros_like(left).index_add_(0, lines, found[0].sizes)
        limits = capped(quotas(left, number), room)
    else:
        lines = torch.zeros(sum(len(groups.sizes) for groups in found), dtype=torch.int64)
        limits = torch.tensor([number])
    together = Groups(torch.empty(0), torch.cat([groups.scores for groups in found]),
                      torch.cat([groups.sizes for groups in found]))
    gone = lowest_groups(together, limits, lines, rules.prune_ties)
    for name, groups, part in zip(
        names, found, gone.split([len(groups.sizes) for groups in found]), strict=True
    ):
        yield name, groups.members[part]


def check_scores(scores: Masks, masks: Masks, prunable: list[str], who: str) -> Masks:
    """Return the scores on the CPU, in the network's order.

    Raises SddError if a layer is missing or unknown, a shape differs, a score is not a real number,
    or the score of a kept weight is NaN.
    """
    if not isinstance(scores, Mapping):
        raise SddError(f"{who} returned {type(scores).__name__}; expected a mapping "
                       "from layer to scores")
    if set(scores) != set(prunable):
        wrong = sorted(set(prunable) ^ set(scores))[0]
        problem = "gave no scores for" if wrong in prunable else "scored an unknown layer"
        raise SddError(f"{who} {problem} {wrong!r}; expected {', '.join(prunable)}")
    return {name: _checked_scores(scores[name], masks[name], who, name) for name in prunable}


def _checked_scores(given: Any, mask: Tensor, who: str, name: str) -> Tensor:
    what = f"{who}: scores of {name!r}"
    try:
        scores = dense_tensor(given)
    except TypeError as error:
        raise SddError(f"{what}: {error}; expected a tensor of real numbers") from None
    if scores.shape != mask.shape:
        raise SddError(f"{what} have shape {list(scores.shape)}; expected {list(mask.shape)}")
    if scores.dtype == torch.bool or scores.is_complex():
        raise SddError(f"{what} are {scores.dtype}; expected real numbers")
    if scores[mask].isnan().any():
        raise SddError(f"{what} are not a number (NaN)")
    return scores


def check_masks(masks: Masks, like: Masks, who: str) -> dict[str, Tensor]:
    """Return the masks on the CPU, in the network's order. Raises SddError unless their names and
    shapes are those of `like`. who: the plugin that returned them, for the message."""
    problem = f"{who} did not return a bool mask of the weight's shape for each " \
              f"of {', '.join(like)}"
    if not isinstance(masks, Mapping) or set(masks) != set(like):
        raise SddError(problem)
    try:
        found = {name: dense_tensor(masks[name]).clone() for name in like}
    except TypeError as error:
        raise SddError(f"{problem}: {error}") from None
    if any(mask.dtype != torch.bool or mask.shape != like[name].shape
           for name, mask in found.items()):
        raise SddError(problem)
    return found
