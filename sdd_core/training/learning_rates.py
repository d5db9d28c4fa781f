"""The learning rate of every step of the dense network's training."""

from __future__ import annotations

import numpy as np

from sdd_core.data.plain import curve
from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.level.retraining import LARGEST_RATE
from sdd_core.plugin.isolation import attribute_errors
from sdd_core.plugin.kinds import LearningRateSchedule, label


def dense_learning_rates(train: Train, steps_per_epoch: int) -> np.ndarray:
    """Return the learning rate of every step of the dense network's training, float64 `[steps]`.
    Raises SddError if the schedule's factors are invalid."""
    steps = train.epochs * steps_per_epoch
    if not steps:
        return np.zeros(0)
    with attribute_errors(train.decay):
        factors = checked_factors(train.decay, steps, train.decay.factors(steps))
    rates = train.lr * factors
    warmup = round(train.warmup_epochs * steps_per_epoch)
    # Linear warm-up: Goyal et al., 2017, arXiv:1706.02677, sec. 2.2.
    return rates * np.minimum(1.0, (np.arange(steps) + 1) / warmup) if warmup else rates


def checked_factors(decay: LearningRateSchedule, steps: int, found: object) -> np.ndarray:
    """Return a schedule's factors as float64 `[steps]`. Raises SddError if there is not one valid
    factor for each step."""
    factors = curve(found)
    if factors.shape != (steps,):
        raise SddError(f"decay {label(decay)!r} returned factors of shape {list(factors.shape)}; "
                       f"expected [{steps}], one for each step")
    wrong = ~((factors >= 0) & (factors <= LARGEST_RATE))
    if wrong.any():
        raise SddError(f"decay {label(decay)!r} returned the factor {factors[wrong][0]:g}; "
                       f"expected numbers from 0 to {LARGEST_RATE:g}")
    return factors
