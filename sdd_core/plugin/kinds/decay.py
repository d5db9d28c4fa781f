"""How the learning rate changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import numpy as np


class LearningRateSchedule(Plugin):
    """How the learning rate changes while the dense network trains."""

    kind: ClassVar[str] = "decay"
    hook: ClassVar[str] = "sdd_decays"
    title: ClassVar[str] = "Learning-rate schedules"

    def factors(self, steps: int) -> np.ndarray:
        """Return what `train.lr` is multiplied by at every step of the dense network's training,
        float64 `[steps]`, 0 or more. The engine multiplies warm-up to it."""
        raise NotImplementedError
