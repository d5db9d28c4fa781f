"""What a trace shows about the units of a network."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn

from sdd_core.errors import SddError, format_error
from sdd_core.exports.compact.elementwise import elementwise, product
from sdd_core.exports.compact.mixing import Mixing, Sliced
from sdd_core.exports.compact.moves import sizes
from sdd_core.exports.compact.rules import asks_for_sizes, find_rule, is_batch_size
from sdd_core.exports.compact.step import Step, kept, nothing_known, values_in
from sdd_core.exports.compact.tracing import has_hooks
from sdd_core.exports.compact.units import KEPT, Units, Value


class Analysis:
    """Goes through the operations once, forward.

    results: what each one returned for the example. values: what is known about each tensor.
    layers: what is to be done to the layers when units are removed.
    """

    def __init__(self, network: fx.GraphModule, example: Tensor) -> None:
        self.network, self.units = network, Units()
        self.results: dict[fx.Node, Any] = {}
        self.values: dict[fx.Node, Any] = {}
        self.layers: list[Mixing | Sliced] = []
        self._example = example
        self._of_batch: set[fx.Node] = set()  # numbers that depend on the size of the batch
        self._shared = _shared(network)
        for node in network.graph.nodes:
            self._visit(node)

    def solve(self) -> Tensor:
        """Return which units must be kept, by unit: a Boolean for each."""
        mixing = [layer for layer in self.layers if isinstance(layer, Mixing)]
        table = self.units.no_units()
        while True:
            before = int(table.sum())
            for layer in reversed(mixing):
                table[layer.needed(table, self.units.roots)] = True
            table = self.units.complete(table)
            if before == int(table.sum()):
                for layer in mixing:
                    standing = layer.representative(table, self.units.roots)
                    if standing is not None:
                        table[self.units.roots(layer.inputs)[standing]] = True
            if before == int(table.sum()):
                return table

    def _visit(self, node: fx.Node) -> None:
        result = _exact(self._result(node))
        self.results[node] = result
        if not isinstance(result, Tensor) and (
            is_batch_size(node) or self._of_batch & set(node.all_input_nodes)
        ):
            self._of_batch.add(node)
        value = self._value(node, result)
        if value is not None:
            self.values[node] = value
            for one in values_in(value):
                self.units.add(one.units)

    def _result(self, node: fx.Node) -> Any:
        """Carry out an operation on the example."""
        if node.op == "placeholder":
            return self._example
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.network)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.results.__getitem__)
        if node.op == "output":
            return args[0]
        try:
            return self._function(node)(*args, **kwargs)
        except Exception as error:
            raise SddError(
                f"the network can't be made smaller because its operation {node.format_node()} "
                f"fails for the example ({format_error(error)}); give an example batch as the "
                "network takes it"
            ) from None

    def _function(self, node: fx.Node) -> Callable[..., Any]:
        if node.op == "call_module":
            return self.network.get_submodule(str(node.target))
        if node.op == "call_method":
            name = str(node.target)
            return lambda tensor, *args, **kwargs: getattr(tensor, name)(*args, **kwargs)
        return node.target  # type: ignore[return-value]

    def _value(self, node: fx.Node, result: Any) -> Any:
        if node.op == "placeholder":
            return kept(result.shape)
        if node.op == "get_attr":
            return self._constant(result) if isinstance(result, Tensor) else None
        step = self._step(node, result)
        if step.inputs and asks_for_sizes(node):
            sizes(step)
            return None
        value = self._by_rule(step) if step.inputs else None
        if value is None:
            for one in step.inputs:
                self.units.keep(one.units)
            value = _as_it_is(result)
        return value

    def _step(self, node: fx.Node, result: Any) -> Step:
        args, kwargs = fx.node.map_arg(
            (node.args, node.kwargs), lambda used: self.values.get(used, self.results[used])
        )
        layer = self.network.get_submodule(str(node.target)) if node.op == "call_module" else None
        return Step(node, layer, self._function(node), args, kwargs, result, self.units,
                    self.layers)  # fmt: skip

    def _by_rule(self, step: Step) -> Any:
        layer = step.layer
        if layer is not None and (has_hooks(layer) or id(layer) in self._shared):
            return None
        rule = find_rule(step.node, layer)
        if rule in (elementwise, product) and self._of_batch & set(step.node.all_input_nodes):
            return None
        return rule(step) if rule else None

    def _constant(self, tensor: Tensor) -> Value:
        """A parameter or buffer that an operation reads."""
        units = torch.tensor(KEPT).expand(tensor.shape)
        if id(tensor) not in self._shared:
            units = self.units.new(tensor.numel()).view(tensor.shape)
        if tensor.is_floating_point():
            return Value(tensor.detach().double(), units)
        return Value(nothing_known(tensor.shape), units)


def _exact(result: Any) -> Any:
    """Return a result in float64, also if the network converts it to another type."""
    is_number = isinstance(result, Tensor) and result.is_floating_point()
    return result.double() if is_number else result


def _as_it_is(result: Any) -> Any:
    """What is known about a result without a rule."""
    if isinstance(result, Tensor):
        return kept(result.shape)
    if isinstance(result, tuple | list):
        return tuple(_as_it_is(one) for one in result)
    return None


def _shared(network: fx.GraphModule) -> set[int]:
    """The ids of layers and tensors that can't change their form for one operation, because
    another one has them too."""
    used: list[tuple[int, list[int]]] = []
    for node in network.graph.nodes:
        if node.op == "get_attr":
            used.append((0, [id(operator.attrgetter(node.target)(network))]))
        elif node.op == "call_module":
            layer = network.get_submodule(node.target)
            tensors = [id(tensor) for tensor in chain(layer.parameters(), layer.buffers())]
            form = [id(layer)] if isinstance(layer, nn.Unflatten) else []
            used.append((id(layer), tensors + form))
    count = Counter(tensor for _, tensors in used for tensor in tensors)
    several = {tensor for tensor, times in count.items() if times > 1}
    return several | {layer for layer, tensors in used if several & set(tensors)}
