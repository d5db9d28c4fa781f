"""Layers whose outputs are weighted sums over their inputs, and what becomes of them.

An input can go if no output reads it with a non-zero weight, or if it is a constant, which then
goes into the bias. Zero padding is in the way of the latter: near the border, a constant
contributes less. But all constants contribute in the same form, so that one of them can stand for
all (`Mixing.representative`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Roots = Callable[[Tensor], Tensor]
MUCH_SMALLER = 0.1  # a constant smaller than this share of another can't stand for it


@dataclass
class Mixing:
    """A linear layer, or a convolution in one group.

    inputs `[I]`, outputs `[O]`: units. reads `[O, I]`: where the weight is not zero. constants
    `[I]`, results `[O]`: the numbers that inputs and outputs are everywhere, else NaN. padded:
    whether zeros are added around the inputs.
    """

    layer: nn.Linear | nn.modules.conv._ConvNd
    inputs: Tensor
    outputs: Tensor
    reads: Tensor
    constants: Tensor
    results: Tensor
    padded: bool

    def needed(self, kept: Tensor, roots: Roots) -> Tensor:
        """Return the units of inputs that must be kept, given those that are."""
        units = roots(self.inputs)
        return units[self._wanted(kept[roots(self.outputs)]) & self.constants.isnan()]

    def representative(self, kept: Tensor, roots: Roots) -> int | None:
        """Return the input that stands for the removed constants, if there have to be any: one
        that is kept anyway if possible."""
        units = roots(self.inputs)
        size = self.constants.abs().nan_to_num(nan=0.0)
        gone = self._wanted(kept[roots(self.outputs)]) & ~kept[units] & (size > 0)
        if not self.padded or not gone.any():
            return None
        large = size >= MUCH_SMALLER * size[gone].max()
        if (large & kept[units]).any():
            size = size.where(kept[units], 0.0)
        return int(size.argmax())

    def shrink(self, kept: Tensor, roots: Roots) -> None:
        """Remove what is not kept from the layer."""
        layer, units = self.layer, roots(self.inputs)
        rows, columns = kept[roots(self.outputs)], kept[units]
        if rows.all() and columns.all():
            return
        weight, bias = layer.weight.detach().clone(), layer.bias
        shift = torch.zeros(len(rows), dtype=weight.dtype)
        shift = shift if bias is None else bias.detach().clone()
        constants = self.constants.nan_to_num(nan=0.0).to(weight.dtype)
        fixed = ~self.results.isnan()
        weight[fixed] = 0
        columns_of = weight[:, ~columns].movedim(1, -1)
        standing = self.representative(kept, roots)
        if standing is not None:
            share = constants[~columns] / constants[standing]
            weight[:, standing] += columns_of @ share
        elif not self.padded:
            shift += (columns_of @ constants[~columns]).reshape(len(rows), -1).sum(1)
        shift[fixed] = self.results[fixed].to(shift.dtype)
        layer.weight = like(layer.weight, weight[rows][:, columns])
        if bias is not None or shift[rows].any():
            layer.bias = like(layer.weight if bias is None else bias, shift[rows])
        if isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = layer.weight.shape
        else:
            layer.out_channels, layer.in_channels = layer.weight.shape[:2]

    def _wanted(self, rows: Tensor) -> Tensor:
        """Which inputs the rows read that are computed, rather than constant."""
        return self.reads[rows & self.results.isnan()].any(0)


@dataclass
class Sliced:
    """A layer that has something for each slice of its input: a normalisation, or a convolution
    of which whole groups go."""

    layer: nn.Module
    units: Tensor

    def shrink(self, kept: Tensor, roots: Roots) -> None:
        stays = kept[roots(self.units)]
        if stays.all():
            return
        layer: Any = self.layer
        for name, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, like(parameter, parameter.detach()[stays]))
        for name, buffer in list(layer.named_buffers(recurse=False)):
            if buffer.dim():
                setattr(layer, name, buffer[stays])
        count = int(stays.sum())
        if isinstance(layer, nn.modules.conv._ConvNd):
            layer.groups = layer.groups * count // len(stays)
            layer.in_channels, layer.out_channels = layer.weight.shape[1] * layer.groups, count
        elif isinstance(layer, nn.PReLU):
            layer.num_parameters = count
        else:
            layer.num_features = count


def like(parameter: Tensor, value: Tensor) -> nn.Parameter:
    """Return a parameter that is trained if another one is."""
    return nn.Parameter(value.contiguous(), requires_grad=parameter.requires_grad)
