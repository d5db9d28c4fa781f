"""Plan a sweep: the levels of all runs form a tree, which is cut into tasks.

Levels that several runs have in common are trained once, and no worker waits for a level of another
one: a task begins when the task with the levels before it has ended. Each key depends on the keys
before it, so the keys of all runs form a tree; a stretch without a branch is a task.
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
    """A unit of work for one worker.

    run: position of its run, or of one of the runs that share its levels.
    levels: number of the last shared level to train; None: execute the whole run.
    keys: keys of the levels that it makes; may be empty for a run.
    parent: position of the task that must be finished first, always an earlier one; or None.
    """

    run: int
    levels: int | None
    keys: tuple[str, ...]
    parent: int | None


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep and their tasks."""

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
        """The positions of the tasks after each task; under None, those of the first tasks."""
        found: dict[int | None, list[int]] = {position: [] for position in range(len(self.tasks))}
        found[None] = []
        for position, task in enumerate(self.tasks):
            found[task.parent].append(position)
        return found

    def runs_after(self, task: int) -> list[int]:
        """Return the positions of the runs that need a task, including its own."""
        needed = [task]
        for one in needed:  # grows during the loop
            needed += self.children[one]
        return [self.tasks[one].run for one in sorted(needed) if self.tasks[one].levels is None]

    def whole(self, store: Path) -> list[str]:
        """Return the keys of the undamaged levels in the store. Read their files; take no lock and
        make no folder. Raises SddError when one of them cannot be read."""
        return [key for key in self.there(store) if level_is_whole(store, key)]

    def there(self, store: Path) -> list[str]:
        """Return the keys of the levels in the store, without checking their files."""
        names = keys_in(store)
        return [key for key in self.keys if key in names]


@dataclass(frozen=True)
class Counts:
    """The work of a sweep in numbers.

    shared: levels that several runs have in common. there: levels already in the store.
    """

    runs: int
    levels: int
    shared: int
    there: int

    @classmethod
    def of(cls, experiments: Iterable[Experiment], store: Path) -> Counts:
        """Count the levels of experiments. There may be very many, so only their keys are kept in
        memory."""
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
    """Return the keys of the levels in a store, including damaged ones."""
    names = names_in(level_folder(store, ""))
    return {name for name in names if re.fullmatch("[0-9a-f]{40}", name)}


def _ablated(experiment: Experiment, path: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of the additional levels of an experiment's ablation."""
    ablation = experiment.ablation
    return tuple(ablated_key(key, ablation) for key in path[1:]) if ablation else ()
