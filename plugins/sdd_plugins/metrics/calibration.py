from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field

from sdd_core import LevelView, Metric


class Calibration(Metric):
    """Expected calibration error on the test set: how far confidence is from accuracy.

    Examples are sorted into bins of equal width by the probability of the predicted class; the
    error is the mean over examples of |accuracy - mean confidence| in their bin. (The negative
    log-likelihood, which the same paper uses too, is `test_loss`.) None for a level that diverged.
    """

    name = "calibration"
    source = "Guo et al., 2017, arXiv:1706.04599, eq. 3; Naeini et al., 2015"

    bins: int = Field(default=15, ge=1, description="number of bins between 0 and 1")

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        if level.diverged:
            return {"calibration_error": None}
        confidence, predicted = level.test_logits.double().softmax(1).max(1)
        gap = (predicted == level.data.test.labels).double() - confidence
        # Bin m covers ((m - 1) / bins, m / bins].
        bins = (confidence * self.bins).ceil().long() - 1
        sums = torch.zeros(self.bins, dtype=torch.float64).index_add(0, bins, gap)
        return {"calibration_error": sums.abs().sum().item() / len(gap)}
