"""Which parts of a network's tensors stay or go together, and which must stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

KEPT = 0  # the unit of everything that must stay


@dataclass
class Value:
    """What is known about a tensor of the trace, for a batch of one.

    known: float64, the value of each element that does not depend on the input, else NaN.
    units: int64, the same shape, the unit of each element.
    are_weights: whether it has sums of 1 over the last axis, without negative elements.
    """

    known: Tensor
    units: Tensor
    are_weights: bool = False

    @property
    def shape(self) -> torch.Size:
        return self.units.shape


class Units:
    """Units are what stays or goes as a whole: a neuron, a channel with all its pixels and with
    the same channel of everything that is added to it, an attention head.

    Operations make units, and unify those that can only go together. `require_whole` and `add`
    note where slices of a tensor can't go, and that each tensor keeps the form of a box.
    """

    def __init__(self) -> None:
        self._parents = np.zeros(1, dtype=np.int64)
        self._tensors: list[Tensor] = []
        self._whole: list[tuple[Tensor, int]] = []

    def new(self, count: int) -> Tensor:
        """Return `count` units that nothing has yet."""
        start = len(self._parents)
        made = np.arange(start, start + count)
        self._parents = np.concatenate([self._parents, made])
        return torch.from_numpy(made.copy())

    def unify(self, some: Tensor, others: Tensor) -> None:
        """Make the units of each pair of elements one. The shapes can be broadcast."""
        some, others = narrow(*torch.broadcast_tensors(some, others))
        pairs = np.stack([some.reshape(-1).numpy(), others.reshape(-1).numpy()])
        pairs = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1)
        for first, second in pairs.T.tolist():
            low, high = sorted((self._root(first), self._root(second)))
            self._parents[high] = low

    def keep(self, units: Tensor) -> None:
        self.unify(units, torch.tensor(KEPT))

    def along(self, value: Value, axis: int) -> Tensor:
        """Return the units of the slices along an axis, made the same within each slice."""
        units = value.units.movedim(axis, -1)
        first = units[(0,) * (units.dim() - 1)]
        self.unify(units, first)
        return first

    def add(self, units: Tensor) -> None:
        """Note a tensor of the network."""
        self._tensors.append(*narrow(units))

    def require_whole(self, units: Tensor, axis: int) -> None:
        """Note that no slice of a tensor along an axis can go."""
        (narrowed,) = narrow(units, but=axis)
        self._whole.append((narrowed, axis % units.dim()))

    def roots(self, units: Tensor) -> Tensor:
        """Return one name for all units that were unified."""
        parents = self._parents
        while True:  # each step halves all paths
            above = parents[parents]
            if np.array_equal(above, parents):
                break
            parents = above
        self._parents = parents
        return torch.from_numpy(parents)[units]

    def no_units(self) -> Tensor:
        """Return a table of what is kept, by unit, in which nothing is but what must be."""
        kept = torch.zeros(len(self._parents), dtype=torch.bool)
        kept[KEPT] = True
        return kept

    def complete(self, kept: Tensor) -> Tensor:
        """Return the table with everything kept that has to be because of the tensors' forms: a
        tensor has no holes, is not empty, and has all slices that `require_whole` names."""
        for units in self._tensors:
            roots = self.roots(units)
            mask = kept[roots]
            if not mask.any():
                kept[roots.flatten()[0]] = True
                mask = kept[roots]
            kept[roots[box(mask)]] = True
        for units, axis in self._whole:
            roots = self.roots(units)
            slices = roots.movedim(axis, 0).flatten(1)
            kept[slices[~kept[slices].any(1)].flatten()] = True
        return kept

    def _root(self, unit: int) -> int:
        parents = self._parents
        while parents[unit] != unit:
            parents[unit] = parents[parents[unit]]
            unit = parents[unit]
        return int(unit)


def narrow(*tensors: Tensor, but: int | None = None) -> tuple[Tensor, ...]:
    """Return tensors of one shape without the repetitions along axes in which all are expanded."""
    for axis in range(tensors[0].dim()):
        whole = but is not None and axis == but % tensors[0].dim()
        if not whole and all(t.stride(axis) == 0 and t.shape[axis] > 1 for t in tensors):
            tensors = tuple(t.narrow(axis, 0, 1) for t in tensors)
    return tensors


def slices(mask: Tensor) -> list[Tensor]:
    """Return for each axis which slices of a mask have any element."""
    axes = range(mask.dim())
    return [mask.movedim(axis, 0).reshape(mask.shape[axis], -1).any(1) for axis in axes]


def box(mask: Tensor) -> Tensor:
    """Return the smallest mask around this one that is whole slices along each axis."""
    return _outer(slices(mask), mask.shape)


def _outer(along: Sequence[Tensor], shape: torch.Size) -> Tensor:
    result = torch.ones(shape, dtype=torch.bool)
    for axis, mask in enumerate(along):
        result &= mask.view([-1 if other == axis else 1 for other in range(len(shape))])
    return result
