"""Measure the metrics of an experiment on its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from functools import cached_property
from typing import Any

from sdd_core.data.plain import finite, infinite, plain
from sdd_core.errors import SddError
from sdd_core.experiment.keys import digest, identity
from sdd_core.installation import DISTRIBUTION
from sdd_core.level.level import Level, LevelView
from sdd_core.output.notices import warn
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.isolation import DataChanged
from sdd_core.plugin.kinds import Metric, label
from sdd_core.runs.result import COLUMNS
from sdd_core.runs.rows import metric_faults
from sdd_core.runs.store import Store, metrics_lock
from sdd_core.training.setup import ExperimentSetup


class Metrics:
    """The metrics of one experiment. Values in the store are reused."""

    def __init__(self, setup: ExperimentSetup, plugins: Plugins, store: Store) -> None:
        self._setup = setup
        self._plugins = plugins
        self._store = store
        self._warned: set[str] = set()

    @cached_property
    def _metrics(self) -> tuple[Metric, ...]:
        if self._setup.experiment.metrics is not None:
            return self._setup.experiment.metrics
        return self._plugins.default_metrics()

    def key(self, level: Level) -> str:
        """Return a key of what is measured on a level: the metrics, and the weights with masks."""
        return digest({"metrics": [identity(metric) for metric in self._metrics],
                       "weights": list(level.masks)})

    def measure(self, key: str, view: LevelView) -> tuple[dict[str, Any], bool]:
        """Return the values of all metrics on the level with this key, by name, and whether no
        metric failed. A value that a file cannot hold becomes None, with a warning."""
        found = self._measured(key, view)
        values = self._named(found)
        for name, fault in metric_faults(values).items():
            warn(f"level {view.level}: {fault}; it is left out")
            values[name] = None
        return values, None not in found

    def _named(self, found: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
        """Return the values of all metrics by name.

        If several values have one name, sdd's columns and metrics keep it, or else the first
        metric. The other values get the prefix of their distribution, or are left out if that name
        is taken too; a warning reports it.
        """
        values: dict[str, Any] = {}
        origins = [self._plugins.origin(type(metric))["distribution"] for metric in self._metrics]
        rows = list(zip(self._metrics, origins, found, strict=True))
        for metric, origin, measured in sorted(rows, key=lambda row: row[1] != DISTRIBUTION):
            for name, value in ({metric.name: None} if measured is None else measured).items():
                free = name
                if name in values or name in COLUMNS:
                    free = f"{origin}:{name}"
                    outcome = "left out" if free in values else f"called {free!r}"
                    self._warn_once(f"metric {label(metric)!r} has a value called {name!r}, which "
                                    f"is the name of another one; it is {outcome}")
                values.setdefault(free, value)
        return values

    def _warn_once(self, problem: str) -> None:
        """Warn of a problem that every level has, at the first level only."""
        if problem not in self._warned:
            self._warned.add(problem)
            warn(problem)

    def _measured(self, key: str, view: LevelView) -> list[dict[str, Any] | None]:
        """Return the values of each metric on the level with this key, None if it failed. Values
        in the store, from this run or another one that shares the level, are reused."""
        # The key of the dense network does not depend on the pruner, but the pruner decides which
        # layers are exempt or included.
        chosen = {"exempt": sorted(self._setup.exempt)}
        if included := sorted(self._setup.prunable.keys() - self._setup.known.keys()):
            chosen["include"] = included
        keys = [digest({"metric": identity(one), **chosen}) for one in self._metrics]
        with ExitStack() as held:
            held.enter_context(self._store.lock(metrics_lock(key)))
            kept = self._store.load_metrics(key)
            count = len(kept)
            for name, metric in zip(keys, self._metrics, strict=True):
                if name not in kept and (values := self._values(metric, view)) is not None:
                    kept[name] = values
            if len(kept) > count:
                self._store.save_metrics(key, kept, held)
        return [kept.get(name) for name in keys]

    def _values(self, metric: Metric, view: LevelView) -> dict[str, Any] | None:
        """Return a metric's values; None, with a warning, if it failed."""
        try:
            with self._setup.guard.isolated(metric, "metric", metric.name, view.level):
                # A shallow copy, so that a metric cannot change the tensors that others see.
                values = metric.measure(copy(view))
                if not isinstance(values, Mapping):
                    raise TypeError(f"measure() returned {type(values).__name__}; expected a "
                                    "mapping from names to values")
                values = plain(values)
                for name in filter(lambda name: infinite(values[name]), values):
                    warn(f"level {view.level}: metric {label(metric)!r} gives an infinite "
                         f"{name!r}, which is recorded as missing")
                return finite(values)
        except DataChanged:
            raise
        except SddError as error:
            warn(f"level {view.level}: {error}")
            return None
