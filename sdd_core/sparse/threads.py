"""Threads that run one compiled function together, each on its share of every loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from sdd_core.sparse.barrier import ABANDONED, Thread, new_barrier

# Steps on which one thread and several are compared each, and after how many that is done again.
TRIAL, PERIOD = 8, 512


class ThreadTeam:
    """A number of threads, the caller's among them.

    Args:
        size: how many; with 1 everything happens in the caller's thread.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size - 1) if size > 1 else None

    def run(self, work: Callable[[Thread], float]) -> float:
        """Return the sum of what `work` returns in each thread.

        work: compiled without the interpreter's lock.

        Raises: what `work` raised first, when all threads have ended.
        """
        barrier = new_barrier(self.size)
        if self._pool is None:
            return work(Thread((0, 1), barrier))
        errors: list[BaseException] = []

        def share(number: int) -> float:
            try:
                return work(Thread((number, self.size), barrier))
            except BaseException as error:
                errors.append(error)
                barrier[ABANDONED] = 1  # nobody must wait for the one that will not come
                return 0.0

        try:
            others = [self._pool.submit(share, number) for number in range(1, self.size)]
            total = share(0) + sum(other.result() for other in others)
        except BaseException:  # Ctrl-C just before or after
            barrier[ABANDONED] = 1
            raise
        if errors:
            raise errors[0]
        return total


class AdaptiveTeam:
    """One thread, or a team, for steps whose results are the same with either.

    The threads of a team hand each other what they computed after every layer. Where their cores
    have no cache in common, that can take longer than a second thread saves, and nothing but the
    clock says so: it is asked again and again, for a thread may be moved to another core.

    Args:
        size: of the team.
    """

    def __init__(self, size: int) -> None:
        self.whole = ThreadTeam(size)
        # What has to be compiled first counts against one thread.
        self._teams = (ThreadTeam(1), self.whole)
        self._times = [0.0, 0.0]
        self._position = 0  # of the next step in its period

    def run(self, take: Callable[[ThreadTeam, int, int], float], steps: int) -> float:
        """Return the sum of what `take(team, begin, end)` returns for some of the steps each."""
        if self.whole.size == 1:
            return take(self.whole, 0, steps)
        total, begin = 0.0, 0
        while begin < steps:
            trial, within = divmod(self._position, TRIAL)
            trying = trial < len(self._teams)
            chosen = trial if trying else self._times.index(min(self._times))
            end = min(steps, begin + (TRIAL - within if trying else PERIOD - self._position))
            start = perf_counter()
            total += take(self._teams[chosen], begin, end)
            if trying:
                before = self._times[trial] if within else 0.0
                self._times[trial] = before + perf_counter() - start
            self._position = (self._position + end - begin) % PERIOD
            begin = end
        return total
