"""The training loop of a level: epochs of steps, evaluation after each epoch, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sdd_core.data.resident import AugmentationDraws, DeviceDataset
from sdd_core.level.checkpoint import Checkpoint, random_state, restore_random_state
from sdd_core.level.result import Epoch
from sdd_core.level.retraining import Retraining
from sdd_core.training.mover import Mover
from sdd_core.training.trainer import Trainer

# Steps between possible checkpoints, because an epoch may take hours.
CHUNK = 250

# Steps before the first look at the watcher: the files of the level before are written by then.
FIRST_CHUNK = 4


@dataclass(frozen=True)
class Task:
    """Everything that a level's training depends on, apart from its weights and data.

    stop_loss: stop after an epoch whose training loss is at most this, but not before masks are
        lifted.
    measure: whether to evaluate after each epoch.
    """

    retraining: Retraining
    seed: int
    level: int
    batch_size: int
    stop_loss: float | None = None
    measure: bool = True


class Watcher:
    """Receives events of a level's training. This base class ignores them."""

    def epoch_starts(self, number: int) -> None:
        """Called before epoch `number`, counted from 1."""

    def epoch_ends(self, epoch: Epoch) -> None:
        """Called after an epoch has been trained and measured."""

    def may_keep(self, checkpoint: Callable[[], Checkpoint]) -> None:
        """Called when a checkpoint is possible; `checkpoint()` returns it."""


def train_level(
    trainer: Trainer,
    data: DeviceDataset,
    task: Task,
    watcher: Watcher | None = None,
    resume: Checkpoint | None = None,
    mover: Mover | None = None,
) -> tuple[tuple[Epoch, ...], bool]:
    """Train a level; return its measured epochs and whether training diverged.

    resume: a checkpoint to continue from. mover: what moves the masks meanwhile, if they move.
    """
    return _Loop(trainer, data, task, watcher or Watcher(), resume, mover).run()


class _Loop:
    """A level in training.

    taken: number of trained steps. total: number of all steps. masked: number of steps under the
        masks. best: the highest test accuracy of an epoch so far.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: DeviceDataset,
        task: Task,
        watcher: Watcher,
        resume: Checkpoint | None,
        mover: Mover | None,
    ) -> None:
        self.mover = mover
        self.trainer, self.data, self.task, self.watcher = trainer, data, task, watcher
        retraining = task.retraining
        self.steps_per_epoch = math.ceil(len(data) / task.batch_size)
        self.first, self.total = retraining.first_step, len(retraining.learning_rates)
        lifted_at = retraining.masked_steps
        self.masked = self.total if lifted_at is None else lifted_at
        self.taken = resume.taken if resume else 0
        self.chunk = min(FIRST_CHUNK, CHUNK)
        self.epochs = list(resume.epochs) if resume else []
        self.best = max((epoch.test_accuracy for epoch in self.epochs), default=-math.inf)
        if resume:
            restore_random_state(resume.random_state)
        if self.masked < self.taken:
            trainer.unmask()

    def run(self) -> tuple[tuple[Epoch, ...], bool]:
        while self.taken < self.total:
            number, batch = divmod(self.first + self.taken, self.steps_per_epoch)
            self.watcher.epoch_starts(number + 1)
            self._train_epoch(number, batch)
            if not self.task.measure:
                continue
            epoch = self._measure(number + 1)
            if not all(map(math.isfinite, (epoch.test_loss, epoch.train_loss or 0.0))):
                return tuple(self.epochs), True
            self.epochs.append(epoch)
            self.best = max(self.best, epoch.test_accuracy)
            self.watcher.epoch_ends(epoch)
            if self._is_learned(epoch):
                break
            if self.taken < self.total:
                self.watcher.may_keep(self._checkpoint)
        return tuple(self.epochs), False

    def _train_epoch(self, number: int, batch: int) -> None:
        """Train epoch `number`, counted from 0, from its batch number `batch` on."""
        seed, level = self.task.seed, self.task.level
        order = self.data.order(seed, level, number)
        crops = self.data.crops(seed, level, number)
        end = min(self.taken + self.steps_per_epoch - batch, self.total)
        while self.taken < end:
            if self.taken == self.masked < self.total:
                self.trainer.unmask()
            stop = self.taken + 1
            if not self._moved_instead(order, crops, batch):
                stop = self._next_stop(end)
                rates = self.task.retraining.learning_rates[self.taken : stop]
                self.trainer.steps(order, crops, batch, rates)
            batch, self.taken = batch + stop - self.taken, stop
            if self.taken < end:
                self.watcher.may_keep(self._checkpoint)

    def _next_stop(self, end: int) -> int:
        """Return the step after the next ones to train at once, at most `end`."""
        stop = min(end, self.taken + self.chunk)
        self.chunk = min(2 * self.chunk, CHUNK)  # a call costs as much as some short steps
        if self.taken < self.masked:
            stop = min(stop, self.masked)  # the masks are lifted at this step
        update = self.mover.next(self.taken + 1) if self.mover else None
        return stop if update is None else min(stop, update)

    def _moved_instead(self, order: Tensor, crops: AugmentationDraws | None, batch: int) -> bool:
        """Move the masks if they move at this step; return whether that replaces the step."""
        if self.mover is None or self.mover.next(self.taken) != self.taken:
            return False
        uses_batch = self.mover.course.plugin.gradients
        rate = float(self.task.retraining.learning_rates[self.taken])
        gradients = self.trainer.gradients(order, crops, batch, rate) if uses_batch else {}
        self.mover.move(self.trainer, self.taken, gradients)
        return uses_batch

    def _measure(self, number: int) -> Epoch:
        """Return the values of epoch `number`, counted from 1.

        The paper plots the best epoch too. The training set is larger than the test set, so it is
        evaluated only if the test accuracy is the highest so far, at the end, and always if there
        is a `stop_loss`.
        """
        test_loss, test_accuracy = self.trainer.evaluate("test")
        needed = (test_accuracy > self.best or self.taken == self.total
                  or self.task.stop_loss is not None)
        train_loss, train_accuracy = self.trainer.evaluate("train") if needed else (None, None)
        rate = float(self.task.retraining.learning_rates[self.taken - 1])
        return Epoch(number, self.first + self.taken, rate, test_loss, test_accuracy, train_loss,
                     train_accuracy)

    def _is_learned(self, epoch: Epoch) -> bool:
        """Return whether the training loss has reached `stop_loss`."""
        stop_loss = self.task.stop_loss
        lifted = self.task.retraining.masked_steps is None or self.taken > self.masked
        # Masks must have reached their final number of weights.
        settled = self.mover is None or self.taken > self.mover.course.settled
        if stop_loss is None or not (lifted and settled):
            return False
        return (epoch.train_loss or 0.0) <= stop_loss

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.taken, tuple(self.epochs), self.trainer.state(),
                          self.trainer.momenta(), random_state(), self.trainer.kernels,
                          self.mover.moved() if self.mover else None)
