"""When each gradient of a residual network is there, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.architecture import Architecture, Convolution, Normalisation
from sdd_core.sparse.plan.index import Index
from sdd_core.sparse.plan.memory import Memory
from sdd_core.sparse.plan.reach import Reach


class GradientPlan:
    """Places gradients in the order of the backward pass.

    A residual sum hands its gradient on as it is: the map that it takes besides has that of
    another, as long as nobody adds to it.
    """

    def __init__(
        self,
        architecture: Architecture,
        masks: Sequence[NDArray[np.bool_]],
        reach: Reach,
        memory: Memory,
        index: Index,
    ) -> None:
        self._architecture = architecture
        self._masks = masks
        self._reach = reach
        self._memory = memory
        self._index = index
        self._places: dict[int, int] = {}  # of the gradients that are there
        self._present = [np.zeros(channels, bool) for channels, _ in architecture.sizes]
        self._needed: dict[int, int] = {}  # by how many convolutions, of an activation's gradient
        self._lenders: dict[int, int] = {}  # of activations whose gradient is another's so far

    def place(self, activations: Any, layers: Any) -> None:
        """Fill in the tables."""
        architecture = self._architecture
        made = {part.target: record for part, record
                in zip(architecture.activations, activations, strict=True)}  # fmt: skip
        computed = {part.target: record for part, record
                    in zip(architecture.convolutions, layers, strict=True)}  # fmt: skip
        for part in reversed(architecture.operations):
            if isinstance(part, Normalisation):
                self._activation(made[part.target], part)
            else:
                layer = computed[part.target]
                self._convolution(layer, part, architecture.activations[layer.feeds].target)

    def _activation(self, record: Any, part: Normalisation) -> None:
        record.gradient = self._place(part.target)
        self._needed[part.target] = len(part.normed())
        if part.other is not None and part.other_norm is None:
            self._places[part.other] = self._places[part.target]
            self._present[part.other] |= self._reach.reached[part.target]
            self._lenders[part.other] = part.target

    def _convolution(self, layer: Any, part: Convolution, made: int) -> None:
        source, lenders = part.source, self._lenders
        layer.gradient = self._places[made]
        layer.gradient_so_far = layer.source_gradient = self._place(source) if source else -1
        # What is lent must not be added to while others, or this one, have to read it.
        moves = source in lenders and self._needed[lenders[source]] > 0
        if moves:
            del self._places[source], lenders[source]
            layer.source_gradient = self._place(source)
        self._list_columns(layer, part, moves)
        self._needed[made] -= 1
        if self._needed[made] == 0:
            self._done(made)

    def _done(self, made: int) -> None:
        """Free the gradient of an activation, unless it is another's now."""
        borrowers = [number for number, lender in self._lenders.items() if lender == made]
        for number in borrowers:
            del self._lenders[number]
        if not borrowers:
            channels, size = self._architecture.sizes[made]
            self._memory.give_back(self._places[made], channels * size * size)

    def _place(self, number: int) -> int:
        if number not in self._places:
            channels, size = self._architecture.sizes[number]
            self._places[number] = self._memory.take(channels * size * size)
        return self._places[number]

    def _list_columns(self, layer: Any, part: Convolution, moves: bool) -> None:
        """The phases of source channels that get something; notes that they have it then."""
        reached, present = self._reach.reached, self._present[part.source]
        phases = part.stride * part.stride
        touched = self._masks[part.layer][reached[part.target]].any(axis=(0, 2, 3))
        # The first reader is the last here: it completes all channels, also the untouched ones.
        chosen = reached[part.source] if layer.first and part.source else touched
        chosen = chosen | present if moves else chosen
        channels = np.repeat(np.flatnonzero(chosen), phases)
        phase = np.tile(np.arange(phases), len(channels) // phases)
        layer.columns = self._index.append(channels * phases + phase)
        layer.channels = self._index.append(channels)
        layer.present = self._index.append(present[channels])
        layer.column_count = len(channels)
        present |= touched
