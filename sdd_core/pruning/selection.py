"""Selection of the weights to prune in a group: the lowest scores, exactly as many as requested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.level.layers import Layout, Side

PRUNE_LESS = "prune less (pruner.fraction, pruner.sparsity, levels)"


def share(fraction: float, count: int) -> int:
    """Return a fraction of a count, rounded up."""
    # Decimal: 0.2 * 49,200 is 9,840; floats would give 9,840.000000000002 and round up to 9,841.
    return math.ceil(Decimal(repr(fraction)) * count)


def least(keep_at_least: float | None, size: int) -> int:
    """Return the minimum number of weights that a layer of this size keeps, from a count (int) or a
    fraction (float)."""
    if keep_at_least is None:
        return 0
    return keep_at_least if isinstance(keep_at_least, int) else share(keep_at_least, size)


def lowest(scores: Tensor, count: int, prune_ties: bool) -> Tensor:
    """Return the positions of the `count` lowest scores; the first ones of equal scores, or with
    `prune_ties` all of them. It uses selection instead of sorting, which would take longer than an
    epoch on a network of many millions of weights."""
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    threshold = scores.kthvalue(count).values
    if prune_ties:
        return (scores <= threshold).nonzero().squeeze(1)
    below = (scores < threshold).nonzero().squeeze(1)
    tied = (scores == threshold).nonzero().squeeze(1)
    return torch.cat([below, tied[: count - len(below)]])


def may_go(scores: Tensor, kept: Tensor, floor: int, prune_ties: bool) -> Tensor:
    """Return `kept` without the weights that a layer must keep: the `floor` ones with the highest
    scores; with `prune_ties` also those with equal scores.

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
        # The weights of a channel have equal scores and are pruned or kept together.
        held = scores[positions].kthvalue(spare + 1).values
        free[positions[scores[positions] < held]] = True
    else:
        free[positions[lowest(scores[positions], spare, False)]] = True
    return free


def lowest_within(scores: Tensor, kept: Tensor, count: int, layout: Layout, side: Side) -> Tensor:
    """Return a mask of the `count` weights to prune if scores compete within each output, or input,
    of a layer: the lowest of each, in proportion to its number of remaining weights.

    Rounding: the largest remainders are rounded up, the first ones of equal remainders.

    scores, kept: in the weight's shape. All outputs are sorted at once.
    """
    left, ranked = layout.lines(kept, side), layout.lines(scores, side)
    order = ranked.argsort(dim=1, stable=True)
    in_order = left.gather(1, order)
    gone = in_order & (in_order.cumsum(1) <= quotas(left.sum(1), count)[:, None])
    lines = torch.zeros_like(left).scatter_(1, order, gone)
    return layout.from_lines(lines, side, tuple(kept.shape))


def quotas(left: Tensor, count: int) -> Tensor:
    """Return `count` distributed in proportion to the remaining weights `left`, int64 `[lines]`."""
    whole = int(left.sum())
    shares, remainders = left * count // max(1, whole), left * count % max(1, whole)
    rest = count - int(shares.sum())
    shares[remainders.argsort(descending=True, stable=True)[:rest]] += 1
    return shares


def too_few(
    setting: str, spare: int, number: int, names: Sequence[str], advice: str
) -> SddError:
    """Return the error for more weights to prune than a setting allows. advice: what to do."""
    where = names[0] if len(names) == 1 else f"{len(names)} layers"
    return SddError(f"{setting} allows {spare} more weights of {where} to be pruned, but this "
                    f"level must prune {number}; {advice}")
