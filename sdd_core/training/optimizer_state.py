"""Torch's optimizers in a level's training: how they are made, take steps, and are resumed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from sdd_core.experiment.train import Train
from sdd_core.level.checkpoint import state_fault
from sdd_core.plugin.isolation import attribute_errors

# Prefix of the names of an optimizer's values that are Python numbers, not tensors.
NUMBER = "number "


class TorchOptimizers:
    """The optimizers that an experiment's plugin makes: one of all weights in one tensor, or those
    of named parameters.

    named: whether they are of named parameters. Groups of those keep the ratio of their learning
    rate to `train.lr`.
    """

    def __init__(self, train: Train, weights: Tensor, parameters: Mapping[str, Tensor]) -> None:
        """Make them. Raises SddError if the plugin returns no optimizer, or one of other weights.

        weights: all trainable weights, float32 `[number of weights]`. parameters: the same by name.
        """
        self._plugin = train.optimizer
        self._weights = weights
        with attribute_errors(self._plugin):
            made = self._plugin.make_named(dict(parameters), train.lr, train.weight_decay)
            self.named = made is not None
            if made is None:
                method, wanted = "make", {"weights": weights}
                made = self._plugin.make(weights, train.lr, train.weight_decay)
            else:
                method, wanted = "make_named", dict(parameters)
            self._optimizers = [made] if isinstance(made, torch.optim.Optimizer) else made
            _check(method, self._optimizers, wanted)
            self._parts = [part for one in self._optimizers for part in _nested(one)]
            groups = {id(group): group for part in self._parts for group in part.param_groups}
            self._groups = list(groups.values())
            self._ratios = [float(group["lr"]) / train.lr if self.named else 1.0
                            for group in self._groups]
            self._options = [_numbers(group) for group in self._groups]

    def step(self, learning_rate: float, closure: Callable[[], Tensor]) -> None:
        """Take a step. closure: computes the gradients at the current weights again. Raises
        SddError for a failure of the plugin."""
        for group, ratio in zip(self._groups, self._ratios, strict=True):
            group["lr"] = ratio * learning_rate
        with attribute_errors(self._plugin):
            for optimizer in self._optimizers:
                if self._plugin.closure:
                    optimizer.step(closure)  # type: ignore[arg-type]
                else:
                    optimizer.step()

    def memory(self) -> dict[str, Tensor]:
        """Return the state by name, copied to the CPU: that of the weights, and the numbers in
        groups that have changed. Raises SddError if it has other values than tensors and numbers.
        """
        memory: dict[str, Tensor] = {}
        with attribute_errors(self._plugin):
            for prefix, state, weights in self._states():
                for name, value in state.get(weights, {}).items():
                    memory |= _saved(prefix, name, value)
            for index, (group, usual) in enumerate(zip(self._groups, self._options, strict=True)):
                for name, value in _numbers(group).items():
                    if name != "lr" and not _equal(value, usual.get(name)):
                        memory |= _saved(f"group {index}/", name, value)
        return memory

    def restore(self, memory: Mapping[str, Tensor]) -> None:
        """Set the state to one that `memory` returned."""
        for prefix, state, weights in self._states():
            found = {name.removeprefix(prefix): value for name, value in memory.items()
                     if name.startswith(prefix) and not name.startswith("group ")}
            if found:
                state[weights] = dict(_loaded(name, value, weights)
                                      for name, value in found.items())
        for name, value in memory.items():
            if match := re.match(r"group (\d+)/", name):
                group = self._groups[int(match[1])]
                option, number = _loaded(name[match.end():], value, group["params"][0])
                group[option] = number

    def reset(self, where: Tensor) -> None:
        """Set the state of some weights to zero: in each of its tensors that has the shape of its
        weights. where: bool `[number of weights]`, in the order of all weights in memory."""
        for _, state, weights in self._states():
            offset = weights.storage_offset() - self._weights.storage_offset()
            chosen = where.as_strided(weights.shape, weights.stride(), offset)
            for value in state.get(weights, {}).values():
                if isinstance(value, Tensor) and value.shape == weights.shape:
                    value.masked_fill_(chosen, 0)

    def _states(self) -> Iterator[tuple[str, dict[Any, Any], Tensor]]:
        """Yield the prefix of names, the optimizer's state and the tensor, for each tensor."""
        # An optimizer that wraps another may share its state.
        parts = list({id(part.state): part for part in self._parts}.values())
        for number, part in enumerate(parts):
            tensors = [one for group in part.param_groups for one in group["params"]]
            for index, tensor in enumerate(tensors):
                alone = not self.named and len(parts) == 1
                yield "" if alone else f"{number}.{index}/", part.state, tensor


def _check(method: str, optimizers: Any, wanted: Mapping[str, Tensor]) -> None:
    """Raise TypeError unless these are optimizers of exactly the wanted tensors."""
    if not isinstance(optimizers, list | tuple) or not optimizers or not all(
        isinstance(one, torch.optim.Optimizer) for one in optimizers
    ):
        raise TypeError(f"{method}() returned {type(optimizers).__name__}; expected a "
                        "torch.optim.Optimizer")
    tensors = [one for optimizer in optimizers for group in optimizer.param_groups
               for one in group["params"]]
    if method == "make":
        if len(tensors) != 1 or tensors[0] is not wanted["weights"]:
            raise TypeError("make() returned an optimizer of other weights; expected one of the "
                            "tensor `weights`")
        return
    # By memory, because an optimizer may see a kernel as a matrix.
    found = [one.data_ptr() for one in tensors]
    names = {tensor.data_ptr(): name for name, tensor in wanted.items()}
    if strange := set(found) - set(names):
        raise TypeError(f"make_named() returned optimizers of {len(strange)} tensors that are none "
                        "of the parameters; expected each parameter once")
    for place, name in names.items():
        if found.count(place) != 1:
            raise TypeError(f"make_named() returned optimizers with the parameter {name!r} "
                            f"{found.count(place)} times; expected each parameter once")


def _nested(optimizer: torch.optim.Optimizer) -> Iterator[torch.optim.Optimizer]:
    """Yield an optimizer and those that it wraps, as SAM and Lookahead do."""
    yield optimizer
    for value in vars(optimizer).values():
        if isinstance(value, torch.optim.Optimizer):
            yield from _nested(value)


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers among a group's options, which some optimizers count with."""
    return {name: value.clone() if isinstance(value, Tensor) else value
            for name, value in group.items() if isinstance(value, int | float | Tensor)}


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(torch.equal(torch.as_tensor(one),
                                                         torch.as_tensor(other)))


def _saved(prefix: str, name: str, value: Any) -> dict[str, Tensor]:
    """Return a value of a state as a named tensor. Raises TypeError for other values than tensors
    and numbers."""
    if isinstance(value, Tensor) and not state_fault(name, value):
        return {prefix + name: value.detach().cpu().clone(memory_format=torch.contiguous_format)}
    if isinstance(value, int | float):
        kind = torch.float64 if isinstance(value, float) else None
        return {f"{prefix}{NUMBER}{name}": torch.tensor(value, dtype=kind)}
    raise TypeError(f"its state has {state_fault(name, value)}; checkpoints save only numbers, and "
                    "dense tensors of real numbers")


def _loaded(name: str, value: Tensor, weights: Tensor) -> tuple[str, Any]:
    """Return the name and the value that `_saved` was given."""
    if name.startswith(NUMBER):
        return name.removeprefix(NUMBER), value.item()
    if value.shape == weights.shape:  # in the same order in memory, for equal sums
        return name, torch.empty_like(weights, dtype=value.dtype, requires_grad=False).copy_(value)
    # Single numbers, such as the count of steps, stay on the CPU.
    return name, value.to(weights.device if value.dim() else "cpu", copy=True)
