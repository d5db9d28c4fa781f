"""Rules for the choice of weights to prune, in addition to the scope."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sdd_core.errors import SddError
from sdd_core.level.layers import Layout
from sdd_core.level.masks import Masks
from sdd_core.plugin.kinds import Scope, label
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.plugin.pattern import Pattern
from sdd_core.pruning.groups import Combine, positions_of


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


def check_together(scope: Scope, prune_ties: bool) -> None:
    """Raise SddError for a pruner of whole channels with a scope that would split them."""
    if prune_ties and scope.within is not None:
        raise SddError(f"scope {label(scope)!r} compares scores within each {scope.within}, which "
                       "splits the channels that this pruner prunes as a whole; choose 'global', "
                       "'layer' or 'erk' for pruner.scope")


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
