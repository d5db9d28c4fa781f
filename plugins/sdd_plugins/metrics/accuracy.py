from collections.abc import Mapping
from typing import Any

from sdd_core import LevelView, Metric


class Accuracy(Metric):
    """Loss and accuracy on training and test set, after the last epoch and at the best one.

    Training values use the noisy labels, in evaluation mode and without augmentation. The best
    epoch is the first with the highest test accuracy; the paper plots both. All are None for a
    level that diverged.
    """

    name = "accuracy"
    source = "He et al., 2022, arXiv:2206.08684, sec. 2.3; best and last epoch: sec. 4"

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        values = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
        if level.diverged or not level.epochs:
            names = (*values, "best_epoch", *(f"best_{value}" for value in values))
            return dict.fromkeys(names)
        last = level.epochs[-1]
        best = max(level.epochs, key=lambda epoch: epoch.test_accuracy)
        return {
            **{value: getattr(last, value) for value in values},
            "best_epoch": best.number,
            **{f"best_{value}": getattr(best, value) for value in values},
        }
