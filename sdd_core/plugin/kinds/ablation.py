"""What is changed about a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import (  # noqa: F401 (they belong to the kinds below)
    AddedLater,
    Fraction,
    Frozen,
    NonNegative,
    Plugin,
    Positive,
    label,
)

if TYPE_CHECKING:

    from torch import Tensor

    from sdd_core.level.level import LevelView
    from sdd_core.level.retraining import Dense, Retraining


class Ablation(Plugin):
    """What becomes of a level when one thing about it is changed.

    The levels themselves go on as without it, and are shared with the run that has no ablation:
    each of them but the dense one is trained once more, changed, and it is that network which is
    measured. It stands at the sparsity of the level that it was made from.
    """

    kind: ClassVar[str] = "ablation"
    hook: ClassVar[str] = "sdd_ablations"
    title: ClassVar[str] = "Ablations"

    def masks(self, level: LevelView) -> Mapping[str, Tensor]:
        """The masks to train under, bool, in place of `level.masks`."""
        return level.masks

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        """How to train level `level`, 1 or more, in place of the `retraining` that the schedule
        asked for."""
        return retraining
