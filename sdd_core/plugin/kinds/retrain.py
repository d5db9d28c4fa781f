"""Retraining schedules of pruned levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from sdd_core.plugin.base import AddedLater, Plugin

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
    epochs: Annotated[int | None, AddedLater()] = Field(
        default=None, ge=0, le=100_000,
        description="epochs of retraining, over which the schedule's learning rates are squeezed "
        "or stretched; 0: pruned levels are measured without retraining; default: those of the "
        "schedule",
    )
    recalibrate: Annotated[int, AddedLater()] = Field(
        default=0, ge=0, le=1_000_000,
        description="training batches over which the statistics of batch normalisations are "
        "estimated anew after pruning and retraining; default: none",
    )

    def retraining(self, dense: Dense) -> Retraining:
        """Return the retraining of the level `dense.level`, as data. `dense` describes the dense
        network's training: its learning rate at every step and the number of steps per epoch; do
        not change it. Levels may be retrained differently, but not by how many follow, because a
        run can be continued with more levels. Without a step
        (`train.epochs = 0`), a schedule may return none either.

        The engine applies `epochs`, unless the class has an option of that name itself."""
        raise NotImplementedError

    def engine_epochs(self) -> int | None:
        """Return the epochs over which the engine squeezes or stretches the retraining; None if
        `epochs` is not set, or is the class's own option."""
        own = any("epochs" in vars(one).get("__annotations__", ())
                  for one in type(self).__mro__[:type(self).__mro__.index(Schedule)])
        return None if own else self.epochs
