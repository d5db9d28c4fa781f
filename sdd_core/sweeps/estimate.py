"""How long the missing levels of a sweep will take.

It is worked out from what single levels took: the time between two levels that one worker made, one
after the other. So what workers do before their first level, imports and compilation, is not taken
for the speed of the rest, and dense levels are not taken for sparse ones. Nothing is said before a
few levels of each kind are known.
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
"""Densities of a kind of level at which times are known before anything is said."""

LEAST = 0.2
"""What sparser levels take at least, of what the sparsest took of which that is known."""

Place = tuple[str, float]
"""The kind of a level, of which all take alike at one density, and its density."""


class Estimate:
    """What the levels of a plan took that have come so far, and how long the others will take.

    workers: the most tasks that were seen in progress at once.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.workers = 1
        self._places = _places(plan)
        # Of a task's first level nobody sees when it began.
        self._seen = {self._places[key] for task in plan.tasks for key in task.keys[1:]}
        self._took: dict[Place, list[float]] = {}
        self._last: dict[int, float] = {}  # when a level of a task came
        self._arrivals: list[float] = []

    def came(self, keys: Collection[str], missing: Collection[str], now: float) -> None:
        """These levels have come since the last look, and those are missing still."""
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
        """Seconds until the missing levels are there; None where that cannot be said yet."""
        times = {kind: self._times(kind) for kind in {self._places[key][0] for key in missing}}
        if None in times.values():
            return self._by_count(len(missing))
        costs = {key: times[kind](density)  # type: ignore[misc]
                 for key, (kind, density) in self._places.items() if key in missing}
        chains: list[float] = []  # what a task takes with those that it waits for
        for task in self.plan.tasks:
            before = 0.0 if task.parent is None else chains[task.parent]
            chains.append(before + sum(costs.get(key, 0.0) for key in task.keys))
        return max(sum(costs.values()) / self.workers, *chains)

    def _times(self, kind: str) -> Callable[[float], float] | None:
        """What levels of a kind take, by their density; None where that is not known yet."""
        took = {density: times for (one, density), times in self._took.items() if one == kind}
        seen = len([one for one, _ in self._seen if one == kind])
        if len(took) < min(ENOUGH, seen) or sum(map(len, took.values())) < 2:
            return None
        return _fitted({density: fmean(times) for density, times in took.items()})

    def _by_count(self, missing: int) -> float | None:
        """The same where all levels are alike and none is a step of a longer task, as in a sweep of
        dense networks, once a quarter of them is there."""
        since = len(self._arrivals) - 1  # what came before the first one took is not known
        alike = len(set(self._places.values())) == 1
        if not alike or since < 2 * ENOUGH or since < missing / 3:
            return None
        return (self._arrivals[-1] - self._arrivals[0]) / since * missing


def _fitted(known: Mapping[float, float]) -> Callable[[float], float]:
    """Times by density: those that are known and straight lines between them; for sparser levels
    the decline goes on as it was."""
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
            # Those of an ablation come behind the last level, from the first on.
            level = index - experiment.levels if index > experiment.levels else index
            places[key] = (_kind(experiment), _density(experiment, level))
        ends.append(begin + len(task.keys))
    return places


def _kind(experiment: Experiment) -> str:
    train = experiment.train
    return digest([
        experiment.data.model_dump(mode="json"), experiment.model.model_dump(mode="json"),
        train.epochs, train.batch_size, experiment.kernels,
    ])  # fmt: skip


def _density(experiment: Experiment, level: int) -> float:
    """What the pruner leaves, as far as the experiment says it."""
    given = experiment.pruner.sparsity
    if level == 0:
        return 1.0
    with suppress(*FAILURES):  # a plugin's mistake is told by its run
        if isinstance(given, SparsitySchedule):
            return 1.0 - float(given.sparsity(level))
    if isinstance(given, tuple):
        return 1.0 - given[level - 1]
    return float((1.0 - experiment.pruner.fraction) ** level)
