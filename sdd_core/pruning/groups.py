"""Selection of the groups of weights to prune under a pattern: those with the lowest scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.level.layers import Layout, Side
from sdd_core.plugin.pattern import Pattern

Combine = Literal["sum", "mean"]
"""How the scores of the remaining weights of a group become the score of the group."""


def positions_of(pattern: Pattern, name: str, shape: Sequence[int], layout: Layout) -> Tensor:
    """Return the groups of the weight `name` as positions in the flattened weight, int64
    `[groups, weights of each]`. Each position is in one group.

    Raises SddError if a weight of this shape cannot be divided into such groups.
    """
    positions = torch.arange(math.prod(shape)).view(*shape)
    rows, columns = pattern.size
    if not rows:
        return layout.lines(positions, "input")
    matrix = layout.lines(positions, "output")
    if not columns:
        return matrix
    if pattern.keep is not None:
        # Along the inputs: the weights of a group have the same output and kernel position.
        kernel = math.prod(shape[2:])
        matrix = matrix.view(len(matrix), -1, kernel).transpose(1, 2).flatten(0, 1)
    for count, size, what in zip(matrix.shape, pattern.size, ("outputs", "inputs"), strict=True):
        if count % size:
            raise SddError(f"pruner.pattern {pattern.text!r} does not fit {name}, which has "
                           f"{count} {what}, not a multiple of {size}; add it to pruner.exempt, or "
                           "choose another pattern")
    blocks = matrix.reshape(len(matrix) // rows, rows, -1, columns).transpose(1, 2)
    return blocks.reshape(-1, rows * columns)


class Groups(NamedTuple):
    """The groups of one layer that may be pruned.

    members: positions in the flattened weight, int64 `[groups, weights of each]`. scores: float.
    sizes: numbers of remaining weights, int64. scores and sizes: `[groups]`.
    """

    members: Tensor
    scores: Tensor
    sizes: Tensor


def groups_that_may_go(
    scores: Tensor, mask: Tensor, positions: Tensor, pattern: Pattern, combine: Combine, floor: int
) -> Groups:
    """Return the groups of a layer that may be pruned. For N:M these are single weights: of each
    group all but the N with the highest scores.

    positions: the groups of the pattern. floor: number of weights that the layer keeps at least;
        the groups with the highest scores make it up.
    """
    scores, kept = scores.flatten(), mask.flatten()
    if pattern.keep is not None:
        free = _beyond(scores[positions], kept[positions], pattern.keep)
        positions = positions[free].sort().values[:, None]
    there = kept[positions]
    sizes = there.sum(1)
    # In float64: the sum of a large group must not depend on the order of summation.
    total = torch.where(there, scores[positions].double(), 0.0).sum(1)
    found = Groups(positions, total / sizes.clamp(min=1) if combine == "mean" else total, sizes)
    spare = int(kept.sum()) - floor
    return _select(found, _may_go(found, spare) & (sizes > 0))


def _beyond(scores: Tensor, kept: Tensor, keep: int) -> Tensor:
    """Return which kept weights of each group are not among the `keep` highest scores; of equal
    scores the last ones are kept. All tensors are `[groups, weights of each]`."""
    order = scores.argsort(dim=1, stable=True)
    # Pruned weights first, whatever their scores are.
    order = order.gather(1, kept.gather(1, order).int().argsort(dim=1, stable=True))
    lowest = torch.zeros_like(kept).scatter_(
        1, order, (torch.arange(kept.shape[1]) < kept.shape[1] - keep).expand_as(kept))
    return lowest & kept


def _may_go(groups: Groups, spare: int) -> Tensor:
    """Return which groups can be pruned if no more than `spare` weights of the layer can be."""
    order = groups.scores.argsort(stable=True)
    free = torch.zeros(len(order), dtype=torch.bool)
    free[order] = groups.sizes[order].cumsum(0) <= spare
    return free


def _select(groups: Groups, which: Tensor) -> Groups:
    return Groups(*(tensor[which] for tensor in groups))


def lowest_groups(groups: Groups, quotas: Tensor, lines: Tensor, prune_ties: bool) -> Tensor:
    """Return which groups are pruned, bool `[groups]`: of each line those with the lowest scores,
    until they have as many weights as the line's quota, or a part of a group more.

    quotas: number of weights to prune, int64 `[lines]`. lines: the line of each group.
    prune_ties: prune all groups whose score is not above that of a pruned one.
    """
    order = groups.scores.argsort(stable=True)
    order = order[lines[order].argsort(stable=True)]
    sizes, line = groups.sizes[order], lines[order]
    per_line = torch.zeros_like(quotas).index_add_(0, lines, groups.sizes)
    before = sizes.cumsum(0) - sizes - (per_line.cumsum(0) - per_line)[line]
    gone = torch.zeros(len(order), dtype=torch.bool)
    gone[order] = before < quotas[line]
    if prune_ties and gone.any():
        gone = groups.scores <= groups.scores[gone].max()
    return gone


def lines_of(groups: Groups, mask: Tensor, layout: Layout, side: Side, name: str) -> Tensor:
    """Return the output or input that each group belongs to, int64 `[groups]`. Raises SddError if a
    group has weights of several."""
    positions = layout.lines(torch.arange(mask.numel()).view(mask.shape), side)
    line = torch.empty(mask.numel(), dtype=torch.int64)
    line[positions.flatten()] = torch.arange(len(positions)).repeat_interleave(positions.shape[1])
    found = line[groups.members]
    if (found != found[:, :1]).any():
        raise SddError(f"pruner.pattern: the groups of {name} belong to several {side}s, but "
                       f"pruner.scope compares scores within each {side}; choose another scope")
    return found[:, 0]


def capped(quotas: Tensor, spare: Tensor) -> Tensor:
    """Return quotas of at most `spare`, with the same sum if that is possible: what is too much for
    one line goes to those with the most room."""
    over = int((quotas - spare).clamp(min=0).sum())
    quotas = torch.minimum(quotas, spare)
    room = spare - quotas
    order = room.argsort(descending=True, stable=True)
    taken = room[order].cumsum(0).clamp(max=over)
    quotas[order] += taken.diff(prepend=taken.new_zeros(1))
    return quotas
