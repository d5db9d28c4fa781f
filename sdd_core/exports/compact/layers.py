"""Rules of layers with weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdd_core.exports.compact.mixing import Mixing, Sliced
from sdd_core.exports.compact.step import (
    Step,
    constants,
    nothing_known,
    spread,
    unknown_slices,
)
from sdd_core.exports.compact.units import Value


def linear(step: Step) -> Value:
    return _mixing(step, axis=-1, padded=False)


def convolution(step: Step) -> Value | None:
    layer: Any = step.layer
    if step.result.dim() != layer.weight.dim():
        return None  # an image without a batch
    if layer.groups > 1:
        return _groups(step)
    return _mixing(step, axis=1, padded=_adds_zeros(layer))


def _adds_zeros(layer: Any) -> bool:
    """Whether a convolution adds zeros around its input. Other paddings repeat what is there."""
    padding = layer.padding
    none = padding == "valid" or (padding != "same" and not any(padding))
    return layer.padding_mode == "zeros" and not none


def _mixing(step: Step, axis: int, padded: bool) -> Value:
    layer: Any = step.layer
    inputs, outputs = step.units.along(step.x, axis), step.units.new(len(layer.weight))
    reads = (layer.weight != 0).flatten(2).any(2) if layer.weight.dim() > 2 else layer.weight != 0
    unknown = (reads & unknown_slices(step.x, axis)).any(1)
    shape = step.result.shape
    value = Value(_known(step, unknown, axis), spread(outputs, axis, shape))
    step.layers.append(
        Mixing(layer, inputs, outputs, reads, constants(step.x, axis), constants(value, axis),
               padded)
    )  # fmt: skip
    return value


def _groups(step: Step) -> Value:
    """A convolution in groups, depthwise ones among them: a group goes as a whole."""
    layer: Any = step.layer
    inputs, outputs = step.units.along(step.x, 1), step.units.new(len(layer.weight))
    members = inputs.view(layer.groups, -1)
    step.units.unify(members, members[:, :1])
    step.units.unify(outputs.view(layer.groups, -1), members[:, :1])
    reads = (layer.weight != 0).flatten(2).any(2)
    unknown = unknown_slices(step.x, 1).view(layer.groups, 1, -1)
    unknown = (reads.view(layer.groups, -1, reads.shape[1]) & unknown).any(2).flatten()
    step.layers.append(Sliced(layer, outputs))
    return Value(_known(step, unknown, 1), spread(outputs, 1, step.result.shape))


def _known(step: Step, unknown: Tensor, axis: int) -> Tensor:
    """What is known of the result. unknown: which of its slices are not."""
    if unknown.all():
        return nothing_known(step.result.shape)
    return step.run_known(spread(unknown, axis, step.result.shape))


def normalisation(step: Step) -> Value | None:
    """Batch normalisation, which multiplies and shifts each channel."""
    layer: Any = step.layer
    if layer.running_mean is None:
        return None
    units, unknown = step.units.along(step.x, 1), step.x.known.isnan()
    if layer.weight is not None:
        unknown = unknown & spread(layer.weight != 0, 1, unknown.shape)
    step.layers.append(Sliced(layer, units))
    return Value(step.run_known(unknown), step.x.units)


def slopes(step: Step) -> Value:
    """PReLU, with one slope or one for each channel."""
    layer: Any = step.layer
    if layer.num_parameters > 1:
        step.layers.append(Sliced(layer, step.units.along(step.x, 1)))
    return Value(step.run_known(step.x.known.isnan()), step.x.units)


def layer_norm(step: Step) -> Value:
    """Layer normalisation, whose mean and variance need all features."""
    layer: Any = step.layer
    for axis in range(-len(layer.normalized_shape), 0):
        step.units.require_whole(step.x.units, axis)
    known = nothing_known(step.result.shape)
    if layer.weight is not None and (layer.weight == 0).any():
        shift = torch.zeros_like(layer.weight) if layer.bias is None else layer.bias.detach()
        known = shift.where(layer.weight == 0, torch.nan).double().expand(step.result.shape)
    return Value(known, step.x.units)

