"""How a level trains, as data."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Start = Literal["initialisation", "rewind point", "previous", "fresh"]


@dataclass(frozen=True)
class Dense:
    """How the dense network trained, for a schedule to build on.

    learning_rates: float64 `[steps]`, the learning rate of every step.
    steps_per_epoch: steps (batches) in an epoch.
    """

    learning_rates: np.ndarray
    steps_per_epoch: int


@dataclass(frozen=True)
class Retraining:
    """Where a level's weights start and which steps it trains.

    start: 'initialisation' (the dense network's), 'rewind point' (the dense network after
        `first_step` steps), 'previous' (the end of the level before) or 'fresh' (a new
        initialisation, another at every level).
    learning_rates: float64 `[steps]`, one for each step that is trained.
    first_step: the step of the dense training that the first of them repeats; it decides which
        epoch's order of examples comes first.
    """

    start: Start
    learning_rates: np.ndarray
    first_step: int = 0
