"""Estimate how long the missing levels of a sweep will take.

The estimate uses the time between two successive levels of one worker. Thus the work before the
first level, imports and compilation, does not count, and dense and sparse levels are kept apart.
There is no estimate before a few levels of each kind are known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from statistics import fmean

import numpy as np

from sdd_core.errors import FAILURES
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import digest
from sdd_core.plugin.kinds import SparsitySchedule
from sdd_core.sweeps.plan import Plan

ENOUGH = 4
"""Number of densities with known times that an estimate needs, per kind of level."""

LEAST = 0.2
"""Least time of sparser levels, as a fraction of the time of the sparsest known level."""

Place = tuple[str, float]
"""The kind of a level, and its density; levels with equal places take equally long."""


class Estimate:
    """The times of a plan's finished levels, and the estimate for the others.

    workers: the largest number of tasks that were in progress at once.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.workers = 1
        self._places = _places(plan)
        # The start of a task's first level is not observed.
        self._seen = {self._places[key] for task in plan.tasks for key in task.keys[1:]}
        self._took: dict[Place, list[float]] = {}
        self._last: dict[int, float] = {}  # time of the latest level of each task
        self._arrivals: list[float] = []

    def came(self, keys: Collection[str], missing: Collection[str], now: float) -> None:
        """Record the levels that finished since the last call, and those still missing.

        now: the time, in seconds.
        """
        self._arrivals += [now] * len(keys)
        running = 0
        for position, task in enumerate(self.plan.tasks):
            if new := [key for key in task.keys if key in keys]:
                if position in self._last:
                    took = (now - self._last[position]) / len(new)
                    for key in new:
                        self._took.setdefault(self._places[key], []).append(took)
                self._last[position] = now
            running += position in self._last and any(key in missing for key in task.keys)
        self.workers = max(self.workers, running)

    def left(self, missing: Collection[str]) -> float | None:
        """Return the seconds until the missing levels are finished; None if not yet known."""
        times = {kind: self._times(kind) for kind in {self._places[key][0] for key in missing}}
        if None in times.values():
            return self._by_count(len(missing))
        costs = {key: times[kind](density)  # type: ignore[misc]
                 for key, (kind, density) in self._places.items() if key in missing}
        chains: list[float] = []  # seconds of each task with the tasks that it waits for
        for task in self.plan.tasks:
            before = 0.0 if task.parent is None else chains[task.parent]
            chains.append(before + sum(costs.get(key, 0.0) for key in task.keys))
        return max(sum(costs.values()) / self.workers, *chains)

    def _times(self, kind: str) -> Callable[[float], float] | None:
        """Return the seconds of levels of a kind, by density; None if not yet known."""
        took = {density: times for (one, density), times in self._took.items() if one == kind}
        seen = len([one for one, _ in self._seen if one == kind])
        if len(took) < min(ENOUGH, seen) or sum(map(len, took.values())) < 2:
            return None
        return _fitted({density: fmean(times) for density, times in took.items()})

    def _by_count(self, missing: int) -> float | None:
        """Return the seconds left where all levels are alike and each task has one, as in a sweep
        of dense networks; None before a quarter of them is finished."""
        since = len(self._arrivals) - 1  # the time of the first one is not known
        alike = len(set(self._places.values())) == 1
        if not alike or since < 2 * ENOUGH or since < missing / 3:
            return None
        return (self._arrivals[-1] - self._arrivals[0]) / since * missing


def _fitted(known: Mapping[float, float]) -> Callable[[float], float]:
    """Return times by density: linear between known ones, and extrapolated to sparser levels with
    the fitted slope."""
    densities = np.array(sorted(known))
    times = np.array([known[density] for density in densities])
    slope = max(0.0, float(np.polyfit(densities, times, 1)[0])) if len(known) > 1 else 0.0

    def time(density: float) -> float:
        if density >= densities[0]:
            return float(np.interp(density, densities, times))
        return float(max(times[0] - slope * (densities[0] - density), LEAST * times[0]))

    return time


def _places(plan: Plan) -> dict[str, Place]:
    places: dict[str, Place] = {}
    ends: list[int] = []
    for task in plan.tasks:
        experiment, begin = plan.experiments[task.run], 0
        if task.parent is not None:
            begin = ends[task.parent]
        for index, key in enumerate(task.keys, start=begin):
            # The levels of an ablation follow the last level, starting from level 1.
            level = index - experiment.levels if index > experiment.levels else index
            places[key] = (_kind(experiment, level), _density(experiment, level))
        ends.append(begin + len(task.keys))
    return places


def _kind(experiment: Experiment, level: int) -> str:
    train, epochs = experiment.train, experiment.train.epochs
    if level and experiment.retrain.epochs is not None:
        epochs = experiment.retrain.epochs
    return digest([
        experiment.data.model_dump(mode="json"), experiment.model.model_dump(mode="json"),
        epochs, train.batch_size, experiment.kernels,
    ])  # fmt: skip


def _density(experiment: Experiment, level: int) -> float:
    """Return the density of a level, as far as the experiment determines it."""
    given = experiment.pruner.sparsity
    if level == 0:
        return 1.0
    with suppress(*FAILURES):  # a plugin's mistake is reported by its run
        if isinstance(given, SparsitySchedule):
            return 1.0 - float(given.sparsity(level))
    if isinstance(given, tuple):
        return 1.0 - given[level - 1]
    return float((1.0 - experiment.pruner.fraction) ** level)
