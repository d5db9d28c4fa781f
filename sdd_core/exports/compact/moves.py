"""Rules of operations that move elements, and of sizes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from sdd_core.exports.compact.step import Step, spread
from sdd_core.exports.compact.units import Value

Moved = Value | tuple[Value, ...] | None


def move(step: Step) -> Moved:
    """Operations that only move elements do the same with what is known of them."""
    if any(isinstance(argument, torch.Size) for argument in step.args):
        return None
    # `view` does not take tensors that are expanded.
    form = torch.Tensor.contiguous if step.node.target == "view" else torch.Tensor.detach
    known = step.run(lambda value: form(value.known))
    units = step.run(lambda value: form(value.units))
    if isinstance(known, Tensor):
        return Value(known, units)
    return tuple(Value(*both) for both in zip(known, units, strict=True))


def move_along(position: int, default: int | None = None) -> Callable[[Step], Moved]:
    """Return the rule of operations that take a tensor apart along an axis, the argument `dim` at
    this position."""

    def rule(step: Step) -> Moved:
        axis = step.argument("dim", position, default)
        if not isinstance(axis, int):
            return None
        step.units.require_whole(step.x.units, axis)
        return move(step)

    return rule


def item(step: Step) -> Moved:
    """Items of tensors, by numbers and slices."""
    if isinstance(step.args[0], tuple):
        return step.args[0][step.args[1]]  # of what `chunk` and the like return
    index = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    if any(not isinstance(one, int | slice | type(...) | None) for one in index):
        return None
    used = sum(isinstance(one, int | slice) for one in index)
    axis = 0
    for one in index:
        if one is ...:
            axis += step.x.units.dim() - used
        elif one is not None:
            if one != slice(None):
                step.units.require_whole(step.x.units, axis)
            axis += 1
    return move(step)


def pad(step: Step) -> Moved:
    """Padding. What is added to an axis of units, such as channels of zeros, has units of its
    own."""
    amounts = list(step.argument("pad", 1))
    units = step.x.units
    if min(amounts) < 0 or step.argument("mode", 2, "constant") != "constant":
        return None
    for number, axis in enumerate(range(units.dim() - 1, -1, -1)[: len(amounts) // 2]):
        before, after = amounts[2 * number : 2 * number + 2]
        first = units.narrow(axis, 0, 1)
        if not before and not after:
            continue
        if units.stride(axis) == 0 or torch.equal(first.expand_as(units), units):
            shape = list(units.shape)
            shape[axis] += before + after
            units = first.expand(shape)
        else:
            parts = [_added(step, units, axis, count) for count in (before, after)]
            units = torch.cat([parts[0], units, parts[1]], axis)
    known = functional.pad(step.x.known, amounts, value=step.argument("value", 3) or 0.0)
    return Value(known, units)


def _added(step: Step, units: Tensor, axis: int, count: int) -> Tensor:
    shape = list(units.shape)
    shape[axis] = count
    return spread(step.units.new(count), axis, torch.Size(shape))


def sizes(step: Step) -> None:
    """The sizes of a tensor. A single one is read as it was in the whole network; see
    `Rewriting._restore_size`. Of axes of which it is not clear how they are read, all must stay."""
    if step.node.op == "call_method" and len(step.args) + len(step.kwargs) > 1:
        return
    if isinstance(step.result, torch.Size):
        for user in step.node.users:
            for axis in _axes(user, len(step.result)):
                step.units.require_whole(step.x.units, axis)


def _axes(user: fx.Node, rank: int) -> range:
    """The axes whose sizes an operation gets."""
    if user.target is operator.getitem:
        index: Any = user.args[1]
        if isinstance(index, int):
            return range(0)
        if isinstance(index, slice):
            bounds = (index.start, index.stop, index.step)
            if all(isinstance(bound, int | None) for bound in bounds):
                return range(rank)[index]
    return range(rank)
