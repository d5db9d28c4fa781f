"""Lists of integers for the kernels, laid end to end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Index:
    """Integer arrays laid end to end."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int32]] = []
        self._size = 0

    def append(self, values: NDArray) -> int:
        """Return where `values` begin."""
        self._parts.append(values.ravel().astype(np.int32, copy=False))
        self._size += values.size
        return self._size - values.size

    def append_chosen(self, chosen: NDArray[np.bool_]) -> tuple[int, int]:
        """Append the numbers of what is chosen. Return where they begin, and how many there are."""
        numbers = np.flatnonzero(chosen)
        return self.append(numbers), len(numbers)

    def flat(self) -> NDArray[np.int32]:
        """Return all of them, never none."""
        return np.concatenate([*self._parts, np.zeros(1, np.int32)])


def starts_of(lines: NDArray[np.integer], count: int) -> NDArray[np.intp]:
    """[count + 1]: where each line begins when what belongs to them lies line by line."""
    starts = np.zeros(count + 1, np.intp)
    np.cumsum(np.bincount(lines, minlength=count), out=starts[1:])
    return starts
