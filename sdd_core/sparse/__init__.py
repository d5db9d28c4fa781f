"""Sparse kernels: networks of known layers, trained at a cost that falls with their density."""

from sdd_core.costs import KernelCosts
from sdd_core.sparse.mlp import Evaluation, SparseMLP
from sdd_core.sparse.module import load, save, supports

__all__ = ["Evaluation", "KernelCosts", "SparseMLP", "load", "save", "supports"]
