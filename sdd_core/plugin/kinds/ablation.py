"""Ablations: changes to a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from sdd_core.level.level import LevelView
    from sdd_core.level.retraining import Dense, Retraining


class Ablation(Plugin):
    """A change to the masks or the retraining of each pruned level.

    The levels themselves stay unchanged and are shared with the run without the ablation. Each
    level except the dense one is trained once more with the change, and this second network is
    measured. It is reported at the sparsity of the unchanged level.
    """

    kind: ClassVar[str] = "ablation"
    hook: ClassVar[str] = "sdd_ablations"
    title: ClassVar[str] = "Ablations"

    def masks(self, level: LevelView) -> Mapping[str, Tensor]:
        """Return the masks to train under, bool, instead of `level.masks`."""
        return level.masks

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        """Return how to train level `level`, 1 or more, instead of the schedule's `retraining`."""
        return retraining
