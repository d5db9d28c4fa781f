"""The sparsity of each level."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    pass


class SparsitySchedule(Plugin):
    """The sparsity of each level."""

    kind: ClassVar[str] = "sparsity"
    hook: ClassVar[str] = "sdd_sparsities"
    title: ClassVar[str] = "Sparsities of the levels"

    def sparsity(self, level: int) -> float:
        """Of level 1 and up, between 0 and 1, no less than the level before. It must not depend on
        how many levels an experiment has: more may be added later."""
        raise NotImplementedError

    def levels(self) -> int | None:
        """How many levels an experiment has that does not say so; None: as many as usual."""
        return None
