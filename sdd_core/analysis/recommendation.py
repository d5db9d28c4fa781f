"""Which sparsity to take, with a clean test set and without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sdd_core.analysis.findings import INTERPOLATES
from sdd_core.analysis.groups import Group, place
from sdd_core.output.text import percent
from sdd_core.phases.curves import smoothed

CLEAR = 0.05
"""What part of a distance, or of its decline, is no accident."""

COLLAPSED = 0.5
"""A level whose training accuracy is below this part of the highest is not recommended."""


@dataclass(frozen=True)
class Advice:
    """A recommended sparsity.

    level, sparsity: of the level that is recommended. accuracy: its mean test accuracy, NaN where
    there is none; only to see how good the advice was, where it was found without it.
    why: the rule that gave it, in one line.
    """

    level: int
    sparsity: float
    accuracy: float
    why: str

    @property
    def said(self) -> str:
        """The sparsity and the reason, in one line."""
        return f"{percent(self.sparsity)} sparsity: {self.why}"


def recommend(runs: Group) -> Advice | None:
    """Recommend one sparsity: by test accuracy where there is one, else by learning distance.

    The test set decides, for it measures what is wanted; the learning distance is a rule of thumb
    for those who have no clean test labels. Where it would have cost more than one standard error
    of accuracy, `why` says so. None where neither was measured.
    """
    measured, distance = by_test_accuracy(runs), by_learning_distance(runs)
    if measured is None:
        return distance
    if distance is None or distance.accuracy >= measured.accuracy:
        return measured
    if measured.accuracy - distance.accuracy <= _standard_error(runs, measured.level):
        return measured
    return replace(measured, why=f"{measured.why}; the learning distance alone would say "
                   f"{percent(distance.sparsity)}, where it is {distance.accuracy:.3f}")


def by_test_accuracy(runs: Group) -> Advice | None:
    """The highest sparsity whose mean test accuracy is within one standard error of the best.

    The test set's labels have to be clean. The standard error is that of the best level's mean
    over seeds, or with one seed the binomial one of its accuracy. None without a test accuracy.
    """
    accuracy = runs.statistics("test_accuracy")
    levels = [level for level, value in enumerate(accuracy.mean) if not math.isnan(value)]
    if not levels:
        return None
    best = max(levels, key=accuracy.mean.__getitem__)
    top, error = accuracy.mean[best], _standard_error(runs, best)
    level = max(one for one in levels if accuracy.mean[one] >= top - error)
    dense = accuracy.mean[0]
    why = (f"test accuracy {accuracy.mean[level]:.3f}, within one standard error ({error:.3f}) of "
           f"the best, {top:.3f}" + ("" if math.isnan(dense) else f"; dense {dense:.3f}"))
    return _advice(runs, level, why)


def by_learning_distance(runs: Group) -> Advice | None:
    """A sparsity found without any test label, from the learning distance alone.

    He et al. (2022, arXiv:2206.08684) see the distance rise while test accuracy falls, and decline
    in the sweet phase. The rule made of it here, on the mean distance smoothed as accuracies are,
    leaves out levels whose training accuracy is below half of the highest: those have collapsed.

    1. If it declines after its peak by less than 5 % of the peak, pruning has not begun to keep
       the network from learning wrong labels, if there are any: take the last level whose
       training accuracy is at least 0.99 times the highest.
    2. Else take the level at which the decline slackens: the one farthest below the straight line
       from the peak to the last level, over the logarithm of the density.
    3. If none lies below that line by 5 % of the decline, it has not slackened yet: take the last
       level, and look at sparser ones.

    It is a rule of thumb. Nothing says that the test accuracy is highest there; a sweep that ends
    early or late moves the line; and where no label is wrong it prunes further than test accuracy
    bears. `check_learning_distance` tells how good it was on runs whose test accuracy is known,
    beside pruning always to 99.5 % and never. None where no distance was measured.
    """
    mean = runs.statistics("learning_distance").mean
    train = runs.statistics("train_accuracy").mean
    known = [value for value in train if not math.isnan(value)]
    least = COLLAPSED * max(known, default=0.0)
    levels = [level for level, value in enumerate(mean)
              if not math.isnan(value) and not train[level] < least]
    if not levels:
        return None
    height = smoothed([mean[level] for level in levels])
    peak = int(np.argmax(height))
    decline = height[peak] - height[-1]
    if decline < CLEAR * height[peak]:
        level = _last_that_fits(train)
        return None if level is None else _advice(
            runs, level, "the learning distance does not decline; up to here training accuracy "
            f"is at least {INTERPOLATES} times its highest")
    x = [place(runs.sparsity[level]) for level in levels]
    below = [
        height[peak] - decline * (x[i] - x[peak]) / (x[-1] - x[peak]) - height[i]
        for i in range(peak, len(levels))
    ]
    knee = peak + int(np.argmax(below))
    at = percent(runs.sparsity[levels[peak]])
    if max(below) < CLEAR * decline:
        return _advice(runs, levels[-1], f"the learning distance still declines from its peak at "
                       f"{at}; sparser levels may be better")
    return _advice(runs, levels[knee], f"here the decline of the learning distance from its peak "
                   f"at {at} slackens")


def _last_that_fits(train: Sequence[float]) -> int | None:
    known = [level for level, value in enumerate(train) if not math.isnan(value)]
    if not known:
        return None
    top = max(train[level] for level in known)
    return max(level for level in known if train[level] >= INTERPOLATES * top)


def _advice(runs: Group, level: int, why: str) -> Advice:
    accuracy = runs.statistics("test_accuracy").mean[level]
    return Advice(level, runs.sparsity[level], accuracy, why)


def _standard_error(runs: Group, level: int) -> float:
    """Of the mean test accuracy of a level over seeds; with one seed the binomial one."""
    accuracy = runs.statistics("test_accuracy")
    mean, error = accuracy.mean[level], accuracy.error[level]
    return math.sqrt(mean * (1 - mean) / runs.test_examples) if math.isnan(error) else error
