"""Which weights of a group go: the lowest scores, exactly as many as were asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.level.layers import Layout, Side
from sdd_core.plugin.kinds.scope import Layer

Shares = Sequence[tuple[Sequence[str], int]]
"""Layers whose scores compete, and how many weights they lose between them."""


def share(fraction: float, count: int) -> int:
    """Return the smallest whole number that is at least a fraction of a count."""
    # Decimal: 0.2 of 49,200 is 9,840, where floats would say 9,840.000000000002 and take one more.
    return math.ceil(Decimal(repr(fraction)) * count)


def least(keep_at_least: float | None, size: int) -> int:
    """Return how many weights a layer of this size keeps: a count (int), or a fraction of them."""
    if keep_at_least is None:
        return 0
    return keep_at_least if isinstance(keep_at_least, int) else share(keep_at_least, size)


def lowest(scores: Tensor, count: int, prune_ties: bool) -> Tensor:
    """Return positions of the `count` lowest scores; of equal ones the first, or, with `together`,
    all of them. Selection, not sorting: it must not take longer than an epoch on a network of many
    millions of weights."""
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    threshold = scores.kthvalue(count).values
    if prune_ties:
        return (scores <= threshold).nonzero().squeeze(1)
    below = (scores < threshold).nonzero().squeeze(1)
    tied = (scores == threshold).nonzero().squeeze(1)
    return torch.cat([below, tied[: count - len(below)]])


def may_go(scores: Tensor, kept: Tensor, floor: int, prune_ties: bool) -> Tensor:
    """Return `kept` without the weights that a layer never loses: those with the highest scores,
    `floor` of them; with `together` also what is equal to them.

    scores, kept: of one layer, `[weights]`.
    """
    if not floor:
        return kept
    positions = kept.nonzero().squeeze(1)
    spare = max(0, len(positions) - floor)
    free = torch.zeros_like(kept)
    if not spare:
        return free
    if prune_ties:
        # A channel whose weights are all equal goes whole or stays whole.
        held = scores[positions].kthvalue(spare + 1).values
        free[positions[scores[positions] < held]] = True
    else:
        free[positions[lowest(scores[positions], spare, False)]] = True
    return free


def lowest_within(scores: Tensor, kept: Tensor, count: int, layout: Layout, side: Side) -> Tensor:
    """Return a mask of the `count` weights that go where scores compete within each output, or
    input, of a layer: of each the lowest, in proportion to what it has left.

    What whole numbers leave of that goes to the largest remainders, of equal ones the first.

    scores, kept: in the weight's shape. Sorts all outputs at once.
    """
    left, ranked = layout.lines(kept, side), layout.lines(scores, side)
    order = ranked.argsort(dim=1, stable=True)
    in_order = left.gather(1, order)
    gone = in_order & (in_order.cumsum(1) <= _quotas(left.sum(1), count)[:, None])
    lines = torch.zeros_like(left).scatter_(1, order, gone)
    return layout.from_lines(lines, side, tuple(kept.shape))


def _quotas(left: Tensor, count: int) -> Tensor:
    """`count` shared out in proportion to how many weights are left of each, int64 `[lines]`."""
    whole = int(left.sum())
    quotas, remainders = left * count // max(1, whole), left * count % max(1, whole)
    rest = count - int(quotas.sum())
    quotas[remainders.argsort(descending=True, stable=True)[:rest]] += 1
    return quotas


def first_impossible(
    layers: Mapping[str, Layer],
    shares: Callable[[Mapping[str, Layer], int], Shares],
    levels: int,
    keep_at_least: float,
) -> int | None:
    """Return the first level at which some group of layers has to lose more than `keep_at_least`
    lets go, as far as that is known before there are scores; None where none has.

    shares: the groups at a level and what each loses there.
    """
    for level in range(1, levels + 1):
        groups = shares(layers, level)
        left = dict(layers)
        for names, number in groups:
            spare = {n: max(0, layers[n].kept - least(keep_at_least, layers[n].size))
                     for n in names}
            if number > sum(spare.values()):
                return level
            for name, taken in _taken(spare, number):
                left[name] = layers[name]._replace(kept=layers[name].kept - taken)
        if len(groups) > 1 and any(len(names) > 1 for names, _ in groups):
            return None  # how many each layer loses is up to scores, and may decide the next level
        layers = left
    return None


def _taken(spare: Mapping[str, int], number: int) -> Iterator[tuple[str, int]]:
    """A number taken from layers, from the first as much as it can spare."""
    for name, most in spare.items():
        yield name, min(most, number)
        number -= min(most, number)


def too_few(keep_at_least: float, spare: int, number: int, names: Sequence[str]) -> SddError:
    """Return the error where more weights have to go than may."""
    where = names[0] if len(names) == 1 else f"{len(names)} layers"
    return SddError(
        f"pruner.keep_at_least {keep_at_least:g} lets {spare} more weights of {where} go, but "
        f"{number} have to at this level; keep fewer, or prune less (pruner.fraction, "
        "pruner.sparsity, levels)"
    )
