"""Sparse training: masks that move while a level trains."""

from sdd_core import SparseTraining, hookimpl
from sdd_plugins.sparse_training.ac_dc import AcDc
from sdd_plugins.sparse_training.gmp import Gmp
from sdd_plugins.sparse_training.rigl import RigL
from sdd_plugins.sparse_training.set import Set


@hookimpl
def sdd_sparse_training() -> list[type[SparseTraining]]:
    return [RigL, Set, Gmp, AcDc]
