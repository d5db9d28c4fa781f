"""Where scores compete."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    pass


class Layer(NamedTuple):
    """A layer as a scope sees it: how many of its weights are kept, and its weights' shape."""

    kept: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many weights it has, pruned ones too."""
        return math.prod(self.shape)


class Scope(Plugin):
    """Where the scores of weights compete.

    within: inside each layer too, within each of its outputs, or inputs, which lose equal shares
        of what they have left. Each layer then is a group of its own.
    """

    kind: ClassVar[str] = "scope"
    hook: ClassVar[str] = "sdd_scopes"
    title: ClassVar[str] = "Scopes"
    within: ClassVar[Literal["output", "input"] | None] = None

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> Sequence[tuple[Sequence[str], int]]:
        """Groups of layers whose scores compete, and how many weights each group loses.

        How a group's number is shared out among outputs or inputs is the engine's business.

        layers: those that may be pruned, in the network's order; each belongs to one group.
        count: how many are to go where `kept` weights of `size` are left, `count(kept, size)`.
        """
        raise NotImplementedError
