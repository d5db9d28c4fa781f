"""The sparsity of each level, in place of a fraction per level."""

from sdd_core import Sparsities, hookimpl
from sdd_plugins.sparsities.curves import Cubic, Geometric, Linear


@hookimpl
def sdd_sparsities() -> list[type[Sparsities]]:
    return [Linear, Geometric, Cubic]
