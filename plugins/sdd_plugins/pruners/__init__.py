"""Pruners: which of the remaining weights go."""

from sdd_core import Pruner, hookimpl
from sdd_plugins.pruners.gradient import Gradient
from sdd_plugins.pruners.magnitude import Magnitude
from sdd_plugins.pruners.random import Random


@hookimpl
def sdd_pruners() -> list[type[Pruner]]:
    return [Magnitude, Gradient, Random]
