from collections.abc import Mapping
from typing import Any

from sdd_core import LevelView, Metric


class LearningDistance(Metric):
    """Learning distance: how far, in l2 norm, the weights are from the dense initialisation.

    ||w - w_0||_2 over all trainable parameters, where w_0 is the dense network's initialisation
    and pruned weights count as 0; and the same for each parameter tensor.
    """

    name = "learning_distance"
    source = "He et al., 2022, arXiv:2206.08684, sec. 4 (after Nagarajan & Kolter, 2019)"

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        by_layer = {
            name: (weight.double() - level.initial[name].double()).norm().item()
            for name, weight in level.weights.items()
        }
        total = sum(distance**2 for distance in by_layer.values()) ** 0.5
        if level.diverged:
            return {"learning_distance": None, "learning_distance_by_layer": None}
        return {"learning_distance": total, "learning_distance_by_layer": by_layer}
