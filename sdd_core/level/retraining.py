"""Retraining of a level, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from sdd_core.errors import SddError
from sdd_core.output.brief import numbers

Start = Literal["initialisation", "rewind point", "previous", "fresh", "level"]

LARGEST_RATE = 1e30
"""The largest learning rate that does not overflow in float32 before training starts."""


@dataclass(frozen=True)
class Dense:
    """The dense network's training, on which schedules are based.

    learning_rates: float64 `[steps]`, the learning rate of every step.
    steps_per_epoch: steps (batches) in an epoch.
    level: the level to retrain, 1 or more.
    """

    learning_rates: np.ndarray
    steps_per_epoch: int
    level: int = 1

    def __repr__(self) -> str:
        return (f"<Dense: {len(self.learning_rates):,} steps, {self.steps_per_epoch:,} in an epoch"
                f", learning rates {numbers(self.learning_rates.tolist())}>")


@dataclass(frozen=True)
class Retraining:
    """The starting weights of a level and the steps of its training.

    start: 'initialisation' (the dense network's), 'rewind point' (the dense network after
        `first_step` steps), 'previous' (the end of the level before), 'fresh' (a new
        initialisation, different at every level) or, only for an ablation, 'level' (the end of the
        level that it changes).
    learning_rates: float64 `[steps]`, one for each step.
    first_step: the step of the dense training that corresponds to the first step; it decides with
        which epoch's order of examples the training starts.
    masked_steps: the number of steps during which pruned weights stay fixed; afterwards all weights
        are trained (None: pruned weights always stay fixed).
    """

    start: Start
    learning_rates: np.ndarray
    first_step: int = 0
    masked_steps: int | None = None

    def __repr__(self) -> str:
        masked = "" if self.masked_steps is None else f", masked for {self.masked_steps:,}"
        rates = np.ravel(self.learning_rates).tolist()
        return (f"<Retraining from {self.start} at step {self.first_step:,}: {len(rates):,} "
                f"steps{masked}, learning rates {numbers(rates)}>")

    def over(self, steps: int) -> Retraining:
        """Return this retraining with its learning rates, and the time under masks, squeezed or
        stretched over another number of steps."""
        before = len(self.learning_rates)
        if before == steps:
            return self
        rates = self.learning_rates[np.arange(steps) * before // max(1, steps)]
        masked = self.masked_steps
        if masked is not None:
            masked = round(masked * steps / before)
        return replace(self, learning_rates=rates, masked_steps=masked)

    def check(
        self, schedule: str, dense: Dense, *, of_ablation: bool = False, untrained: bool = False
    ) -> Retraining:
        """Return this retraining with plain numbers, if it is valid.

        of_ablation: True if an ablation returned it; it may then start from the trained level.
        untrained: True if there may be no step.

        Raises SddError if there is no step, a learning rate is negative or not a number, the start
        is unknown, or the first step is outside the dense training.
        """
        which = f"retraining schedule {schedule!r}"
        rates, steps = _rates(self.learning_rates, which), len(dense.learning_rates)
        first = _steps(self.first_step, which, "first_step")
        masked = self.masked_steps
        if masked is not None:
            masked = _steps(masked, which, "masked_steps")
        if rates.ndim != 1 or (len(rates) == 0 and not untrained):
            raise SddError(f"{which} leaves no step to train; the dense network trains {steps}")
        if not ((rates >= 0) & (rates <= LARGEST_RATE)).all():
            raise SddError(f"{which} gives a learning rate that is not between 0 and "
                           f"{LARGEST_RATE:g}; expected one such number for each step")
        starts = [start for start in get_args(Start) if start != "level" or of_ablation]
        if self.start not in starts:
            raise SddError(f"{which} starts from {self.start!r}; expected one of "
                           + ", ".join(map(repr, starts)))
        if masked is not None and not 0 <= masked <= len(rates):
            raise SddError(f"{which} masks {masked} of {len(rates)} steps")
        if not 0 <= first <= steps:
            raise SddError(f"{which} starts at step {first}; the dense network trains "
                           f"steps 0 to {steps}")
        return Retraining(self.start, rates, first, masked)


def checked(
    retraining: Any, schedule: str, dense: Dense, *, of_ablation: bool = False,
    untrained: bool = False,
) -> Retraining:
    """Return what a schedule or an ablation returned, with plain numbers, if it is valid. Raises
    SddError, see `Retraining.check`."""
    if not isinstance(retraining, Retraining):
        raise SddError(f"retraining schedule {schedule!r} returned {type(retraining).__name__}; "
                       "expected a sdd_core.Retraining")
    return retraining.check(schedule, dense, of_ablation=of_ablation, untrained=untrained)


def _rates(given: Any, which: str) -> np.ndarray:
    """Return learning rates as float64. Raises SddError if they are not real numbers."""
    from sdd_core.data.plain import curve  # noqa: PLC0415 (imports torch, which takes a second)

    try:
        return curve(given)
    except TypeError as error:
        raise SddError(f"{which} gives learning rates that are not an array of real numbers: "
                       f"{error}") from None


def _steps(given: Any, which: str, name: str) -> int:
    from sdd_core.data.plain import whole  # noqa: PLC0415 (imports torch)

    try:
        return whole(given)
    except TypeError as error:
        raise SddError(f"{which}: {name}: {error}; expected a number of steps") from None
