import numpy as np

from sdd_core import LearningRateSchedule


class Cosine(LearningRateSchedule):
    """The rate falls to 0 along half a cosine."""

    name = "cosine"
    source = "Loshchilov & Hutter, 2017, arXiv:1608.03983, eq. 5, without restarts"

    def factors(self, steps: int) -> np.ndarray:
        return (1 + np.cos(np.pi * np.arange(steps) / steps)) / 2
