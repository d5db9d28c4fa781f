"""The paper's algorithm: train, prune, retrain, measure, level after level."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdd_core import masks as masking
from sdd_core.data import Dataset
from sdd_core.errors import SddError
from sdd_core.evaluation import check_output
from sdd_core.experiment import Experiment
from sdd_core.guard import DataChanged, Guard
from sdd_core.keys import dense_key, digest, identity, level_keys
from sdd_core.level import Level, LevelView
from sdd_core.observers import Observers
from sdd_core.plugin import Metric, label
from sdd_core.plugin_manager import Plugins, load_plugins
from sdd_core.randomness import generator, stream_seed
from sdd_core.resident import Resident
from sdd_core.result import Result
from sdd_core.retraining import Dense, Retraining
from sdd_core.run_folder import Run, level_result, plain
from sdd_core.store import LEVEL_FILES, Store
from sdd_core.trainers import make_trainer
from sdd_core.training import dense_learning_rates, train_level


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
        observers: objects with life-cycle hooks (see `sdd_core.hookspecs`), for this run only.
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
        engine = _Engine(experiment, plugins, root, _device(device))
        engine.check()
        engine.open(Path(store), checkpoint_minutes * 60, observers)
        return engine.run()


class _Engine:
    """One run: the experiment's parts, made once, and the loop over its levels."""

    def __init__(
        self, experiment: Experiment, plugins: Plugins, root: Path | None, device: torch.device
    ) -> None:
        self.experiment = experiment
        self.plugins = plugins
        self.device = device
        self.guard = Guard(experiment.seed)
        self.data = self._load(root)
        self.guard.watch(self.data)
        self.resident = Resident(self.data, device, experiment.train.augment)
        steps_per_epoch = math.ceil(len(self.data.train) / experiment.train.batch_size)
        rates = dense_learning_rates(experiment.train, steps_per_epoch)
        self.dense = Dense(rates, steps_per_epoch)

    def check(self) -> None:
        """Raises SddError for what can be known before anything is trained or written."""
        check_output(self._build(0).to(self.device), self.data, self.device,
                     label(self.experiment.model))
        _ = self.exempt
        self._retraining(1)

    def open(self, folder: Path, every: float, observers: Sequence[object]) -> None:
        """Open the store and the run's folder."""
        self.every = every
        self.observers = Observers(self.plugins.hooks, observers)
        run = Run.of(self.experiment, folder)
        self.store = Store(folder)
        self.folder = run
        sizes = {"train_examples": len(self.data.train), "test_examples": len(self.data.test)}
        run.begin(self.plugins, str(self.device), sizes)

    def run(self) -> Result:
        """The loop: level 0 is the dense network, level k has been pruned k times."""
        self._call("sdd_run_start")
        level = None
        for index, key in enumerate(level_keys(self.experiment)):
            with self.store.lock(key):
                found = self.store.load_level(key)
                if found is None:
                    masks = self._prune(level) if level else masking.full_masks(self._prunable)
                    found = self._train(index, key, masks, level)
                    self.store.save_level(key, found)
            level = found
            self._measure(level, key)
        result = self.folder.result()
        self._call("sdd_run_end", result=result)
        return result

    def _prune(self, level: Level) -> dict[str, Tensor]:
        """The masks of the next level."""
        pruner = self.experiment.pruner
        view = self._view(level)
        with self.guard.asking(pruner, "pruner", level.index):
            scores = pruner.scores(view)
            scores = masking.check_scores(scores, level.masks, view.prunable, pruner.name)
        if pruner.sparsity is not None:
            return masking.prune_to(level.masks, scores, pruner.sparsity, pruner.scope)
        return masking.prune_fraction(level.masks, scores, pruner.fraction, pruner.scope)

    def _train(
        self, index: int, key: str, masks: Mapping[str, Tensor], before: Level | None
    ) -> Level:
        """Train a level from where its schedule starts it, or from its last checkpoint."""
        retraining = self._retraining(index)
        resume = self.store.load_checkpoint(key)
        start = self._start(retraining, index, before)
        network = self._build(0)
        network.load_state_dict(dict(resume.state if resume else start))
        epochs_ahead = math.ceil(len(retraining.learning_rates) / self.dense.steps_per_epoch)
        self._call("sdd_level_start", level=index, epochs=epochs_ahead)
        torch.manual_seed(stream_seed(self.experiment.seed, "training", index))
        trainer = make_trainer(
            network.to(self.device),
            masks,
            self.resident,
            self.experiment,
            momenta=resume.momenta if resume else None,
            kernels=resume.kernels if resume else None,
            costs=self.store.kernel_costs(),
        )
        epochs, diverged = train_level(
            trainer,
            self.resident,
            retraining,
            seed=self.experiment.seed,
            level=index,
            batch_size=self.experiment.train.batch_size,
            resume=resume,
            keep=lambda checkpoint: self.store.save_checkpoint(key, checkpoint),
            every=self.every,
            on_start=lambda epoch: self._call("sdd_epoch_start", level=index, epoch=epoch),
            on_end=lambda epoch: self._call("sdd_epoch_end", level=index, epoch=epoch),
        )
        state = trainer.state()
        trained = [name for name, p in network.named_parameters() if p.requires_grad]
        if diverged or not finite(state, trained):
            # Of no use to the next level, which goes on from where this one began.
            diverged = True
            state = masked(start if finite(start, trained) else self._dense_after(0), masks)
        return Level(index, dict(masks), state, epochs, diverged, trainer.kernels)

    def _retraining(self, index: int) -> Retraining:
        if index == 0:
            return Retraining("initialisation", self.dense.learning_rates)
        schedule = self.experiment.retrain
        dense = replace(self.dense, learning_rates=self.dense.learning_rates.copy())
        with self.guard.asking(schedule, "schedule", index):
            return schedule.retraining(dense).check(schedule.name, self.dense)

    def _start(
        self, retraining: Retraining, index: int, before: Level | None
    ) -> Mapping[str, Tensor]:
        """The weights a level starts from, before its masks are applied."""
        if retraining.start == "previous" and before:
            return before.state
        if retraining.start == "fresh":
            return self._build(index).state_dict()
        if retraining.start == "rewind point":
            return self._dense_after(retraining.first_step)
        return self._dense_after(0)

    def _dense_after(self, steps: int) -> dict[str, Tensor]:
        """The dense network after some steps of its training; 0 is its initialisation.

        It does not depend on the schedule that asks for it, so the dense level need not know
        which steps anybody will want: the first few are simply trained again, and kept.
        """
        key = digest({"dense": dense_key(self.experiment), "steps": steps})
        with self.store.lock(key):
            state = self.store.load_point(key)
            if state is None:
                network = self._build(0)
                if steps:
                    network = self._replay(network, steps)
                state = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                         for name, tensor in network.state_dict().items()}
                self.store.save_point(key, state)
        return state

    def _replay(self, network: nn.Module, steps: int) -> nn.Module:
        torch.manual_seed(stream_seed(self.experiment.seed, "training", 0))
        masks = masking.full_masks(self._prunable)
        trainer = make_trainer(network.to(self.device), masks, self.resident, self.experiment,
                               costs=self.store.kernel_costs())
        first = Retraining("initialisation", self.dense.learning_rates[:steps])
        size = self.experiment.train.batch_size
        train_level(trainer, self.resident, first, seed=self.experiment.seed, level=0,
                    batch_size=size, measure=False)
        network.load_state_dict(trainer.state())
        return network

    def _measure(self, level: Level, key: str) -> None:
        """Measure a level, unless this run has done so, and write it down."""
        metrics = self._metrics
        measured_by = digest([identity(metric) for metric in metrics])
        row = self.folder.known().get(level.index)
        if row is None or row["key"] != key or row["measured_by"] != measured_by:
            view = self._view(level)
            density = masking.density(level.masks, view.prunable)
            values: dict[str, Any] = {}
            whole = True
            for metric in metrics:
                found = self._values(metric, view)
                whole = whole and found is not None
                for name, value in (found or {metric.name: None}).items():
                    # Of two values with one name the first stays; built-in metrics come first.
                    values.setdefault(name, value)
            row = {
                "level": level.index,
                "key": key,
                # What failed is measured again when the run goes on.
                "measured_by": measured_by if whole else None,
                "sparsity": 1 - density,
                "density": density,
                "diverged": level.diverged,
                "metrics": values,
            }
            self.folder.keep(row)
        folder = self.store.level_folder(key)
        self.folder.link(level.index, {name: folder / name for name in LEVEL_FILES})
        self._call("sdd_level_end", level=level_result(row))

    def _values(self, metric: Metric, view: LevelView) -> dict[str, Any] | None:
        """A metric's values; None, and a word to the user, where it failed."""
        try:
            with self.guard.asking(metric, "metric", metric.name, view.level):
                # A shallow copy: what one metric does to the tensors it sees, no other one sees.
                return {str(n): plain(value) for n, value in metric.measure(copy(view)).items()}
        except DataChanged:
            raise
        except SddError as error:
            print(f"sdd: warning: level {view.level}: {error}", file=sys.stderr)
            return None

    def _view(self, level: Level) -> LevelView:
        return LevelView(
            level,
            initial=self._dense_after(0),
            build=lambda: self._build(0),
            data=self.data,
            exempt=self.exempt,
            seed=self.experiment.seed,
            device=self.device,
        )

    def _load(self, root: Path | None) -> Dataset:
        """The data with its label noise."""
        source, noise, seed = self.experiment.data, self.experiment.noise, self.experiment.seed
        with self.guard.asking(source, "data"):
            clean = source.load(root).check()
        with self.guard.asking(noise, "noise"):
            draw = generator(seed, "label noise")
            noisy = noise.corrupt(clean.train.labels.clone(), clean, draw)
            return replace(clean, train=replace(clean.train, labels=noisy)).check()

    def _build(self, level: int) -> nn.Module:
        """The network as it is initialised for a level: 0 the dense one, else a fresh one."""
        model = self.experiment.model
        with self.guard.asking(model, "initialisation", level):
            network = model.build(self.data.input_shape, self.data.num_classes)
        if not isinstance(network, nn.Module):
            raise SddError(f"model {label(model)!r} returned {type(network).__name__}; expected a "
                           "torch.nn.Module")
        return network

    @cached_property
    def _prunable(self) -> dict[str, Tensor]:
        return masking.prunable_weights(self._build(0))

    @cached_property
    def exempt(self) -> frozenset[str]:
        """The weights that are never pruned."""
        asked, model = self.experiment.pruner.exempt, self.experiment.model
        with self.guard.asking(model, "exempt"):
            patterns = tuple(model.exempt() if asked is None else asked)
        return masking.exempt_weights(self._prunable, patterns)

    @cached_property
    def _metrics(self) -> tuple[Metric, ...]:
        if self.experiment.metrics is not None:
            return self.experiment.metrics
        return self.plugins.default_metrics()

    def _call(self, hook: str, **arguments: Any) -> None:
        self.observers.call(hook, run=self.folder, **arguments)


def masked(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict whose pruned weights are zero."""
    return {
        name: tensor.cpu().masked_fill(~masks[name], 0.0) if name in masks else tensor.cpu().clone()
        for name, tensor in state.items()
    }


def finite(state: Mapping[str, Tensor], names: Iterable[str]) -> bool:
    """Whether these tensors of a state_dict hold numbers only, no NaN and no infinity."""
    return all(bool(state[name].isfinite().all()) for name in names)


def _device(wanted: torch.device | str | None) -> torch.device:
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SddError(f"cannot use device {str(wanted)!r}: {str(error).splitlines()[0]}") from None
    return device


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Leave the caller's random state alone, and make a GPU's convolutions repeatable."""
    with torch.random.fork_rng(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        yield
