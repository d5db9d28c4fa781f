"""Optimizers."""

from sdd_core import Optimizer, hookimpl
from sdd_plugins.optimizers.of_torch import OF_TORCH
from sdd_plugins.optimizers.sgd import Sgd


@hookimpl
def sdd_optimizers() -> list[type[Optimizer]]:
    return [Sgd, *OF_TORCH]
