"""Retraining schedules of pruned levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from sdd_core.level.retraining import Dense, Retraining


PrunedValue = Literal["zero", "initial", "previous", "permuted"]
"""The value at which pruned weights are held: 0, their value at the start of the level, their last
value before pruning, or those last values permuted within each layer."""


class Schedule(Plugin):
    """A retraining schedule: the starting weights, the starting step, the learning rates and the
    length of a level's training after pruning."""

    kind: ClassVar[str] = "retrain"
    noun: ClassVar[str] = "retraining schedule"
    hook: ClassVar[str] = "sdd_schedules"
    title: ClassVar[str] = "Retraining schedules"

    pruned: PrunedValue = Field(
        default="zero", description="value of a level's pruned weights during its training"
    )

    def retraining(self, dense: Dense) -> Retraining:
        """Return the retraining of a level, as data. `dense` describes the dense network's
        training: its learning rate at every step and the number of steps per epoch."""
        raise NotImplementedError
