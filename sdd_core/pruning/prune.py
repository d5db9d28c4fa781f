"""Scores to masks: which weights a level prunes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sdd_core.data.plain import dense_tensor, whole
from sdd_core.errors import SddError
from sdd_core.level.layers import Layout
from sdd_core.level.masks import Masks, kept_and_size
from sdd_core.plugin.isolation import attribute_errors
from sdd_core.plugin.kinds import Scope, label
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.plugin.pattern import Pattern
from sdd_core.pruning.groups import (
    Combine,
    Groups,
    capped,
    groups_that_may_go,
    lines_of,
    lowest_groups,
    positions_of,
)
from sdd_core.pruning.selection import (
    first_impossible,
    least,
    lowest,
    lowest_within,
    may_go,
    quotas,
    share,
    too_few,
)


class Rules(NamedTuple):
    """Rules for the choice of weights, in addition to the scope.

    prune_ties: equal scores are pruned together, even if that is more than the requested number.
    keep_at_least: minimum of weights that each layer keeps, a count (int) or a fraction (float);
        None: no minimum.
    layouts: the layout of each weight (default: `[outputs, inputs, ...]`).
    pattern: the groups in which weights are pruned (default: each alone). combine: how scores of
        weights become the score of a group.
    """

    prune_ties: bool = False
    keep_at_least: float | None = None
    layouts: Mapping[str, Layout] = {}
    pattern: Pattern | None = None
    combine: Combine = "sum"

    def layout(self, name: str) -> Layout:
        """Return the layout of a weight."""
        return self.layouts.get(name, Layout())


USUAL = Rules()

PRUNE_LESS = "prune less (pruner.fraction, pruner.sparsity, levels)"


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


def by_fraction(fraction: float) -> Callable[[int, int], int]:
    """Return `count(kept, size)`, the number of weights to prune: a fraction of `kept`."""
    return lambda kept, size: share(fraction, kept)


def to_sparsity(sparsity: float) -> Callable[[int, int], int]:
    """Return `count(kept, size)`, the number of weights to prune to reach a sparsity of `size`."""
    return lambda kept, size: max(0, share(sparsity, size) - (size - kept))


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


def groups_of(scope: Scope, masks: Masks, names: Iterable[str]) -> list[list[str]]:
    """Return the groups of layers whose scores compete."""
    return [group for group, _ in shares_of(scope, _layers(masks, names), by_fraction(0.0))]


def _layers(masks: Masks, names: Iterable[str]) -> dict[str, Layer]:
    return {name: Layer(kept_and_size(masks, [name])[0], tuple(masks[name].shape))
            for name in names}


def _prune(
    masks: Masks, scores: Masks, scope: Scope, rules: Rules, count: Callable[[int, int], int]
) -> dict[str, Tensor]:
    shares = shares_of(scope, _layers(masks, scores), count)
    return _prune_shares(masks, scores, scope, rules, shares)


def _prune_shares(
    masks: Masks, scores: Masks, scope: Scope, rules: Rules, shares: list[tuple[list[str], int]]
) -> dict[str, Tensor]:
    """Prune a number of weights of each group of layers."""
    check_together(scope, rules.prune_ties)
    pruned = {name: mask.clone() for name, mask in masks.items()}
    layers = _layers(masks, scores)
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


def check_pattern(layers: Mapping[str, Layer], rules: Rules) -> None:
    """Raise SddError if a layer cannot be divided into the groups of the pattern."""
    if rules.pattern is not None:
        for name, layer in layers.items():
            positions_of(rules.pattern, name, layer.shape, rules.layout(name))


def check_groups_whole(
    masks: Masks, exempt: Collection[str], rules: Rules, who: str
) -> None:
    """Raise SddError if masks keep a part of a group of the pattern; for N:M, if a group keeps
    fewer than N. who: what made them, for the message."""
    pattern = rules.pattern
    if pattern is None:
        return
    for name in set(masks) - set(exempt):
        positions = positions_of(pattern, name, masks[name].shape, rules.layout(name))
        kept = masks[name].flatten()[positions].sum(1)
        whole_groups = (kept == 0) | (kept == positions.shape[1])
        if not (whole_groups if pattern.keep is None else kept >= pattern.keep).all():
            raise SddError(f"{who}: the mask of {name!r} breaks pruner.pattern {pattern.text!r}")


def check_floor(
    layers: Mapping[str, Layer],
    scope: Scope,
    counts: Callable[[int], Callable[[int, int], int]],
    levels: int,
    keep_at_least: float,
    setting: str,
) -> None:
    """Raise SddError if it is known before training that some level must prune more weights than
    `keep_at_least` allows. counts: returns the `count` function of a level. setting: what requires
    this, for the message."""
    level = first_impossible(
        layers, lambda left, level: shares_of(scope, left, counts(level)), levels, keep_at_least
    )
    if level is not None:
        raise SddError(f"{setting} leaves too few weights for level {level} to prune; keep fewer, "
                       f"or {PRUNE_LESS}")


def check_together(scope: Scope, prune_ties: bool) -> None:
    """Raise SddError for a pruner of whole channels with a scope that would split them."""
    if prune_ties and scope.within is not None:
        raise SddError(f"scope {label(scope)!r} compares scores within each {scope.within}, which "
                       "splits the channels that this pruner prunes as a whole; choose 'global', "
                       "'layer' or 'erk' for pruner.scope")


def shares_of(
    scope: Scope, layers: Mapping[str, Layer], count: Callable[[int, int], int]
) -> list[tuple[list[str], int]]:
    """Return groups of layers whose scores compete, each with its number of weights to prune.
    Raises SddError for an invalid scope."""
    with attribute_errors(scope):
        return checked_shares(scope, layers, scope.shares(dict(layers), count))


def checked_shares(
    scope: Scope, layers: Mapping[str, Layer], found: Iterable[tuple[Iterable[str], int]]
) -> list[tuple[list[str], int]]:
    """Return the groups of a scope that have layers. Raises SddError if a layer is not in exactly
    one group, or if a number is larger than the group."""
    shares = [(list(names), whole(number)) for names, number in found]
    if sorted(name for names, _ in shares for name in names) != sorted(layers):
        raise SddError(f"scope {label(scope)!r} does not put each layer into one group; expected "
                       f"{', '.join(layers)}, each once")
    for names, number in shares:
        if scope.within is not None and len(names) > 1:
            raise SddError(f"scope {label(scope)!r} compares scores within each {scope.within} of "
                           f"a layer, but puts {', '.join(names)} together; expected each layer "
                           "alone")
        kept = sum(layers[name].kept for name in names)
        if not 0 <= number <= kept:
            raise SddError(f"scope {label(scope)!r} prunes {number} weights of {', '.join(names)}; "
                           f"expected 0 to {kept}, the number of remaining weights")
    return [(names, number) for names, number in shares if names]


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
