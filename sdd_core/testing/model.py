"""Checks of models."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core.errors import FAILURES, SddError, format_error
from sdd_core.level import masks as masking
from sdd_core.testing.call import Check, Fault, again, call, fault, global_seed, same

SHAPES = ((3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 64, 64), (20,))
"""Common shapes of examples; a model must accept at least one of them."""


def checks(
    plugin: Any, input_shape: tuple[int, ...] | None = None, num_classes: int = 10
) -> list[Check]:
    """Return the checks of a model, on examples of `input_shape`. Default: the first of SHAPES that
    it accepts."""
    fitting = _Fitting(plugin, input_shape, num_classes)
    return Check.all(reproducible, output, prunable, trains, about=(plugin, fitting))


class _Fitting:
    """A shape that a model accepts, found on first use."""

    def __init__(self, plugin: Any, shape: tuple[int, ...] | None, num_classes: int) -> None:
        self.plugin = plugin
        self.num_classes = num_classes
        self._shape = shape

    @property
    def shape(self) -> tuple[int, ...]:
        if self._shape is None:
            self._shape = self._first()
        return self._shape

    def _first(self) -> tuple[int, ...]:
        first: BaseException | None = None
        for shape in SHAPES:
            try:
                network = self._build(1, shape)
                with torch.no_grad():
                    network.eval()(torch.zeros(2, *shape))
                return shape
            except FAILURES as error:
                first = first or error
        reason = str(first) if isinstance(first, Fault) else str(fault(self.plugin, (
            f"accepts none of the shapes {', '.join(map(str, SHAPES))}; give check_model an "
            f"input_shape that it accepts: {type(first).__name__}: {first}"
        )))
        raise Fault(reason) from first

    @cached_property
    def network(self) -> nn.Module:
        """The network to check, built once, because building may take long."""
        return self.build()

    def build(self, seed: int = 1, elsewhere: int = 0) -> nn.Module:
        """Build a network with a seed of torch; `elsewhere` varies numpy's and Python's seeds."""
        return self._build(seed, self.shape, elsewhere)

    def _build(self, seed: int, shape: tuple[int, ...], elsewhere: int = 0) -> nn.Module:
        with global_seed(seed + elsewhere):
            torch.manual_seed(seed)
            network = call(again(self.plugin), "build", shape, self.num_classes, own=("torch's",))
        if not isinstance(network, nn.Module):
            raise fault(self.plugin, f"build() returned {type(network).__name__}; expected a "
                                     "torch.nn.Module")
        return network

    def inputs(self, count: int) -> Tensor:
        """Return fixed random examples, float32 `[count, *shape]`."""
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(0))


def output(plugin: Any, fitting: _Fitting) -> None:
    """It returns one finite number for each class, for one example and for several"""
    network = fitting.network.eval()
    for count in (1, 3):
        inputs = fitting.inputs(count)
        with torch.no_grad(), global_seed(1):
            found = network(inputs)
            repeated = network(inputs)
        if not isinstance(found, Tensor) or list(found.shape) != [count, fitting.num_classes]:
            got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise fault(plugin, f"gives {got} for {count} examples of shape {fitting.shape}; "
                                f"expected [{count}, {fitting.num_classes}]")
        if not found.isfinite().all():
            raise fault(plugin, "gives NaN or infinity for ordinary examples")
        if not same(found, repeated):
            raise fault(plugin, "gives another output the second time, in evaluation mode")


def reproducible(plugin: Any, fitting: _Fitting) -> None:
    """Equal seeds of torch give equal weights, other seeds others, and no networks share weights"""
    one, other = fitting.network, fitting.build(elsewhere=5)
    if not same(dict(one.state_dict()), dict(other.state_dict())):
        raise fault(plugin, "has other weights with the same seed of torch; draw them from torch's "
                            "generator")
    shared = {p.data_ptr() for p in one.parameters()} & {p.data_ptr() for p in other.parameters()}
    if one is other or shared:
        raise fault(plugin, "returns the same network twice; build() must make a new one")
    names = masking.prunable_weights(one)
    if same({name: names[name] for name in names},
            masking.prunable_weights(fitting.build(seed=2))):
        raise fault(plugin, "has the same weights with every seed of torch's generator")


def prunable(plugin: Any, fitting: _Fitting) -> None:
    """It has prunable layers, and exempts existing ones, but not all of them"""
    try:
        weights = masking.prunable_weights(fitting.network)
        masking.exempt_weights(weights, call(plugin, "exempt"))
    except SddError as error:
        raise fault(plugin, str(error).replace("pruner.exempt", "exempt()")) from error


def trains(plugin: Any, fitting: _Fitting) -> None:
    """Every weight that may be pruned gets a gradient in training"""
    network = fitting.network.train()
    with global_seed(1):
        try:
            outputs = network(fitting.inputs(4))
            cross_entropy(outputs, torch.arange(4) % fitting.num_classes).backward()
        except FAILURES as error:
            raise fault(plugin, f"cannot be trained: {format_error(error)}") from error
    for name, weight in masking.prunable_weights(network).items():
        if weight.grad is None:
            raise fault(plugin, f"no gradient reaches {name!r}; leave out layers that are not used")
