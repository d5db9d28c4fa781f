"""A network's parameters in one flat array, without the entries that are pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Entry(NamedTuple):
    shape: tuple[int, ...]
    places: NDArray[np.intp]  # of kept entries in the parameter, flattened
    slots: slice | NDArray[np.intp]  # where they lie in the flat array


class Packing:
    """Which entries of each parameter lie where in the flat array.

    Gradients and momenta lie as the parameters do. `size` is how long these arrays are.
    """

    def __init__(self) -> None:
        self.size = 0
        self._entries: list[_Entry] = []

    def add(
        self,
        shape: tuple[int, ...],
        places: NDArray[np.intp],
        slots: NDArray[np.intp] | None = None,
        size: int | None = None,
    ) -> int:
        """Append a parameter. Return where it begins in the flat array.

        places: of its kept entries, in the order in which they are to lie.
        slots: where each one lies, of `size` (None: side by side).
        """
        start = self.size
        self.size += len(places) if size is None else size
        taken = slice(start, self.size) if slots is None else start + slots
        self._entries.append(_Entry(shape, places, taken))
        return start

    def kept(self) -> NDArray[np.bool_]:
        """Which entries of the flat array are parameters that are kept."""
        kept = np.zeros(self.size, bool)
        for entry in self._entries:
            kept[entry.slots] = True
        return kept

    def pack(self, parameters: Sequence[NDArray]) -> NDArray:
        """Return the flat array of these parameters."""
        flat = np.zeros(self.size, parameters[0].dtype)
        for entry, parameter in zip(self._entries, parameters, strict=True):
            flat[entry.slots] = parameter.ravel()[entry.places]
        return flat

    def unpack(self, flat: NDArray) -> list[NDArray]:
        """Return what `pack` took, with 0 for entries that are pruned."""
        return [self.unpack_one(flat, number) for number in range(len(self._entries))]

    def unpack_one(self, flat: NDArray, number: int) -> NDArray:
        """Return one of the parameters that `pack` took."""
        entry = self._entries[number]
        parameter = np.zeros(entry.shape, flat.dtype)
        parameter.reshape(-1)[entry.places] = flat[entry.slots]
        return parameter

    def repack(self, before: Packing, flats: Sequence[NDArray]) -> list[NDArray]:
        """Return the flat arrays of the parameters in `flats`, which `before` packed; entries that
        it had not are 0."""
        repacked = [np.zeros(self.size, flat.dtype) for flat in flats]
        padded = [np.concatenate([np.zeros(1, flat.dtype), flat]) for flat in flats]
        # Where each entry of one parameter lies in them; 0: nowhere.
        slots = np.zeros(max(math.prod(entry.shape) for entry in self._entries), np.int32)
        everything = np.arange(1, before.size + 1, dtype=np.int32)
        for old, new in zip(before._entries, self._entries, strict=True):
            slots[old.places] = everything[old.slots]
            taken = slots[new.places]
            slots[old.places] = 0  # only kept entries are read and written
            for whole, flat in zip(padded, repacked, strict=True):
                flat[new.slots] = whole[taken]
        return repacked

    def add_to(self, flat: NDArray, number: int, values: NDArray) -> None:
        """Add values, in the shape of a parameter, to its kept entries."""
        entry = self._entries[number]
        flat[entry.slots] += values.ravel()[entry.places]
