"""Sparse kernels: networks of known layers, trained at a cost that falls with their density."""

from sdd_core.sparse.mlp import Evaluation, SparseMLP
from sdd_core.sparse.module import load, save, supports
from sdd_core.training.costs import KernelCosts

__all__ = ["Evaluation", "KernelCosts", "SparseMLP", "load", "save", "supports"]
