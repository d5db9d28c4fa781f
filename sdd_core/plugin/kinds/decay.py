"""Learning-rate schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import numpy as np


class LearningRateSchedule(Plugin):
    """A learning-rate schedule for the training of the dense network."""

    kind: ClassVar[str] = "decay"
    hook: ClassVar[str] = "sdd_decays"
    title: ClassVar[str] = "Learning-rate schedules"

    def factors(self, steps: int) -> np.ndarray:
        """Return the factor of `train.lr` at each step of the dense network's training, float64
        `[steps]`, 0 or more. The engine applies the warm-up."""
        raise NotImplementedError
