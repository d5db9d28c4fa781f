"""The operations of a network."""

from __future__ import annotations

import inspect
import operator
from copy import deepcopy
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from sdd_core.errors import SddError, format_error

HOOKS = ("_forward_hooks", "_forward_pre_hooks")


class _Proxy(fx.Proxy):
    """Records `x += y` and the like as what they are; fx takes them for `x = x + y`."""


def _recorded(operation: Any) -> Any:
    def method(self: fx.Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    return method


IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow)
for _operation in IN_PLACE:
    setattr(_Proxy, f"__{_operation.__name__}__", _recorded(_operation))


class _Tracer(fx.Tracer):
    """Layers of torch are single operations, and so are modules that can't be traced."""

    proxy_buffer_attributes = True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            super().is_leaf_module(m, module_qualified_name)
            or has_hooks(m)
            or parametrize.is_parametrized(m)
        )

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        before, stack = len(self.graph.nodes), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            self.module_stack = stack
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of a module does more than its forward method."""
    return any(getattr(module, name) for name in HOOKS)


@torch.no_grad()
def trace(network: nn.Module) -> fx.GraphModule:
    """Return a copy of a network, in evaluation mode, as a list of its operations. Raises SddError
    if the forward method of the network itself can't be traced."""
    kind = type(network).__name__
    if has_hooks(network) or parametrize.is_parametrized(network):
        raise SddError(
            f"{kind} can't be made smaller because it has hooks or parametrizations of its own; "
            "remove them first (torch.nn.utils.prune.remove, parametrize.remove_parametrizations)"
        )
    try:
        copy = deepcopy(network).eval()
        graph = _Tracer().trace(copy, concrete_args=_defaults(network))
    except Exception as error:
        raise SddError(
            f"the forward method of {kind} can't be traced by torch.fx: {format_error(error)}"
            f"{_place(error)}; write it without control flow that depends on tensors (x.shape[0] "
            "instead of len(x)), or move that part into a module of its own, which is then kept "
            "as it is"
        ) from None
    traced = fx.GraphModule(copy, graph, class_name=kind).eval()
    _drop_other_arguments(traced.graph)
    _follow_in_place(traced)
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _defaults(network: nn.Module) -> dict[str, Any]:
    """The arguments of forward besides the first, which keep their defaults."""
    _, *others = inspect.signature(network.forward).parameters.values()
    return {p.name: p.default for p in others if p.default is not p.empty}


def _place(error: Exception) -> str:
    """Where in the user's code an error arose."""
    places = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    own = [f for f in places if "torch" not in f.filename.split("/") and f.filename != __file__]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _drop_other_arguments(graph: fx.Graph) -> None:
    """Drop arguments with defaults, and the checks that they have them."""
    _, *others = (node for node in graph.nodes if node.op == "placeholder")
    for argument in others:
        _erase_users(graph, argument)


def _erase_users(graph: fx.Graph, node: fx.Node) -> None:
    for user in list(node.users):
        _erase_users(graph, user)
    graph.erase_node(node)


def _follow_in_place(traced: fx.GraphModule) -> None:
    """Make readers of a tensor that was changed in place read the result, which is the same."""
    place = {node: number for number, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        if node.args and isinstance(node.args[0], fx.Node) and is_in_place(traced, node):
            for user in list(node.args[0].users):
                if place[user] > place[node]:
                    user.replace_input_with(node.args[0], node)


def is_in_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether an operation changes its first argument."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return (
        node.target in IN_PLACE
        or bool(node.kwargs.get("inplace"))
        or (node.op != "placeholder" and name.endswith("_") and not name.endswith("__"))
    )
