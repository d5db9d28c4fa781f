"""The paper's algorithm: train, prune, retrain, measure, level after level."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdd_core.data.plain import finite, infinite, plain
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import ablated_key, digest, identity, level_keys
from sdd_core.files.entries import SUMS
from sdd_core.installation import DISTRIBUTION
from sdd_core.level import masks as masking
from sdd_core.level.inspection import parameters_of, too_little
from sdd_core.level.level import Level, LevelView
from sdd_core.output.notices import say, warn
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.isolation import DataChanged
from sdd_core.plugin.kinds import Metric, Schedule, label
from sdd_core.plugin.observers import Observers
from sdd_core.pruning import prune
from sdd_core.randomness import fork_random_state
from sdd_core.runs.level_files import LEVEL_FILES
from sdd_core.runs.result import COLUMNS, Result
from sdd_core.runs.rows import Row, metric_faults
from sdd_core.runs.run_folder import RunFolder, level_result
from sdd_core.runs.store import Store
from sdd_core.training.level_trainer import Call, LevelTrainer
from sdd_core.training.setup import ExperimentSetup


def run(
    experiment: Experiment | Mapping[str, Any] | None = None,
    *,
    store: Path | str = "runs",
    plugins: Plugins | None = None,
    observers: Sequence[object] = (),
    data_root: Path | str | None = None,
    device: torch.device | str | None = None,
    checkpoint_minutes: float = 2.0,
) -> Result:
    """Carry out an experiment; levels that the store has already are not trained again.

    Args:
        experiment: what to do, or nested settings as in an experiment file (None: the default).
        store: folder for levels and runs, shared by as many runs and processes as you like.
        observers: objects with life-cycle hooks (see `sdd_core.plugin.hookspecs`), for this run
            only.
        data_root: where data sets are looked for and downloaded to.
        device: where to train (None: a GPU where there is one).
        checkpoint_minutes: how much work a crash may cost.

    Raises:
        SddError: anything a user can mend; the store stays whole.
    """
    plugins = plugins or load_plugins()
    if not isinstance(experiment, Experiment):
        experiment = Experiment.make(experiment, plugins)
    with _own_randomness():
        root = Path(data_root) if data_root is not None else None
        parts = ExperimentSetup(experiment, root, _device(device))
        told = Observers(plugins.hooks, observers)
        return _Engine(parts, plugins, Path(store), checkpoint_minutes * 60, told).run()


def train_levels(
    experiment: Experiment,
    *,
    store: Path,
    plugins: Plugins,
    schedules: Iterable[Schedule] = (),
    data_root: Path | None = None,
    device: torch.device | str | None = None,
    checkpoint_minutes: float = 2.0,
) -> None:
    """Train the levels of an experiment that the store does not have yet, for the runs that will
    share them: no folder, no ablation, nothing measured, no observers. Raises SddError.

    schedules: those of the runs, whose rewind points are made too.
    """
    plain_levels = experiment.model_copy(update={"ablation": None})
    with _own_randomness():
        parts = ExperimentSetup(plain_levels, data_root, _device(device))
        engine = _Engine(parts, plugins, store, checkpoint_minutes * 60)
        for _ in engine.levels():
            pass
        for schedule in schedules:
            # One that is wrong is the business of the run that has it.
            with suppress(SddError):
                retraining = parts.retraining(1, schedule)
                if retraining.start == "rewind point":
                    engine.trainer.dense_state_at(retraining.first_step)


class _Engine:
    """The loop over the levels of one run."""

    def __init__(
        self,
        parts: ExperimentSetup,
        plugins: Plugins,
        folder: Path,
        every: float,
        observers: Observers | None = None,
    ) -> None:
        """Opens the store."""
        self.experiment = parts.experiment
        self.parts = parts
        self.plugins = plugins
        self.folder = RunFolder.of(self.experiment, folder)
        self.store = Store(folder)
        # No method of its own: in a cycle the data would stay until they are collected as garbage.
        self._call: Call = partial(observers.call, run=self.folder) if observers else _tell_nobody
        self.trainer = LevelTrainer(parts, self.store, every, self._call)
        self._told: set[str] = set()

    def run(self) -> Result:
        """Train and measure every level, in the run's folder."""
        data = self.parts.data
        sizes = {"train_examples": len(data.train), "test_examples": len(data.test),
                 "classes": int(data.num_classes), "changed_labels": self.parts.changed_labels}
        self.folder.begin(self.plugins, str(self.parts.device), sizes)
        self._call("sdd_run_start")
        self._say_what_is_left_out()
        known = self.folder.known()
        for level, key, before, dense in self.levels():
            changed, own_key = self._ablated(level, key, before, dense)
            self._measure(changed, own_key, level, before, dense, known.get(level.index))
        self.folder.settle()
        result = self.folder.result()
        self._call("sdd_run_end", result=result)
        return result

    def _say_what_is_left_out(self) -> None:
        """Say on standard error that less than half of the network can be pruned."""
        if not self.experiment.levels:
            return
        include = self.experiment.pruner.include or ()
        line = too_little(parameters_of(self.parts.build(0), self.parts.exempt, include))
        if line:
            say(f"sdd: {line}")

    def levels(self) -> Iterator[tuple[Level, str, Level | None, Level]]:
        """Every level with its key, the level that it was pruned from, and the dense one.

        Level 0 is the dense network, level k has been pruned k times.
        """
        dense = before = None
        for index, key in enumerate(level_keys(self.experiment)):
            level = self._kept(key, partial(self._next, index, key, before, dense),
                               self.parts.prunable if before else self.parts.known)
            if dense is None:
                level = replace(level, masks=masking.full_masks(self.parts.prunable))
            dense = dense or level
            yield level, key, before, dense
            before = dense if self.experiment.pruner.from_dense else level

    def _kept(self, key: str, make: Callable[[], Level], prunable: Collection[str]) -> Level:
        """The level with this key from the store; made first, by one process, if it is missing, or
        if it has masks for other weights: those that an earlier version of sdd knew."""
        with self.store.lock(key):
            level = self.store.load_level(key)
            if level is not None and set(level.masks) != set(prunable):
                where = self.store.put_away(key)
                say(f"sdd: level {level.index} was made when other layers could be pruned; it was "
                    f"moved to {where} and is trained again")
                level = None
            if level is None:
                level = make()
                self.store.save_level(key, level)
        return level

    def _next(self, index: int, key: str, before: Level | None, dense: Level | None) -> Level:
        """Prune the level before and train what is left."""
        masks = self._prune(before, index) if before else masking.full_masks(self.parts.known)
        retraining = self.parts.retraining(index)
        return self.trainer.train(index, key, masks, retraining, before, dense)

    def _prune(self, level: Level, index: int) -> Mapping[str, Tensor]:
        """The masks of level `index`, pruned from `level`."""
        pruner, masks = self.experiment.pruner, level.masks
        view = self._view(level, target_density=self._aim(level, index))
        with self.parts.guard.isolated(pruner, "pruner", level.index):
            scores = pruner.scores(view)
            scores = prune.check_scores(scores, masks, view.prunable, pruner.name)
        if (sparsity := self.parts.sparsity(index)) is not None:
            return prune.prune_to(masks, scores, sparsity, pruner.scope, self.parts.rules)
        for _ in range(level.index, index):
            # More than once from the dense network, so that each level has its usual count.
            masks = prune.prune_fraction(masks, scores, pruner.fraction, pruner.scope,
                                           self.parts.rules)
        return masks

    def _aim(self, level: Level, index: int) -> float:
        """The density that the prunable layers of level `index` will have."""
        pruner = self.experiment.pruner
        if (sparsity := self.parts.sparsity(index)) is not None:
            return 1 - sparsity
        names = [name for name in level.masks if name not in self.parts.exempt]
        times = index - level.index
        return masking.density(level.masks, names) * (1 - pruner.fraction) ** times

    def _ablated(
        self, level: Level, key: str, before: Level | None, dense: Level
    ) -> tuple[Level, str]:
        """The level under the experiment's ablation, if there is one, and its key."""
        ablation = self.experiment.ablation
        if ablation is None or before is None:
            return level, key
        own_key = ablated_key(key, ablation)

        def make() -> Level:
            view = self._view(level)
            with self.parts.guard.isolated(ablation, "ablation", level.index):
                masks = prune.check_masks(ablation.masks(view), level.masks, ablation.name)
            retraining = self.parts.ablated_retraining(level.index)
            return self.trainer.train(level.index, own_key, masks, retraining, before, dense,
                                      unchanged=level)

        return self._kept(own_key, make, self.parts.prunable), own_key

    def _measure(
        self,
        level: Level,
        key: str,
        unchanged: Level,
        before: Level | None,
        dense: Level,
        row: Row | None,
    ) -> None:
        """Measure a level, unless this run has done so, and write it down.

        unchanged: the level without its ablation, at whose sparsity it stands.
        row: what the run has of this level already.
        """
        metrics = self._metrics
        measured_by = digest({"metrics": [identity(metric) for metric in metrics],
                              "weights": list(level.masks)})
        if row is None or row.key != key or row.measured_by != measured_by:
            view = self._view(level, before, dense, unchanged)
            found = self._measured(key, view)
            values = self._named(found)
            for name, fault in metric_faults(values).items():
                warn(f"level {level.index}: {fault}; it is left out")
                values[name] = None
            row = Row(
                level=level.index,
                key=key,
                # What failed is measured again when the run goes on.
                measured_by=None if None in found else measured_by,
                sparsity=masking.sparsity(unchanged.masks, view.prunable),
                density=masking.density(unchanged.masks, view.prunable),
                diverged=level.diverged,
                metrics=values,
            )
            self.folder.keep(row)
        folder = self.store.level_folder(key)
        self.folder.link(level.index, {name: folder / name for name in (*LEVEL_FILES, SUMS)})
        self._call("sdd_level_end", level=level_result(row))

    def _named(self, found: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
        """The values of all metrics by name.

        A name belongs to sdd's own columns and metrics before all others, then to the metric that
        comes first. Another value of that name gets that of its distribution before it, or is left
        out where that is taken too; the user is told.
        """
        values: dict[str, Any] = {}
        origins = [self.plugins.origin(type(metric))["distribution"] for metric in self._metrics]
        parts = list(zip(self._metrics, origins, found, strict=True))
        for metric, origin, own in sorted(parts, key=lambda part: part[1] != DISTRIBUTION):
            for name, value in ({metric.name: None} if own is None else own).items():
                free = name
                if name in values or name in COLUMNS:
                    free = f"{origin}:{name}"
                    as_what = "left out" if free in values else f"called {free!r}"
                    self._told_once(f"metric {label(metric)!r} has a value called {name!r}, which "
                                    f"is the name of another one; it is {as_what}")
                values.setdefault(free, value)
        return values

    def _told_once(self, problem: str) -> None:
        """Warn of what is the same at each level."""
        if problem not in self._told:
            self._told.add(problem)
            warn(problem)

    def _measured(self, key: str, view: LevelView) -> list[dict[str, Any] | None]:
        """What each metric finds on the level with this key, None where it failed. What the store
        has, from this run or from another that shares the level, is not measured again."""
        # The key of the dense network knows no pruner, and which layers are exempt or included is
        # up to that.
        chosen = {"exempt": sorted(self.parts.exempt)}
        if included := sorted(self.parts.prunable.keys() - self.parts.known.keys()):
            chosen["include"] = included
        keys = [digest({"metric": identity(one), **chosen}) for one in self._metrics]
        with self.store.lock(f"{key}-metrics"):
            kept = self.store.load_metrics(key)
            had = len(kept)
            for name, metric in zip(keys, self._metrics, strict=True):
                if name not in kept and (values := self._values(metric, view)) is not None:
                    kept[name] = values
            if len(kept) > had:
                self.store.save_metrics(key, kept)
        return [kept.get(name) for name in keys]

    def _values(self, metric: Metric, view: LevelView) -> dict[str, Any] | None:
        """A metric's values; None, and a word to the user, where it failed."""
        try:
            with self.parts.guard.isolated(metric, "metric", metric.name, view.level):
                # A shallow copy: what one metric does to the tensors it sees, no other one sees.
                values = metric.measure(copy(view))
                if not isinstance(values, Mapping):
                    raise TypeError(f"measure() returned {type(values).__name__}; expected a "
                                    "mapping from names to values")
                values = plain(values)
                for name in filter(lambda name: infinite(values[name]), values):
                    warn(f"level {view.level}: metric {label(metric)!r} gives an infinite "
                         f"{name!r}, which is kept as no number")
                return finite(values)
        except DataChanged:
            raise
        except SddError as error:
            warn(f"level {view.level}: {error}")
            return None

    def _view(
        self,
        level: Level,
        before: Level | None = None,
        dense: Level | None = None,
        unchanged: Level | None = None,
        target_density: float | None = None,
    ) -> LevelView:
        return LevelView(
            level,
            initial=self.trainer.dense_state_at(0),
            build=lambda: self.parts.build(0),
            trainable=self.parts.trainable,
            data=self.parts.data,
            exempt=self.parts.exempt,
            seed=self.experiment.seed,
            device=self.parts.device,
            before=before.state if before else None,
            dense=dense.state if dense else None,
            unchanged=unchanged.state if unchanged else None,
            # Known where the level is measured; pruners and ablations see it under its masks.
            lifted=unchanged is not None and self.parts.lifts_masks(level.index),
            target_density=target_density,
        )

    @cached_property
    def _metrics(self) -> tuple[Metric, ...]:
        if self.experiment.metrics is not None:
            return self.experiment.metrics
        return self.plugins.default_metrics()


def _tell_nobody(hook: str, **arguments: Any) -> None:
    """In place of `Observers.call`."""


def _device(wanted: torch.device | str | None) -> torch.device:
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # each kind of device has its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SddError(f"cannot use device {str(wanted)!r}: {reason}") from None
    return device


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Leave the caller's random state alone, and make a GPU's convolutions repeatable."""
    with fork_random_state(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        yield
