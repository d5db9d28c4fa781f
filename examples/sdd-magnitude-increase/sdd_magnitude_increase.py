"""A pruner and a metric based on the change of weights since initialisation."""

from collections.abc import Mapping

from torch import Tensor

from sdd_core import LevelView, Metric, Pruner, hookimpl

sdd_requires = ">=1,<2"


class MagnitudeIncrease(Pruner):
    """Magnitude increase: prune the weights whose magnitude increased least in training.

    The score is |w| - |w_0|, where w_0 is the dense network's initialisation.
    """

    name = "magnitude-increase"
    source = "Zhou et al., 2019, arXiv:1905.01067, 'Mask criteria'"

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        return {
            name: level.weights[name].abs() - level.initial[name].abs() for name in level.prunable
        }


class SignChanges(Metric):
    """The fraction of kept weights whose sign differs from that at initialisation."""

    name = "sign_changes"
    source = "Zhou et al., 2019, arXiv:1905.01067, on signs as all that a ticket needs"

    def measure(self, level: LevelView) -> Mapping[str, float | None]:
        kept = changed = 0
        for name, mask in level.masks.items():
            signs = level.weights[name].sign() != level.initial[name].sign()
            kept, changed = kept + int(mask.sum()), changed + int(signs[mask].sum())
        return {"sign_changes": changed / kept if kept else None}


@hookimpl
def sdd_pruners() -> list[type[Pruner]]:
    return [MagnitudeIncrease]


@hookimpl
def sdd_metrics() -> list[type[Metric]]:
    return [SignChanges]
