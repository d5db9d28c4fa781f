"""The parameters of a network, their gradients, momenta and masks in flat buffers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sdd_core.errors import SddError


class Entry(NamedTuple):
    """A parameter of the network, and its part of each buffer, in its shape."""

    parameter: nn.Parameter
    weight: Tensor
    gradient: Tensor
    momentum: Tensor
    kept: Tensor


class FlatParameters:
    """The trainable parameters of a network, their gradients, momenta and masks, one flat buffer
    each: an update takes a few operations for any number of layers.

    The network's parameters and gradients become views of the buffers.

    Attributes:
        weights, gradients, momenta, kept: `[parameters]`, on the device. `kept` is 1 for kept
            weights and 0 for pruned ones. Momenta are zeros at first.
        entries: the parts of each parameter, by name.
    """

    def __init__(
        self, network: nn.Module, masks: Mapping[str, Tensor], device: torch.device
    ) -> None:
        parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        size = sum(p.numel() for p in parameters.values())
        self.weights, self.gradients, self.momenta, self.kept = buffers = torch.zeros(
            4, size, device=device
        )
        self.entries: dict[str, Entry] = {}
        begin = 0
        for name, parameter in parameters.items():
            entry = Entry(parameter, *(_part(flat, parameter, begin) for flat in buffers))
            entry.weight.copy_(parameter.detach())
            entry.kept.copy_(masks[name] if name in masks else torch.ones(()))
            parameter.data, parameter.grad = entry.weight, entry.gradient
            self.entries[name] = entry
            begin += parameter.numel()

    def flat(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return values of all parameters, given by name, as another flat buffer."""
        buffer, begin = torch.zeros_like(self.weights), 0
        for name, entry in self.entries.items():
            _part(buffer, entry.parameter, begin).copy_(values[name])
            begin += entry.parameter.numel()
        return buffer

    def positions(self, names: Collection[str]) -> Tensor:
        """Return the positions of the named parameters in the buffers, int64."""
        marked = self.flat({name: torch.tensor(float(name in names)) for name in self.entries})
        return marked.nonzero().squeeze(1)

    @torch.no_grad()
    def gather_weights(self) -> None:
        """Copy weights that an optimizer has replaced into their buffer, and let gradients that it
        has removed be views again."""
        for entry in self.entries.values():
            if entry.parameter.data_ptr() != entry.weight.data_ptr():
                entry.weight.copy_(entry.parameter)
                entry.parameter.data = entry.weight
            entry.parameter.grad = entry.gradient

    @torch.no_grad()
    def gather_gradients(self) -> None:
        """Copy gradients that a hook has replaced into their buffer.

        Raises SddError if a hook has removed a gradient.
        """
        for name, entry in self.entries.items():
            gradient = entry.parameter.grad
            if gradient is entry.gradient:
                continue
            if gradient is None:
                raise SddError(f"a hook of the model removed the gradient of {name!r}, which "
                               "training requires; let it change the gradient, or return another "
                               "one")
            entry.gradient.copy_(gradient)
            entry.parameter.grad = entry.gradient


def _part(flat: Tensor, parameter: Tensor, begin: int) -> Tensor:
    """Return a view of a buffer in a parameter's shape and order of dimensions in memory."""
    # Of an empty tensor like it, because the parameter may itself be a view with gaps.
    stride = torch.empty_like(parameter, device="meta").stride()
    return torch.as_strided(flat, parameter.shape, stride, flat.storage_offset() + begin)
