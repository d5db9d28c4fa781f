"""The paper's algorithm: train, prune, retrain, measure, level after level."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdd_core.analysis.recommendation import with_recommendation
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import ablated_key, level_keys
from sdd_core.files.entries import SUMS
from sdd_core.level import masks as masking
from sdd_core.level.level import Level, LevelView
from sdd_core.output.notices import say
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.kinds import Schedule
from sdd_core.plugin.observers import Observers
from sdd_core.pruning import prune
from sdd_core.runs.level_files import files_of
from sdd_core.runs.record import Inputs, Sizes
from sdd_core.runs.result import Result
from sdd_core.runs.rows import Row
from sdd_core.runs.run_folder import RunFolder, level_result
from sdd_core.runs.store import Store
from sdd_core.training.level_trainer import Call, LevelTrainer
from sdd_core.training.metrics import Metrics
from sdd_core.training.notes import notes
from sdd_core.training.setup import ExperimentSetup
from sdd_core.training.surroundings import isolated_randomness, usable_device


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
    """Run an experiment; levels that are already in the store are reused.

    Args:
        experiment: an experiment, or nested settings as in an experiment file (default: the
            default experiment).
        store: folder for levels and runs; any number of runs and processes may share it.
        observers: objects with life-cycle hooks (see `sdd_core.plugin.hookspecs`), for this run
            only.
        data_root: folder of data sets, also for downloads.
        device: device to train on (default: a GPU if available).
        checkpoint_minutes: minutes between checkpoints, the most work that a crash can cost.

    Raises:
        SddError: an error that the user can fix; the store stays consistent.
    """
    plugins = plugins or load_plugins()
    if not isinstance(experiment, Experiment):
        experiment = Experiment.make(experiment, plugins)
    with isolated_randomness():
        root = Path(data_root) if data_root is not None else None
        setup = ExperimentSetup(experiment, root, usable_device(device))
        listeners = Observers(plugins.hooks, observers)
        return _Engine(setup, plugins, Path(store), checkpoint_minutes * 60, listeners).run()


def train_levels(
    experiment: Experiment,
    *,
    store: Path,
    plugins: Plugins,
    schedules: Iterable[tuple[Schedule, int]] = (),
    data_root: Path | None = None,
    device: torch.device | str | None = None,
    checkpoint_minutes: float = 2.0,
) -> None:
    """Train the levels of an experiment that are not in the store yet, for the runs that share
    them: without run folder, ablation, metrics and observers. Raises SddError.

    schedules: the schedules of those runs, each with its number of levels; their rewind points are
    made too.
    """
    plain_levels = experiment.model_copy(update={"ablation": None})
    with isolated_randomness():
        setup = ExperimentSetup(plain_levels, data_root, usable_device(device))
        engine = _Engine(setup, plugins, store, checkpoint_minutes * 60)
        with engine.store.writer.finished():
            for _ in engine.levels():
                pass
        for schedule, levels in schedules:
            # The run with an invalid schedule reports it.
            with suppress(SddError):
                for level in range(1, levels + 1):
                    retraining = setup.retraining(level, schedule)
                    if retraining.start == "rewind point":
                        engine.trainer.dense_state_at(retraining.first_step)


class _Engine:
    """The loop over the levels of one run."""

    def __init__(
        self,
        setup: ExperimentSetup,
        plugins: Plugins,
        folder: Path,
        every: float,
        observers: Observers | None = None,
    ) -> None:
        """Open the store in `folder`. every: seconds between checkpoints."""
        self.experiment = setup.experiment
        self.setup = setup
        self.plugins = plugins
        self.folder = RunFolder.of(self.experiment, folder)
        self.store = Store(folder)
        # Not a bound method: a reference cycle would keep the data until garbage collection.
        call = partial(observers.call, run=self.folder) if observers else _call_nobody
        # Observers hear of what is on the disk only, and of everything in its order.
        self._call: Call = partial(self.store.writer.then, call)
        self.trainer = LevelTrainer(setup, self.store, every, self._call)
        self.metrics = Metrics(setup, plugins, self.store)

    def run(self) -> Result:
        """Train and measure every level, in the run's folder."""
        self.folder.begin(self.plugins, str(self.setup.device),
                          Sizes.of(self.setup.data, self.setup.changed_labels),
                          Inputs.of(self.setup.data))
        self._call("sdd_run_start")
        for line in notes(self.setup):
            say(f"sdd: {line}")
        known = self.folder.known()
        rows: list[Row] = []
        with self.store.writer.finished():
            for level, key, before, dense in self.levels():
                measured, measured_key = self._ablated(level, key, before, dense)
                rows.append(self._measure(measured, measured_key, level, before, dense,
                                          known.get(level.index)))
        self.folder.settle(rows)
        # Not read again: another process may measure other metrics of the same run meanwhile.
        result = with_recommendation(self.folder.result(rows))
        self._call("sdd_run_end", result=result)
        return result

    def levels(self) -> Iterator[tuple[Level, str, Level | None, Level]]:
        """Yield every level with its key, the level that it was pruned from, and the dense level.

        Level 0 is the dense network, level k has been pruned k times.
        """
        given = self.setup.given_masks
        dense = before = None
        for index, key in enumerate(level_keys(self.experiment)):
            level = self._kept(key, partial(self._next, index, key, before, dense),
                               self.setup.prunable if before or given else self.setup.known)
            if dense is None and not given:
                level = replace(level, masks=masking.full_masks(self.setup.prunable))
            dense = dense or level
            yield level, key, before, dense
            before = dense if self.experiment.pruner.from_dense else level

    def _kept(self, key: str, make: Callable[[], Level], prunable: Collection[str]) -> Level:
        """Return the level with this key from the store. If it is missing, one process makes it
        first; also if an earlier version of sdd made it with masks for other weights.

        The files of a new level are written while its metrics are measured and the next one trains.
        """
        with ExitStack() as held:
            held.enter_context(self.store.lock(key))
            level = self.store.load_level(key)
            if level is not None and set(level.masks) != set(prunable):
                where = self.store.put_away(key)
                say(f"sdd: level {level.index} was made when other layers could be pruned; it was "
                    f"moved to {where} and is trained again")
                level = None
            if level is None:
                level = make()
                self.store.save_level(key, level, held)
        return level

    def _next(self, index: int, key: str, before: Level | None, dense: Level | None) -> Level:
        """Prune the level `before` and train the remaining weights."""
        given = self.setup.given_masks
        first = given or masking.full_masks(self.setup.known)
        masks = self._prune(before, index) if before else first
        retraining = self.setup.retraining(index)
        return self.trainer.train(index, key, masks, retraining, before, dense)

    def _prune(self, level: Level, index: int) -> Mapping[str, Tensor]:
        """Return the masks of level `index`, pruned from `level`."""
        pruner, masks = self.experiment.pruner, level.masks
        view = self._view(level, target_density=self._aim(level, index))
        with self.setup.guard.isolated(pruner, "pruner", level.index):
            scores = pruner.scores(view)
            scores = prune.check_scores(scores, masks, view.prunable, f"pruner {pruner.name!r}")
        if (sparsity := self.setup.sparsity(index)) is not None:
            return prune.prune_to(masks, scores, sparsity, pruner.scope, self.setup.rules)
        for _ in range(level.index, index):
            # In one-shot pruning, repeat the fraction to get the same count as in the iteration.
            masks = prune.prune_fraction(masks, scores, pruner.fraction, pruner.scope,
                                           self.setup.rules)
        return masks

    def _aim(self, level: Level, index: int) -> float:
        """Return the density that the prunable layers of level `index` will have."""
        pruner = self.experiment.pruner
        if (sparsity := self.setup.sparsity(index)) is not None:
            return 1 - sparsity
        names = [name for name in level.masks if name not in self.setup.exempt]
        times = index - level.index
        return masking.density(level.masks, names) * (1 - pruner.fraction) ** times

    def _ablated(
        self, level: Level, key: str, before: Level | None, dense: Level
    ) -> tuple[Level, str]:
        """Return the level under the experiment's ablation, if there is one, and its key."""
        ablation = self.experiment.ablation
        if ablation is None or before is None:
            return level, key
        changed_key = ablated_key(key, ablation)

        def make() -> Level:
            view = self._view(level)
            with self.setup.guard.isolated(ablation, "ablation", level.index):
                masks = prune.check_masks(ablation.masks(view), level.masks,
                                          f"ablation {ablation.name!r}")
            retraining = self.setup.ablated_retraining(level.index)
            return self.trainer.train(level.index, changed_key, masks, retraining, before, dense,
                                      unchanged=level)

        return self._kept(changed_key, make, self.setup.prunable), changed_key

    def _measure(
        self,
        level: Level,
        key: str,
        unchanged: Level,
        before: Level | None,
        dense: Level,
        row: Row | None,
    ) -> Row:
        """Measure a level, unless this run has already done so, and return the recorded values.

        unchanged: the level without its ablation, whose sparsity is recorded.
        row: the run's existing record of this level, if there is one.
        """
        measured_by = self.metrics.key(level)
        if row is None or row.key != key or row.measured_by != measured_by:
            view = self._view(level, before, dense, unchanged)
            values, complete = self.metrics.measure(key, view)
            if level.moved is not None:
                values = {"moved": level.moved, **values}
            row = Row(
                level=level.index,
                key=key,
                # A failed metric is measured again when the run is resumed.
                measured_by=measured_by if complete else None,
                sparsity=masking.sparsity(unchanged.masks, view.prunable),
                density=masking.density(unchanged.masks, view.prunable),
                diverged=level.diverged,
                metrics=values,
            )
            self.store.writer.write(partial(self.folder.keep, row))
        folder = self.store.level_folder(key)
        files = {name: folder / name for name in (*files_of(level), SUMS)}
        self.store.writer.write(partial(self.folder.link, level.index, files))
        self._call("sdd_level_end", level=level_result(row))
        return row

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
            build=lambda: self.setup.build(0),
            layers=lambda: self.setup.layers,
            trainable=self.setup.trainable,
            data=self.setup.data,
            exempt=self.setup.exempt,
            seed=self.experiment.seed,
            device=self.setup.device,
            before=before.state if before else None,
            dense=dense.state if dense else None,
            unchanged=unchanged.state if unchanged else None,
            # Metrics get the lifted masks of an ablation; pruners and ablations get the masks.
            lifted=unchanged is not None and self.setup.lifts_masks(level.index),
            target_density=target_density,
            logits=lambda: self.trainer.logits(level),
        )


def _call_nobody(hook: str, **arguments: Any) -> None:
    """Replacement of `Observers.call` without observers."""
