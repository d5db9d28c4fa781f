"""The paper's algorithm: train, prune, retrain, measure, level after level."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from sdd_core.keys import dense_key, digest, identity, level_keys
from sdd_core.level import Level, LevelView
from sdd_core.observers import Observers
from sdd_core.plugin import Metric
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
        self.data = self._load(root)
        self.resident = Resident(self.data, device, experiment.train.augment)
        steps_per_epoch = math.ceil(len(self.data.train) / experiment.train.batch_size)
        rates = dense_learning_rates(experiment.train, steps_per_epoch)
        self.dense = Dense(rates, steps_per_epoch)

    def check(self) -> None:
        """Raises SddError for what can be known before anything is trained or written."""
        check_output(self._build(0).to(self.device), self.data, self.device,
                     str(self.experiment.model.model_dump()["name"]))
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
        try:
            scores = pruner.scores(view)
        except SddError:
            raise
        except Exception as error:
            raise SddError(
                f"pruner {pruner.name!r} failed at level {level.index}: "
                f"{type(error).__name__}: {error}"
            ) from error
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
        state = masked(start, masks) if diverged else trainer.state()
        return Level(index, dict(masks), state, epochs, diverged, trainer.kernels)

    def _retraining(self, index: int) -> Retraining:
        if index == 0:
            return Retraining("initialisation", self.dense.learning_rates)
        schedule = self.experiment.retrain
        retraining = schedule.retraining(self.dense)
        if len(retraining.learning_rates) == 0:
            raise SddError(f"retraining schedule {schedule.name!r} leaves no step to train; the "
                           f"dense network trains {len(self.dense.learning_rates)} steps")
        return retraining

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
                state = {n: t.detach().cpu().contiguous() for n, t in network.state_dict().items()}
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
            for metric in metrics:
                values |= self._values(metric, view)
            row = {
                "level": level.index,
                "key": key,
                "measured_by": measured_by,
                "sparsity": 1 - density,
                "density": density,
                "diverged": level.diverged,
                "metrics": values,
            }
            folder = self.store.level_folder(key)
            self.folder.keep(row, {name: folder / name for name in LEVEL_FILES})
        self._call("sdd_level_end", level=level_result(row))

    def _values(self, metric: Metric, view: LevelView) -> dict[str, Any]:
        """A metric's values; None, and a word to the user, where it failed."""
        try:
            return {name: plain(value) for name, value in metric.measure(view).items()}
        except Exception as error:
            print(f"sdd: warning: metric {metric.name!r} failed at level {view.level}: "
                  f"{type(error).__name__}: {error}", file=sys.stderr)
            return {metric.name: None}

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
        clean = self.experiment.data.load(root).check()
        draw = generator(self.experiment.seed, "label noise")
        noisy = self.experiment.noise.corrupt(clean.train.labels.clone(), clean, draw)
        return replace(clean, train=replace(clean.train, labels=noisy)).check()

    def _build(self, level: int) -> nn.Module:
        """The network as it is initialised for a level: 0 the dense one, else a fresh one."""
        with torch.random.fork_rng():
            torch.manual_seed(stream_seed(self.experiment.seed, "initialisation", level))
            return self.experiment.model.build(self.data.input_shape, self.data.num_classes)

    @cached_property
    def _prunable(self) -> dict[str, Tensor]:
        return masking.prunable_weights(self._build(0))

    @cached_property
    def exempt(self) -> frozenset[str]:
        """The weights that are never pruned."""
        asked = self.experiment.pruner.exempt
        patterns = self.experiment.model.exempt() if asked is None else asked
        return masking.exempt_weights(self._prunable, patterns)

    @cached_property
    def _metrics(self) -> tuple[Metric, ...]:
        if self.experiment.metrics is not None:
            return self.experiment.metrics
        names = self.plugins.names("metric")
        return tuple(self.plugins.get("metric", name)() for name in names)  # type: ignore[misc]

    def _call(self, hook: str, **arguments: Any) -> None:
        self.observers.call(hook, run=self.folder, **arguments)


def masked(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict whose pruned weights are zero."""
    return {
        name: tensor.cpu().masked_fill(~masks[name], 0.0) if name in masks else tensor.cpu()
        for name, tensor in state.items()
    }


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
