"""Replaces whole branches that do not depend on the input by what they compute."""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor, fx

from sdd_core.exports.compact.analysis import Analysis
from sdd_core.exports.compact.elementwise import elementwise, product
from sdd_core.exports.compact.rules import find_rule
from sdd_core.exports.compact.units import Value

# An operation can't change a constant in place.
_COPYING: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def fold_branches(analysis: Analysis, kept: Tensor) -> None:
    """Make sums and products with a branch of constants read these, one for each channel.

    The branch is left without a reader. Such branches are residual ones whose last convolution has
    no weights.
    """
    for node in list(analysis.network.graph.nodes):
        if node.op != "call_function" or find_rule(node, None) not in (elementwise, product):
            continue
        varying = [used for used in node.all_input_nodes if _varies(analysis, used, node)]
        for used in node.all_input_nodes if varying else []:
            constant = _constant(analysis, used, kept)
            if constant is not None:
                _read(analysis.network, node, used, constant)


def _varies(analysis: Analysis, used: fx.Node, node: fx.Node) -> bool:
    """Whether an input that is not a constant has the form of the result."""
    value = analysis.values.get(used)
    return (
        isinstance(value, Value)
        and bool(value.known.isnan().any())
        and value.shape == analysis.values[node].shape
    )


def _constant(analysis: Analysis, used: fx.Node, kept: Tensor) -> Tensor | None:
    """The constants that an input consists of, in a form to broadcast, if they are not more than
    one for each slice along one axis."""
    value = analysis.values.get(used)
    if used.op == "get_attr" or not isinstance(value, Value) or value.known.isnan().any():
        return None
    constant, stays = value.known, kept[analysis.units.roots(value.units)]
    for axis in range(constant.dim()):
        others = [other for other in range(constant.dim()) if other != axis]
        mask = stays.amax(others) if others else stays
        constant = constant.index_select(axis, mask.nonzero().flatten())
    for axis in range(constant.dim()):
        first = constant.narrow(axis, 0, 1)
        constant = first if (constant == first).all() else constant
    return constant.clone() if constant.numel() == max(constant.shape, default=1) else None


def _read(network: fx.GraphModule, node: fx.Node, used: fx.Node, constant: Tensor) -> None:
    """Make an operation read a constant instead of one of its inputs."""
    name = f"{used.name}_constant"
    network.register_buffer(name, constant)
    with network.graph.inserting_before(node):
        node.replace_input_with(used, network.graph.get_attr(name))
    node.target = _COPYING.get(node.target, node.target)
