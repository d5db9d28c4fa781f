from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from sdd_core import LearningRateSchedule


def _growing(milestones: tuple[float, ...]) -> tuple[float, ...]:
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones {list(milestones)} must grow")
    return milestones


class Steps(LearningRateSchedule):
    """The rate drops by a factor after each of some milestones."""

    name = "steps"

    milestones: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...], AfterValidator(_growing)
    ] = Field(default=(0.5, 0.75), description="fractions of the training after which it drops")
    gamma: float = Field(default=0.1, gt=0, le=1, description="factor of each drop")

    def factors(self, steps: int) -> np.ndarray:
        drops = [round(milestone * steps) for milestone in self.milestones]
        passed = np.searchsorted(drops, np.arange(steps), side="right")
        return self.gamma ** passed.astype(np.float64)
