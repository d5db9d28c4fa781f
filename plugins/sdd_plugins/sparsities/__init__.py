"""Sparsity schedules: the sparsity of each level, instead of a fraction per level."""

from sdd_core import SparsitySchedule, hookimpl
from sdd_plugins.sparsities.curves import Cubic, Geometric, Linear


@hookimpl
def sdd_sparsities() -> list[type[SparsitySchedule]]:
    return [Linear, Geometric, Cubic]
