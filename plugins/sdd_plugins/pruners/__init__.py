"""Pruners: methods that select the weights to prune."""

from sdd_core import Pruner, hookimpl
from sdd_plugins.pruners.gradient import Gradient
from sdd_plugins.pruners.grasp import Grasp
from sdd_plugins.pruners.lamp import Lamp
from sdd_plugins.pruners.magnitude import Magnitude
from sdd_plugins.pruners.random import Random
from sdd_plugins.pruners.slimming import Slimming
from sdd_plugins.pruners.snip import Snip
from sdd_plugins.pruners.synflow import SynFlow
from sdd_plugins.pruners.wanda import Wanda


@hookimpl
def sdd_pruners() -> list[type[Pruner]]:
    return [Magnitude, Lamp, Gradient, Random, Snip, Grasp, SynFlow, Wanda, Slimming]
