"""Removes units from a traced network."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx, nn

from sdd_core.exports.compact.analysis import Analysis
from sdd_core.exports.compact.folding import fold_branches
from sdd_core.exports.compact.mixing import like
from sdd_core.exports.compact.rules import asks_for_sizes
from sdd_core.exports.compact.units import Value, slices

_SIZED = ("view", "reshape", "unflatten", "expand")


class Rewriting:
    """Changes the layers and operations of an analysed network, in place."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis, self._network = analysis, analysis.network
        self._kept = analysis.solve()
        self._values = analysis.values

    def apply(self) -> None:
        fold_branches(self._analysis, self._kept)
        roots = self._analysis.units.roots
        for layer in self._analysis.layers:
            layer.shrink(self._kept, roots)
        for node in list(self._network.graph.nodes):
            self._restore_size(node)
        for node in list(self._network.graph.nodes):
            if node.op == "get_attr" and node in self._values:
                self._slice_attribute(node)
            elif _name(node) in _SIZED and isinstance(self._values.get(node), Value):
                self._resize(node)
            elif _name(node) == "pad" and node in self._values:
                self._repad(node)
            elif node.op == "call_module" and node in self._values:
                self._resize_unflatten(node)
        self._network.graph.eliminate_dead_code()
        self._network.delete_all_unused_submodules()
        self._network.graph.lint()
        self._network.recompile()

    def _stays(self, node: fx.Node) -> list[Tensor]:
        """Which slices of a tensor stay, along each axis."""
        return slices(self._kept[self._analysis.units.roots(self._values[node].units)])

    def _sizes(self, node: fx.Node) -> list[int]:
        return [int(stays.sum()) for stays in self._stays(node)]

    def _restore_size(self, node: fx.Node) -> None:
        """Make a size that an operation reads what it was, if it has changed."""
        result = self._analysis.results.get(node)
        if type(result) is not int:
            return
        args: Any = node.args
        if node.target is operator.getitem and asks_for_sizes(args[0]):
            tensor, axis = args[0].args[0], args[1]
        elif node.target == "size":
            tensor, axis = args[0], (*args[1:], *node.kwargs.values())[0]
        else:
            return
        if self._sizes(tensor)[axis] != result:
            _replace(node, result)

    def _slice_attribute(self, node: fx.Node) -> None:
        stays = self._stays(node)
        if all(mask.all() for mask in stays):
            return
        path, _, name = str(node.target).rpartition(".")
        owner = self._network.get_submodule(path)
        tensor = before = getattr(owner, name)
        for axis, mask in enumerate(stays):
            tensor = tensor.detach().index_select(axis, mask.nonzero().flatten())
        setattr(owner, name, like(before, tensor) if isinstance(before, nn.Parameter) else tensor)

    def _resize(self, node: fx.Node) -> None:
        """Correct the sizes among the arguments of a reshaping operation."""
        after, before = self._sizes(node), list(self._values[node].shape)
        if after == before:
            return
        args: Any = node.args
        tensor, *rest = args
        start, head = 0, list[Any]()
        if _name(node) == "unflatten":
            axis = rest.pop(0) if rest else node.kwargs["dim"]
            head, start = [axis], axis % self._values[tensor].units.dim()
        given: Any = rest or list(node.kwargs.values())[-1:]
        is_list = len(given) == 1 and isinstance(given[0], tuple | list)
        asked = list(given[0]) if is_list else given
        corrected = self._corrected(asked, before[start:], after[start:])
        node.args = (tensor, *head, corrected)
        node.kwargs = {}

    def _corrected(self, asked: Sequence[Any], before: list[int], after: list[int]) -> list[Any]:
        def correct(size: Any, old: int, new: int) -> Any:
            return size if old == new or size == -1 else new

        return [correct(*sizes) for sizes in zip(asked, before, after, strict=False)]

    def _resize_unflatten(self, node: fx.Node) -> None:
        layer = self._network.get_submodule(str(node.target))
        if isinstance(layer, nn.Unflatten) and isinstance(self._values[node], Value):
            start = layer.dim % self._values[node.all_input_nodes[0]].units.dim()
            after, before = self._sizes(node)[start:], list(self._values[node].shape)[start:]
            layer.unflattened_size = self._corrected(layer.unflattened_size, before, after)

    def _repad(self, node: fx.Node) -> None:
        """Correct how many slices are added, where some of these have units and are not kept."""
        args: Any = node.args
        tensor, amounts, *rest = args
        stays, had = self._stays(node), self._values[tensor].shape
        corrected = list(amounts)
        for number in range(len(amounts) // 2):
            axis = len(had) - 1 - number
            before = amounts[2 * number]
            corrected[2 * number] = int(stays[axis][:before].sum())
            corrected[2 * number + 1] = int(stays[axis][before + had[axis] :].sum())
        node.args = (tensor, corrected, *rest)


def _name(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def _replace(node: fx.Node, number: int) -> None:
    for user in list(node.users):
        user.args = fx.node.map_arg(user.args, lambda used: number if used is node else used)
        user.kwargs = fx.node.map_arg(user.kwargs, lambda used: number if used is node else used)


def count(network: nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
