from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sdd_core import LevelView, Metric


class LearningDistance(Metric):
    """Learning distance: the l2 distance of a level's final weights from the dense initialisation.

    ||w - w_0||_2, where w_0 is the dense network's initialisation and pruned weights count as 0.
    `learning_distance`, which figures and tables show, covers all trainable parameters, like the
    distance penalty of the authors' code. `learning_distance_weights` covers only the weights of
    linear and convolutional layers, the `w` of the paper's text: no biases and normalisations.
    `learning_distance_by_layer` has one value for each parameter tensor. All are None for a level
    that diverged.
    """

    name = "learning_distance"
    source = "He et al., 2022, arXiv:2206.08684, sec. 3.2 (after Nagarajan & Kolter, 2019)"
    # Revision 1 had no learning_distance_weights.
    revision: ClassVar[int] = 2

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        names = ("learning_distance", "learning_distance_weights", "learning_distance_by_layer")
        if level.diverged:
            return dict.fromkeys(names)
        by_layer = {
            name: (weight.double() - level.initial[name].double()).norm().item()
            for name, weight in level.weights.items()
        }
        weights = (distance for name, distance in by_layer.items() if name in level.masks)
        return dict(zip(names, (_norm(by_layer.values()), _norm(weights), by_layer), strict=True))


def _norm(distances: Iterable[float]) -> float:
    return sum(distance**2 for distance in distances) ** 0.5
