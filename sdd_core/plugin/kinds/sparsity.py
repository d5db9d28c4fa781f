"""Sparsity schedules."""

from __future__ import annotations

from typing import ClassVar

from sdd_core.plugin.base import Plugin


class SparsitySchedule(Plugin):
    """A schedule that sets the sparsity of each level."""

    kind: ClassVar[str] = "sparsity"
    hook: ClassVar[str] = "sdd_sparsities"
    title: ClassVar[str] = "Sparsities of the levels"

    def sparsity(self, level: int) -> float:
        """Return the sparsity of a level, 1 or more: between 0 and 1, not less than that of the
        level before, and independent of the experiment's number of levels, which may increase."""
        raise NotImplementedError

    def levels(self) -> int | None:
        """Return the number of levels of an experiment that does not set it; None: the default."""
        return None
