"""One operation of a trace, as the rules see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from sdd_core.exports.compact.mixing import Mixing, Sliced
from sdd_core.exports.compact.units import KEPT, Units, Value, narrow

ROUNDING = 1e-12  # relative difference of equal numbers, computed in another order, in float64


@dataclass
class Step:
    """One operation, with the values of its arguments.

    layer: the module that it calls, else None. args, kwargs: values in place of tensors. result:
    what it returned for the example. layers: what is to be done to the network's layers, to which
    a rule adds.
    """

    node: fx.Node
    layer: nn.Module | None
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    units: Units
    layers: list[Mixing | Sliced]

    @property
    def inputs(self) -> list[Value]:
        """All tensors among the arguments."""
        return values_in((self.args, self.kwargs))

    @property
    def x(self) -> Value:
        """The first tensor among the arguments."""
        return self.inputs[0]

    def run(self, pick: Callable[[Value], Tensor]) -> Any:
        """Carry out the operation on other tensors."""

        def picked(value: Any) -> Any:
            return pick(value) if isinstance(value, Value) else value

        args, kwargs = fx.node.map_aggregate((self.args, self.kwargs), picked)
        return self.function(*args, **kwargs)

    def run_known(self, unknown: Tensor) -> Tensor:
        """Carry out the operation on what is known, and say what is not known of the result."""
        if unknown.all():
            return nothing_known(self.result.shape)
        known = self.run(filled).double()
        return known.masked_fill(unknown.expand(known.shape), torch.nan)

    def argument(self, name: str, position: int, default: Any = None) -> Any:
        """Return an argument by its name or its position."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)


def values_in(arguments: Any) -> list[Value]:
    """Return all values in nested arguments."""
    found: list[Value] = []
    fx.node.map_aggregate(
        arguments, lambda value: found.append(value) if isinstance(value, Value) else None
    )
    return found


def filled(value: Value) -> Tensor:
    """Return what is known, with 0 for what is not. It is a copy."""
    return torch.nan_to_num(value.known, nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def nothing_known(shape: torch.Size) -> Tensor:
    return torch.tensor(torch.nan, dtype=torch.float64).expand(shape)


def kept(shape: torch.Size) -> Value:
    """Return a tensor of which nothing is known, and that stays as it is."""
    return Value(nothing_known(shape), torch.tensor(KEPT).expand(shape))


def spread(per_slice: Tensor, axis: int, shape: torch.Size) -> Tensor:
    """Return one value for each slice along an axis as a tensor of a shape."""
    view = [1] * len(shape)
    view[axis] = -1
    return per_slice.view(view).expand(shape)


def unknown_slices(value: Value, axis: int) -> Tensor:
    """Return which slices along an axis have anything that is not known."""
    (known,) = narrow(value.known, but=axis)
    return known.isnan().movedim(axis, 0).flatten(1).any(1)


def constants(value: Value, axis: int) -> Tensor:
    """Return for each slice along an axis the number that all its elements are, else NaN."""
    (known,) = narrow(value.known, but=axis)
    along = known.movedim(axis, 0).flatten(1)
    low, high = along.amin(1), along.amax(1)
    same = high - low <= ROUNDING * torch.maximum(low.abs(), high.abs())
    return torch.where(same, along[:, 0], torch.nan)
