"""Rules of operations that treat elements or channels one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdd_core.exports.compact.step import (
    Step,
    nothing_known,
    spread,
    unknown_slices,
)
from sdd_core.exports.compact.units import Units, Value


def elementwise(step: Step) -> Value | None:
    """Activations, sums and the like, with broadcasting."""
    units = _shared_units(step)
    return None if units is None else Value(step.run_known(_unknown(step)), units)


def product(step: Step) -> Value | None:
    """Element-wise, but 0 times anything is 0."""
    units = _shared_units(step)
    if units is None:
        return None
    unknown = _unknown(step)
    for value in step.inputs:
        unknown = unknown & (value.known != 0)
    return Value(step.run_known(unknown), units)


def dropout(step: Step) -> Value | None:
    """Dropout, where it does nothing."""
    training = step.layer.training if step.layer else step.argument("training", 2, True)
    return None if training else step.x


def _unknown(step: Step) -> Tensor:
    """Where a result of elements is unknown, because that of any input is."""
    unknown = torch.zeros(step.result.shape, dtype=torch.bool)
    for value in step.inputs:
        unknown = unknown | value.known.isnan()
    return unknown


def _shared_units(step: Step) -> Tensor | None:
    """The units of a result, one with those of the inputs."""
    shape = step.result.shape
    whole = [value.units for value in step.inputs if value.shape == shape]
    if not whole:
        return None
    for value in step.inputs:
        if value.shape == shape:
            step.units.unify(whole[0], value.units)
        else:
            _broadcast(step.units, value.units, whole[0])
    return whole[0]


def _broadcast(units: Units, part: Tensor, whole: Tensor) -> None:
    """Unify what is repeated with what it is repeated for; if that is more than one unit, it has
    to stay."""
    part = part.view((1,) * (whole.dim() - part.dim()) + part.shape)
    for axis in range(whole.dim()):
        if part.shape[axis] == 1 < whole.shape[axis]:
            first = whole.narrow(axis, 0, 1)
            if whole.stride(axis) and not torch.equal(first.expand_as(whole), whole):
                units.keep(part)
                return
            whole = first
    units.unify(part, whole)


def channelwise(step: Step) -> Value | None:
    """Poolings and the like: each channel (axis 1) of the result comes from that of the input."""
    shape = step.result.shape
    if len(shape) < 2 or len(shape) != step.x.units.dim() or shape[1] != step.x.shape[1]:
        return None
    units = spread(step.units.along(step.x, 1), 1, shape)
    unknown = unknown_slices(step.x, 1)
    if unknown.all():
        return Value(nothing_known(shape), units)
    return Value(step.run_known(spread(unknown, 1, shape)), units)


def reduction(step: Step) -> Value | None:
    """Means and sums over some axes, but not over the batch."""
    axes = step.argument("dim", 1)
    rank = step.x.units.dim()
    axes = sorted(axis % rank for axis in ([axes] if isinstance(axes, int) else axes or []))
    if not axes or 0 in axes:
        return None
    units, unknown = step.x.units, step.x.known.isnan()
    for axis in axes:
        step.units.unify(units, units.narrow(axis, 0, 1))
        step.units.require_whole(step.x.units, axis)
        units, unknown = units.narrow(axis, 0, 1), unknown.any(axis, keepdim=True)
    shape = step.result.shape
    return Value(step.run_known(unknown.reshape(shape)), units.reshape(shape))


def softmax(step: Step) -> Value | None:
    """Softmax and its logarithm, which need all elements along their axis."""
    layer: Any = step.layer
    axis = layer.dim if layer else step.argument("dim", 1)
    if not isinstance(axis, int):
        return None
    step.units.require_whole(step.x.units, axis)
    is_last = axis in (-1, step.x.units.dim() - 1)
    weights = is_last and "log" not in type(layer).__name__.lower() + str(step.node.target)
    return Value(nothing_known(step.result.shape), step.x.units, weights)


def contraction(step: Step) -> Value | None:
    """Products of stacks of matrices, such as those of the heads of attention."""
    if len(step.inputs) != 2 or not _are_stacks(step.inputs):
        return None
    first, second = step.inputs
    return _stacks(step, second if first.are_weights else None)


def attention(step: Step) -> Value | None:
    """Scaled dot-product attention of several heads."""
    if len(step.inputs) != 3 or not _are_stacks(step.inputs):
        return None
    if step.argument("dropout_p", 4, 0.0):
        return None
    return _stacks(step, step.inputs[2])


def _are_stacks(inputs: list[Value]) -> bool:
    """Whether these are matrices in stacks of one shape."""
    return inputs[0].units.dim() > 2 and len({value.shape[:-2] for value in inputs}) == 1


def _stacks(step: Step, averaged: Value | None) -> Value:
    """Each matrix of a stack is one unit.

    averaged: the factor that results are weighted means of, if they are; its rows are the results
    where they are all equal.
    """
    units, shape = step.x.units[..., :1, :1], step.result.shape
    for value in step.inputs:
        step.units.unify(value.units, units)
    known = nothing_known(shape)
    if averaged is not None:
        first = averaged.known[..., :1, :]
        equal = (averaged.known == first).all(-2, keepdim=True)
        known = first.where(equal, torch.nan).expand(shape)
    return Value(known, units.expand(shape))
