"""Measures what a weight costs on this machine."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np

from sdd_core.sparse import kernels
from sdd_core.sparse.costs import KernelCosts
from sdd_core.sparse.mlp import aligned
from sdd_core.sparse.plan import Plan
from sdd_core.sparse.vector import Tile


def fit_costs(*, repeats: int = 30) -> KernelCosts:
    """The costs that `KernelCosts.choose` weighs, as medians of timed layers; takes seconds."""
    return KernelCosts(
        **{
            f"{kernel}_{place}": _nanoseconds(kernel, place == "first", repeats)
            for kernel in ("sparse", "dense")
            for place in ("first", "inner")
        }
    )


def _nanoseconds(kernel: str, first: bool, repeats: int) -> float:
    """One forward and backward pass of 300 units, over the weights that they touch."""
    random = np.random.default_rng(0)
    mask = random.random((300, 784 if first else 300)) < (0.6 if kernel == "sparse" else 1.0)
    plan = Plan([mask], [True], [kernel])
    layer, tile = plan.layers[0], Tile(128)
    units = aligned(plan.units * tile.width, np.float32)
    units[:] = random.standard_normal(units.size)
    parameters = np.zeros(plan.kept.size, np.float32)
    gradients = np.zeros_like(parameters)

    def step() -> float:
        start = perf_counter()
        if kernel == "sparse":
            kernels.sparse_forward(layer, plan.index, parameters, units, False, tile)
            kernels.sparse_backward(layer, plan.index, parameters, gradients, units, first, tile)
        else:
            kernels.dense_forward(layer, parameters, units, False, tile)
            kernels.dense_backward(layer, parameters, gradients, units, first, tile)
        return perf_counter() - start

    step()  # compiles
    return 1e9 * median(step() for _ in range(repeats)) / int(mask.sum())
