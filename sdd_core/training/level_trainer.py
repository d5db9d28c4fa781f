"""Training of levels: starting weights, objective, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sdd_core.experiment.keys import dense_key, digest
from sdd_core.level import masks as masking
from sdd_core.level.checkpoint import Checkpoint
from sdd_core.level.evaluation import predict
from sdd_core.level.level import Level
from sdd_core.level.result import Epoch
from sdd_core.level.retraining import Retraining
from sdd_core.plugin.kinds.retrain import PrunedValue
from sdd_core.pruning.moving import Course
from sdd_core.randomness import generator
from sdd_core.runs.store import Store
from sdd_core.runs.writer import Writer
from sdd_core.training.loop import Task, Watcher, train_level
from sdd_core.training.mover import Mover
from sdd_core.training.observation import Observation
from sdd_core.training.recalibration import measured_again
from sdd_core.training.select import TrainerFactory
from sdd_core.training.setup import ExperimentSetup
from sdd_core.training.states import cpu_state, finite, masked, permuted
from sdd_core.training.trainer import Objective


class Call(Protocol):
    """Calls the observers of a run."""

    def __call__(self, hook: str, **arguments: Any) -> None: ...


class _Watcher(Watcher):
    """Calls the observers of a run for each epoch, and saves a checkpoint every `every` seconds.

    look: called between steps; it raises the error of a write that failed.
    """

    def __init__(
        self, call: Call, level: int, every: float, keep: Callable[[Checkpoint], None],
        look: Callable[[], None],
    ) -> None:
        self._call, self._level, self._every, self._keep = call, level, every, keep
        self._look = look
        self._kept_at = time.monotonic()

    def epoch_starts(self, number: int) -> None:
        self._call("sdd_epoch_start", level=self._level, epoch=number)

    def epoch_ends(self, epoch: Epoch) -> None:
        self._call("sdd_epoch_end", level=self._level, epoch=epoch)

    def may_keep(self, checkpoint: Callable[[], Checkpoint]) -> None:
        self._look()
        if time.monotonic() - self._kept_at >= self._every:
            self._keep(checkpoint())
            self._kept_at = time.monotonic()


class LevelTrainer:
    """Trains the levels of one experiment.

    every: seconds between two checkpoints. call: called at the start and end of levels and epochs.
    """

    def __init__(self, setup: ExperimentSetup, store: Store, every: float, call: Call) -> None:
        self._setup = setup
        self._store = store
        self._every = every
        self._call = call
        self._experiment = setup.experiment
        self._points: dict[int, dict[str, Tensor]] = {}
        # The weights of the level that was trained last, and what predicts with them.
        self._latest: tuple[Mapping[str, Tensor], Callable[[str], Tensor]] | None = None

    def train(
        self,
        index: int,
        key: str,
        masks: Mapping[str, Tensor],
        retraining: Retraining,
        before: Level | None,
        dense: Level | None,
        unchanged: Level | None = None,
    ) -> Level:
        """Train level `index` under its masks, from its last checkpoint if there is one.

        before: the level that was pruned. dense: level 0; both None for level 0 itself.
        unchanged: under an ablation, the level without it.
        """
        setup = self._setup
        course = self._latest = None
        if before is not None and len(retraining.learning_rates):
            course = setup.course(index, retraining, before.masks, masks)
        if course is not None:
            masks = course.start
        start = self._start(index, masks, retraining, before, unchanged)
        epochs_ahead = math.ceil(len(retraining.learning_rates) / setup.dense.steps_per_epoch)
        self._call("sdd_level_start", level=index, epochs=epochs_ahead)
        level = Level(index, dict(masks), start, ())
        pruner = self._experiment.pruner
        # An ablation's network is not pruned; in one-shot pruning only the dense one is.
        observed = (pruner.observes() and unchanged is None
                    and not (pruner.from_dense and before))
        if epochs_ahead:
            level = self._trained(level, key, retraining, before, dense, course, observed=observed)
        batches = self._experiment.retrain.recalibrate if before else 0
        if (batches or not epochs_ahead) and self._is_usable(level):
            level = measured_again(setup, level, retraining, batches)
        if self._is_usable(level):
            return level
        # The next level cannot use these weights; it continues from this level's start.
        usable = finite(start, setup.trainable)
        state = start if usable else masked(self.dense_state_at(0), masks)
        if course is not None:
            masks = course.after
            level, state = replace(level, masks=dict(masks)), masked(state, masks)
        return replace(level, state=state, diverged=True, observed={})

    def _is_usable(self, level: Level) -> bool:
        return not level.diverged and finite(level.state, self._setup.trainable)

    def _trained(
        self,
        level: Level,
        key: str,
        retraining: Retraining,
        before: Level | None,
        dense: Level | None,
        course: Course | None,
        *,
        observed: bool,
    ) -> Level:
        """Return a level after its training, which starts from its state."""
        setup, seed, index = self._setup, self._experiment.seed, level.index
        resume = self._store.checkpoints.load(key)
        mover = Mover(course, setup.guard, resume) if course else None
        network = setup.build(0)
        network.load_state_dict(dict(resume.state if resume else level.state))
        masks = mover.masks if mover else level.masks
        observation = None
        if observed:
            observation = self._observation(index, masks, retraining, resume)
        # Random draws of the network, for example of dropout, depend only on the level.
        with setup.guard.isolated(self._experiment.model, "training", index):
            trainer = self._trainers.make(
                network.to(setup.device),
                masks,
                momenta=resume.momenta if resume else None,
                kernels=resume.kernels if resume else None,
                objective=self._objective(level.state, retraining, before, dense),
                chosen_by=course.after if course else None,
                observation=observation,
            )
            train = self._experiment.train
            task = Task(retraining, seed, index, train.batch_size, train.stop_loss)
            watcher = _Watcher(self._call, index, self._every,
                               partial(self._keep, key, observation),
                               self._store.writer.look)
            epochs, diverged = train_level(trainer, setup.resident, task, watcher, resume, mover)
        masks, moved = (mover.masks, mover.count) if mover else (level.masks, None)
        state, predictor = trainer.state(), trainer.predictor()
        if predictor is not None:
            self._latest = state, predictor
        return Level(index, masks, state, epochs, diverged, trainer.kernels, moved,
                     observation.state() if observation else {}, trainer.instructions)

    def _observation(
        self, index: int, masks: Mapping[str, Tensor], retraining: Retraining,
        resume: Checkpoint | None,
    ) -> Observation:
        """Return what shows the level's training to the pruner, from a checkpoint if given."""
        setup = self._setup
        return Observation(
            self._experiment.pruner, setup.guard, index, len(retraining.learning_rates),
            masks, setup.device, resume.observed if resume else None,
            resume.taken if resume else 0,
        )

    def _keep(self, key: str, observation: Observation | None, checkpoint: Checkpoint) -> None:
        """Save a checkpoint, with what the pruner has observed so far."""
        observed = observation.state() if observation else {}
        self._store.checkpoints.save(key, replace(checkpoint, observed=observed))

    @cached_property
    def _trainers(self) -> TrainerFactory:
        network = self._setup.build(0)
        with self._setup.guard.isolated(self._experiment.model, "layers"):
            return TrainerFactory(network, self._setup.resident, self._experiment,
                                  self._store.kernel_costs(),
                                  partial(_tell_wait, self._store.writer, self._call))

    def logits(self, level: Level) -> Callable[[str], Tensor] | None:
        """Return a function that gives a level's logits on 'train' or 'test', by the kernels that
        trained it, so that a level that is loaded again has the same; None if torch trained it."""
        if not level.kernels or level.diverged:
            return None
        if self._latest is not None and self._latest[0] is level.state:
            return self._latest[1]
        network = self._setup.build(0)
        network.load_state_dict(dict(level.state))
        return self._trainers.logits(network, level.masks, level.kernels)

    def dense_state_at(self, steps: int) -> dict[str, Tensor]:
        """Return the state of the dense network after some steps of its training; 0 is its
        initialisation, which may be pretrained.

        The training of the dense level does not depend on the rewind points of schedules: the first
        steps are trained again when a point is needed, and the point is stored.
        """
        if steps not in self._points:
            self._points[steps] = self._stored(steps)
        return self._points[steps]

    def _stored(self, steps: int) -> dict[str, Tensor]:
        key = digest({"dense": dense_key(self._experiment), "steps": steps})
        with self._store.lock(key):
            state = self._store.load_point(key)
            if state is None:
                network = self._setup.build(0) if steps else self._setup.start()
                if steps:
                    network.load_state_dict(self.dense_state_at(0))
                    self._replay(network, steps)
                state = cpu_state(network)
                self._store.save_point(key, state)
        return state

    def _replay(self, network: nn.Module, steps: int) -> None:
        """Train the first steps of the dense network once more, in `network`."""
        setup, seed = self._setup, self._experiment.seed
        masks = setup.given_masks or masking.full_masks(setup.prunable)
        first = Retraining("initialisation", setup.dense.learning_rates[:steps])
        objective = self._objective(self.dense_state_at(0), first, None, None)
        with setup.guard.isolated(self._experiment.model, "training", 0):
            # On the same path as level 0.
            kernels = () if self._experiment.pruner.observes() else None
            trainer = self._trainers.make(network.to(setup.device), masks, kernels=kernels,
                                          objective=objective)
            size = self._experiment.train.batch_size
            train_level(trainer, setup.resident, Task(first, seed, 0, size, measure=False))
        network.load_state_dict(trainer.state())

    def _start(
        self,
        index: int,
        masks: Mapping[str, Tensor],
        retraining: Retraining,
        before: Level | None,
        unchanged: Level | None,
    ) -> dict[str, Tensor]:
        """Return the weights from which a level starts, with pruned ones at their held values."""
        start: Mapping[str, Tensor]
        if retraining.start == "level" and unchanged:
            start = unchanged.state
        elif retraining.start == "previous" and before:
            start = before.state
        elif retraining.start == "fresh":
            start = self._setup.build(index).state_dict()
        elif retraining.start == "rewind point":
            start = self.dense_state_at(retraining.first_step)
        else:
            start = self.dense_state_at(0)
        frozen: PrunedValue = self._experiment.retrain.pruned
        if before is None or frozen == "zero":
            return masked(start, masks)
        values = dict(start if frozen == "initial" else before.state)
        if frozen == "permuted":
            draw = generator(self._experiment.seed, "permuted values", index)
            values |= {name: permuted(values[name], mask, draw) for name, mask in masks.items()}
        return {
            name: torch.where(masks[name], tensor, values[name]) if name in masks else tensor
            for name, tensor in start.items()
        }

    def _objective(
        self,
        start: Mapping[str, Tensor],
        retraining: Retraining,
        before: Level | None,
        dense: Level | None,
    ) -> Objective | None:
        """Return the objective of a level; None for the one that the sparse kernels support."""
        experiment = self._experiment
        loss, train = experiment.loss, experiment.train
        penalty = train.distance_penalty
        # With `frozen` the trainer does not set pruned weights to zero, which would be wrong for a
        # checkpoint from after the masks were lifted. `start` has their initial values.
        lifted = retraining.masked_steps is not None
        frozen = before is not None and (experiment.retrain.pruned != "zero" or lifted)
        teacher = None
        if loss is not None and loss.teacher is not None:
            teacher_level = dense if loss.teacher == "dense" else before
            if teacher_level is None:
                loss = None
            else:
                teacher = self._logits(teacher_level)
        usual = loss is None and not penalty and not train.norm_penalty and not frozen
        if usual and train.optimizer.sgd_momentum is not None:
            return None
        return Objective(loss, teacher, start if penalty else None, frozen)

    def _logits(self, level: Level) -> Tensor:
        """Return a level's logits on the training set, `[N, classes]`, on the device."""
        network = self._setup.build(0)
        network.load_state_dict(dict(level.state))
        data, device = self._setup.data, self._setup.device
        return predict(network.to(device), data, data.train.images).to(device)


def _tell_wait(writer: Writer, call: Call) -> None:
    """Tell observers that kernels are compiled: before the wait, whatever is being written."""
    writer.finish()
    call("sdd_wait", reason="compiling kernels")
