"""How a pruned level is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

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


    from sdd_core.level.retraining import Dense, Retraining


PrunedValue = Literal["zero", "initial", "previous", "permuted"]
"""Where pruned weights are held: at 0, at what the level starts from, at the last value before
they were pruned, or at those values in another order within each layer."""


class Schedule(Plugin):
    """A retraining schedule: from which weights, at which step, with which learning rates and
    for how long a level trains after it has been pruned."""

    kind: ClassVar[str] = "retrain"
    noun: ClassVar[str] = "retraining schedule"
    hook: ClassVar[str] = "sdd_schedules"
    title: ClassVar[str] = "Retraining schedules"

    pruned: PrunedValue = Field(
        default="zero", description="where a level's pruned weights are held while it trains"
    )

    def retraining(self, dense: Dense) -> Retraining:
        """The retraining of a level, as data. `dense` is what the dense network's training was:
        its learning rate at every step and the number of steps in an epoch."""
        raise NotImplementedError
