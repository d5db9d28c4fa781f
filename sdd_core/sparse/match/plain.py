"""Whether a module computes what its class says, and nothing besides."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as of_torch
from torch.utils._python_dispatch import TorchDispatchMode

from sdd_core.errors import SddError

_CALLS = ("__call__", "_call_impl", "_wrapped_call_impl")
_COMPUTING = {*_CALLS, "forward", "_conv_forward", "_check_input_dim", "__getattr__"}


def is_plain(network: nn.Module) -> bool:
    """Whether nothing happens, when a network is called and differentiated, but what the forward
    methods of its classes say.

    Not plain are hooks of any kind, of modules, parameters or all modules together; methods that
    were replaced, on an instance or on a class of torch; a `__call__` of a class's own; parameters
    that are no plain ones, or not those that the layer's class makes.
    """
    parts = list(network.modules())
    return (
        not _has_global_hooks()
        and all(_as_torch_made_it(kind) for kind in {type(part) for part in parts})
        and all(_has_only_its_own(part) for part in parts)
        and all(_is_plain_parameter(parameter) for parameter in network.parameters())
    )


def plain_layers(network: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the linear layers and convolutions of a network, by name, of which each is plain (see
    `is_plain`), whatever the rest of the network is, and shares its weight with no other module."""
    if _has_global_hooks():
        return {}
    parts = dict(network.named_modules())
    if any(map(_is_compiled, parts.values())):
        return {}  # compiled code does not look for a layer's forward method again
    owners = Counter(id(p) for part in parts.values() for p in part.parameters(recurse=False))
    return {
        name: part for name, part in parts.items()
        if type(part) in (nn.Linear, nn.Conv2d)
        and _as_torch_made_it(type(part))
        and _has_only_its_own(part)
        and all(_is_plain_parameter(p) and owners[id(p)] == 1 for p in part.parameters())
    }


def _is_compiled(part: nn.Module) -> bool:
    """Whether torch.compile has been applied to a module."""
    made = vars(part).get("_compiled_call_impl") is not None
    return made or type(part).__module__.startswith("torch._dynamo")


def _has_global_hooks() -> bool:
    return any(hooks for name, hooks in vars(of_torch).items()
               if name.startswith("_global_") and name.endswith("_hooks"))


def _as_torch_made_it(kind: type) -> bool:
    """Whether a class is called as modules are, and computes as torch's source says where it is,
    or is derived from, a class of torch."""
    if any(getattr(kind, name) is not getattr(nn.Module, name) for name in _CALLS):
        return False
    methods = (
        (base, method) for base in kind.__mro__ if base.__module__.startswith("torch.nn.")
        for name, method in vars(base).items() if name in _COMPUTING
    )
    return all(
        isinstance(method, FunctionType)
        and method.__globals__ is vars(sys.modules[base.__module__])
        for base, method in methods
    )


def _has_only_its_own(part: nn.Module) -> bool:
    """Whether no method was replaced on a module, no hook put on it, and no parameter of its class
    exchanged for something else."""
    own = vars(part)
    if own.get("_compiled_call_impl") is not None:
        return False
    if any(value for name, value in own.items() if name.endswith("_hooks")):
        return False
    if any(callable(getattr(type(part), name, None)) for name in own):
        return False
    shapes = _shapes(part)
    return not shapes or (
        not shapes.keys() & own.keys()
        and part._parameters.keys() == shapes.keys()
        and all(p is None or p.shape == shapes[name] for name, p in part._parameters.items())
    )


def _shapes(part: nn.Module) -> dict[str, tuple[int, ...]]:
    """What the parameters of a layer that the kernels know are called, and their shapes."""
    if type(part) is nn.Linear:
        return {"weight": (part.out_features, part.in_features), "bias": (part.out_features,)}
    if type(part) is nn.Conv2d:
        inputs = part.in_channels // part.groups
        return {"weight": (part.out_channels, inputs, *part.kernel_size),
                "bias": (part.out_channels,)}  # fmt: skip
    if type(part) is nn.BatchNorm2d:
        return {"weight": (part.num_features,), "bias": (part.num_features,)}
    return {}


def _is_plain_parameter(parameter: Tensor) -> bool:
    return (
        type(parameter) is nn.Parameter
        and parameter.layout == torch.strided
        and not parameter._backward_hooks
        and not parameter._post_accumulate_grad_hooks
    )


@contextmanager
def without_side_effects(network: nn.Module) -> Iterator[None]:
    """While a network is traced: raises SddError if more happens than the trace shows.

    That is: an operation on numbers instead of proxies, such as a weight that forward changes in
    place; an attribute that forward sets; a number that it draws from Python or numpy.
    """
    before, drawn = _attributes(network), _random_states()
    with _NoNumbers():
        yield
    after = _attributes(network)
    same = before.keys() == after.keys() and all(before[key] is after[key] for key in before)
    if not same or drawn != _random_states():
        raise SddError("the forward method does more than a trace shows")


class _NoNumbers(TorchDispatchMode):
    def __torch_dispatch__(self, *_: Any, **__: Any) -> Any:
        raise SddError("the forward method computes with numbers that a trace does not show")


def _attributes(network: nn.Module) -> dict[tuple[int, str], Any]:
    """What each module holds, by the module and the attribute's name."""
    return {
        (id(part), name): value
        for part in network.modules()
        for held in (vars(part), part._parameters, part._buffers, part._modules)
        for name, value in held.items()
        if name != "training"
    }


def _random_states() -> tuple[Any, bytes]:
    state: Any = np.random.get_state()
    return random.getstate(), state[1].tobytes() + bytes([state[2] % 256])
