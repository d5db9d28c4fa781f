"""Scopes: groups of weights whose scores compete."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

from sdd_core.plugin.base import Plugin


class Layer(NamedTuple):
    """A layer as a scope sees it. kept: number of remaining weights. shape: that of its weights."""

    kept: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of its weights, including pruned ones."""
        return math.prod(self.shape)


class Scope(Plugin):
    """The groups of weights whose scores compete.

    within: 'output' or 'input' if scores compete within each output, or input, of a layer, which
        are then all pruned by the same fraction. Each layer must then be its own group.
    """

    kind: ClassVar[str] = "scope"
    hook: ClassVar[str] = "sdd_scopes"
    title: ClassVar[str] = "Scopes"
    within: ClassVar[Literal["output", "input"] | None] = None

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> Sequence[tuple[Sequence[str], int]]:
        """Return groups of layers whose scores compete, each with the number of weights to prune.

        The engine distributes this number over outputs or inputs.

        layers: the layers that may be pruned, in the network's order; each belongs to one group.
        count: `count(kept, size)` returns the number to prune if `kept` of `size` weights remain.
        """
        raise NotImplementedError
