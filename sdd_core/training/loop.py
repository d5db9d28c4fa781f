"""Trains a level: epochs, what is measured after each, checkpoints in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from sdd_core.data.resident import Resident
from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.level.checkpoint import Checkpoint, random_state, restore_random_state
from sdd_core.level.level import Epoch
from sdd_core.level.retraining import LARGEST_RATE, Retraining
from sdd_core.plugin.isolation import blaming
from sdd_core.plugin.kinds import Decay, label
from sdd_core.training.dense_trainer import Trainer

# Steps between two looks at the clock: an epoch may take hours.
CHUNK = 250


def dense_learning_rates(train: Train, steps_per_epoch: int) -> np.ndarray:
    """float64 `[steps]`: the learning rate of every step of the dense network's training. Raises
    SddError when the schedule gives none."""
    steps = train.epochs * steps_per_epoch
    with blaming(train.decay):
        factors = checked_factors(train.decay, steps, train.decay.factors(steps))
    rates = train.lr * factors
    warmup = round(train.warmup_epochs * steps_per_epoch)
    # Goyal et al., 2017, arXiv:1706.02677, sec. 2.2: a growing share of the rate
    return rates * np.minimum(1.0, (np.arange(steps) + 1) / warmup) if warmup else rates


def checked_factors(decay: Decay, steps: int, found: object) -> np.ndarray:
    """A schedule's factors as float64. Raises SddError unless there is one for each step."""
    factors = np.asarray(found, np.float64)
    if factors.shape != (steps,):
        raise SddError(f"decay {label(decay)!r} gave factors of the shape {list(factors.shape)}; "
                       f"expected [{steps}], one for each step")
    wrong = ~((factors >= 0) & (factors <= LARGEST_RATE))
    if wrong.any():
        raise SddError(f"decay {label(decay)!r} gave the factor {factors[wrong][0]:g}; expected "
                       f"numbers from 0 to {LARGEST_RATE:g}")
    return factors


def train_level(
    trainer: Trainer,
    data: Resident,
    retraining: Retraining,
    *,
    seed: int,
    level: int,
    batch_size: int,
    resume: Checkpoint | None = None,
    keep: Callable[[Checkpoint], None] | None = None,
    every: float = math.inf,
    on_start: Callable[[int], None] = lambda epoch: None,
    on_end: Callable[[Epoch], None] = lambda epoch: None,
    measure: bool = True,
    stop_loss: float | None = None,
    unmask: Callable[[], None] | None = None,
) -> tuple[tuple[Epoch, ...], bool]:
    """Take the steps of `retraining`; returns what was measured and whether training diverged.

    resume: go on from this checkpoint. keep: called with a checkpoint every `every` seconds.
    on_start, on_end: called around each epoch. measure: evaluate after each epoch.
    stop_loss: stop after an epoch with a training loss of at most this, but not before masks are
        lifted.
    unmask: called after `retraining.masked_steps`, and on resuming after them.
    """
    steps_per_epoch = math.ceil(len(data) / batch_size)
    first, total = retraining.first_step, len(retraining.learning_rates)
    masked = total if retraining.masked_steps is None else retraining.masked_steps
    taken, epochs = (resume.taken, list(resume.epochs)) if resume else (0, [])
    best = max((epoch.test_accuracy for epoch in epochs), default=-math.inf)
    if resume:
        restore_random_state(resume.random_state)
    if unmask and masked < taken:
        unmask()
    saved = time.monotonic()
    while taken < total:
        epoch, batch = divmod(first + taken, steps_per_epoch)
        on_start(epoch + 1)
        order = data.order(seed, level, epoch)
        crops = data.crops(seed, level, epoch)
        left = min(steps_per_epoch - batch, total - taken)
        while left:
            if unmask and taken == masked < total:
                unmask()
            count = min(left, CHUNK, masked - taken if taken < masked else CHUNK)
            rates = retraining.learning_rates[taken : taken + count]
            trainer.steps(order, crops, batch, rates)
            taken, batch, left = taken + count, batch + count, left - count
            if left and keep and time.monotonic() - saved >= every:
                keep(_checkpoint(trainer, taken, epochs))
                saved = time.monotonic()
        if not measure:
            continue
        # With a loss to stop at, the training set has to be measured every time.
        beyond = best if taken < total and stop_loss is None else -math.inf
        measured = _measure(trainer, epoch + 1, first + taken, rates[-1], beyond)
        if not all(map(math.isfinite, (measured.test_loss, measured.train_loss or 0.0))):
            return tuple(epochs), True
        epochs.append(measured)
        best = max(best, measured.test_accuracy)
        on_end(measured)
        lifted = retraining.masked_steps is None or taken > masked
        if stop_loss is not None and lifted and (measured.train_loss or 0.0) <= stop_loss:
            break
        if taken < total and keep and time.monotonic() - saved >= every:
            keep(_checkpoint(trainer, taken, epochs))
            saved = time.monotonic()
    return tuple(epochs), False


def _measure(trainer: Trainer, number: int, step: int, rate: float, beyond: float) -> Epoch:
    """An epoch; the training set too where the test accuracy is more than `beyond`.

    The paper plots the best epoch too. The training set is larger than the test set, so it is
    measured only where the epoch may turn out to be the best, and at the end.
    """
    test_loss, test_accuracy = trainer.evaluate("test")
    wanted = test_accuracy > beyond
    train_loss, train_accuracy = trainer.evaluate("train") if wanted else (None, None)
    return Epoch(number, step, float(rate), test_loss, test_accuracy, train_loss, train_accuracy)


def _checkpoint(trainer: Trainer, taken: int, epochs: list[Epoch]) -> Checkpoint:
    return Checkpoint(
        taken, tuple(epochs), trainer.state(), trainer.momenta(), random_state(), trainer.kernels
    )
