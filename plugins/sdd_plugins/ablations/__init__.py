"""Ablations: changes to the masks or the retraining of a level."""

from sdd_core import Ablation, hookimpl
from sdd_plugins.ablations.extended import Extended
from sdd_plugins.ablations.re_dense import ReDense
from sdd_plugins.ablations.reinit import Reinit
from sdd_plugins.ablations.shuffle import Shuffle


@hookimpl
def sdd_ablations() -> list[type[Ablation]]:
    return [Reinit, Shuffle, ReDense, Extended]
