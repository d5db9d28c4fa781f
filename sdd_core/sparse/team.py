"""Threads that run one compiled function together, each on its share of every loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.meeting import ABANDONED, SIZE

# A thread's number, and how many there are.
Part = tuple[int, int]


class Team:
    """A number of threads, the caller's among them.

    Args:
        size: how many; with 1 everything happens in the caller's thread.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size - 1) if size > 1 else None

    def run(self, work: Callable[[Part, NDArray[np.int64]], float]) -> float:
        """Sum of what `work` returns in each thread.

        work: compiled without the interpreter's lock; takes the thread's part and the array by
            which they `meet`.
        """
        meeting = np.zeros(SIZE, np.int64)
        if self._pool is None:
            return work((0, 1), meeting)
        others = []
        try:
            for number in range(1, self.size):
                others.append(self._pool.submit(work, (number, self.size), meeting))
            total = work((0, self.size), meeting)
        except BaseException:
            meeting[ABANDONED] = 1  # nobody must wait for the one that will not come
            raise
        return total + sum(other.result() for other in others)
