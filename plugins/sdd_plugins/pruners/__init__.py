"""Pruners: methods that select the weights to prune."""

from sdd_core import Pruner, hookimpl
from sdd_plugins.pruners.fisher import Fisher
from sdd_plugins.pruners.gradient import Gradient
from sdd_plugins.pruners.grasp import Grasp
from sdd_plugins.pruners.lamp import Lamp
from sdd_plugins.pruners.magnitude import Magnitude
from sdd_plugins.pruners.movement import Movement
from sdd_plugins.pruners.obd import Obd
from sdd_plugins.pruners.random import Random
from sdd_plugins.pruners.slimming import Slimming
from sdd_plugins.pruners.snip import Snip
from sdd_plugins.pruners.synflow import SynFlow
from sdd_plugins.pruners.taylor import Taylor
from sdd_plugins.pruners.wanda import Wanda


@hookimpl
def sdd_pruners() -> list[type[Pruner]]:
    return [Magnitude, Lamp, Gradient, Movement, Taylor, Fisher, Obd, Random, Snip, Grasp, SynFlow,
            Wanda, Slimming]
