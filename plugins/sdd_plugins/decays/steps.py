import numpy as np

from sdd_core import Decay, Train


class Steps(Decay):
    """The rate drops by the factor `train.gamma` after each of `train.milestones`."""

    name = "steps"

    def factors(self, steps: int, train: Train) -> np.ndarray:
        drops = [round(milestone * steps) for milestone in train.milestones]
        passed = np.searchsorted(drops, np.arange(steps), side="right")
        return train.gamma ** passed.astype(np.float64)
