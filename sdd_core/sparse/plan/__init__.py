"""Where a network's numbers lie in the flat arrays that the kernels work on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.plan.perceptron import plan_perceptron
from sdd_core.sparse.plan.records import Plan
from sdd_core.sparse.plan.residual import plan_residual

__all__ = ["Plan", "make_plan"]


def make_plan(
    architecture: Architecture, masks: Sequence[NDArray[np.bool_]], kernels: Sequence[str]
) -> Plan:
    """Return the plan of a network.

    masks: of all parameters. kernels: for each weight; those of a residual network are sparse.
    """
    if architecture.operations:
        return plan_residual(architecture, masks)
    weights = [masks[i] for i in architecture.weights()]
    return plan_perceptron(architecture, weights, kernels)
