"""Optimizers."""

from sdd_core import Optimizer, hookimpl
from sdd_plugins.optimizers.muon import Muon
from sdd_plugins.optimizers.of_torch import OF_TORCH
from sdd_plugins.optimizers.sam import Sam
from sdd_plugins.optimizers.sgd import Sgd


@hookimpl
def sdd_optimizers() -> list[type[Optimizer]]:
    return [Sgd, Sam, Muon, *OF_TORCH]
