from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from sdd_core import LearningRateSchedule


def _growing(milestones: tuple[float, ...]) -> tuple[float, ...]:
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones {list(milestones)} must be increasing")
    return milestones


class Steps(LearningRateSchedule):
    """The rate is multiplied by a factor at each milestone."""

    name = "steps"

    milestones: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...], AfterValidator(_growing)
    ] = Field(default=(0.5, 0.75), description="fractions of the training at which the rate drops")
    gamma: float = Field(default=0.1, gt=0, le=1, description="factor of the rate at each drop")

    def factors(self, steps: int) -> np.ndarray:
        drops = [round(milestone * steps) for milestone in self.milestones]
        passed = np.searchsorted(drops, np.arange(steps), side="right")
        return self.gamma ** passed.astype(np.float64)
