"""What a sweep has to train: a tree of levels, cut into tasks.

Levels that several runs have in common are trained once, and nobody waits for a level that another
process is making: a task begins when the task that makes the levels before it has ended. As each
key depends on the keys before it, the keys of all runs form a tree; a stretch of it without a
branch is a task.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import ablated_key, level_keys, run_name
from sdd_core.files.entries import level_folder, level_is_whole
from sdd_core.files.reading import names_in


@dataclass(frozen=True)
class Task:
    """What one worker does at a stretch.

    run: position of the run that it is, or of one of those that share its levels.
    levels: the last of the levels to train, which several runs share; None: carry out the run.
    keys: of the levels that it makes; a run may have none of its own.
    parent: position of the task that has to be done before, always an earlier one; or None.
    """

    run: int
    levels: int | None
    keys: tuple[str, ...]
    parent: int | None


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, and the tasks that make them."""

    experiments: tuple[Experiment, ...]
    names: tuple[str, ...]
    tasks: tuple[Task, ...]

    def __repr__(self) -> str:
        return (f"<Plan of {len(self.names)} runs: {len(self.keys)} levels in {len(self.tasks)} "
                "tasks>")

    @classmethod
    def of(cls, experiments: Sequence[Experiment]) -> Plan:
        """Cut the tree of all levels into tasks, parents before their children."""
        paths = [level_keys(experiment) for experiment in experiments]
        users = Counter(key for path in paths for key in path)
        tasks: list[Task] = []
        position: dict[str, int] = {}  # of the task that makes a shared level
        for run, (experiment, path) in enumerate(zip(experiments, paths, strict=True)):
            parent: int | None = None
            own: tuple[str, ...] = ()
            made = 0
            for count, stretch in groupby(path, key=users.__getitem__):
                keys = tuple(stretch)
                made += len(keys)
                if count == 1:
                    own = keys
                    continue
                if keys[0] not in position:
                    position[keys[0]] = len(tasks)
                    tasks.append(Task(run, made - 1, keys, parent))
                parent = position[keys[0]]
            tasks.append(Task(run, None, own + _ablated(experiment, path), parent))
        return cls(tuple(experiments), tuple(map(run_name, experiments)), tuple(tasks))

    @property
    def keys(self) -> list[str]:
        """The keys of all levels, each once."""
        return [key for task in self.tasks for key in task.keys]

    @property
    def shared(self) -> list[str]:
        """The keys of the levels that several runs have in common."""
        return [key for task in self.tasks if task.levels is not None for key in task.keys]

    @cached_property
    def children(self) -> Mapping[int | None, Sequence[int]]:
        """The tasks that come after each task, as positions; None: those that come first."""
        found: dict[int | None, list[int]] = {position: [] for position in range(len(self.tasks))}
        found[None] = []
        for position, task in enumerate(self.tasks):
            found[task.parent].append(position)
        return found

    def runs_after(self, task: int) -> list[int]:
        """The runs that need a task, itself included, as positions."""
        needed = [task]
        for one in needed:  # it grows
            needed += self.children[one]
        return [self.tasks[one].run for one in sorted(needed) if self.tasks[one].levels is None]

    def whole(self, store: Path) -> list[str]:
        """The keys of the levels that are in the store without damage. Reads their files, takes
        no lock and makes no folder. Raises SddError when one of them cannot be read."""
        return [key for key in self.there(store) if level_is_whole(store, key)]

    def there(self, store: Path) -> list[str]:
        """The same, without looking at what is in the files."""
        names = keys_in(store)
        return [key for key in self.keys if key in names]


@dataclass(frozen=True)
class Counts:
    """How much a sweep has to do.

    shared: levels that several runs have in common. there: those that the store has already.
    """

    runs: int
    levels: int
    shared: int
    there: int

    @classmethod
    def of(cls, experiments: Iterable[Experiment], store: Path) -> Counts:
        """Count the levels of experiments of which there may be very many: none of them is kept,
        but for its keys."""
        runs, keys, shared = 0, set[bytes](), set[bytes]()
        for experiment in experiments:
            runs += 1
            path = level_keys(experiment)
            shared |= keys.intersection(map(bytes.fromhex, path))
            keys.update(map(bytes.fromhex, (*path, *_ablated(experiment, path))))
        there = [key for key in keys_in(store) if bytes.fromhex(key) in keys]
        whole = sum(level_is_whole(store, key) for key in there)
        return cls(runs, len(keys), len(shared), whole)


def keys_in(store: Path) -> set[str]:
    """The keys of the levels that a store has, whole or damaged."""
    names = names_in(level_folder(store, ""))
    return {name for name in names if re.fullmatch("[0-9a-f]{40}", name)}


def _ablated(experiment: Experiment, path: Sequence[str]) -> tuple[str, ...]:
    """The keys of the levels that an experiment's ablation makes beside its levels."""
    ablation = experiment.ablation
    return tuple(ablated_key(key, ablation) for key in path[1:]) if ablation else ()
