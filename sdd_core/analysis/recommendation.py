"""Recommendation of a sparsity, with a clean test set and without one."""

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
"""The fraction of a distance, or of its decline, above which a change counts."""

COLLAPSED = 0.5
"""A level whose training accuracy is below this fraction of the highest is not recommended."""


@dataclass(frozen=True)
class Advice:
    """A recommended sparsity.

    level, sparsity: the recommended level and its sparsity. accuracy: its mean test accuracy, NaN
    if there is none; for advice by learning distance it only shows how good the advice is.
    why: the reason, in one line.
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
    """Recommend one sparsity: by test accuracy if it was measured, else by learning distance.

    The test set decides, because it measures the goal; the learning distance is a rule of thumb for
    users without clean test labels. If its recommendation is worse by more than one standard error
    of accuracy, `why` states it. Return None if neither was measured.
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
    """Return the highest sparsity with a mean test accuracy within one standard error of the best.

    The test labels must be clean. The standard error is that of the best level's mean over seeds,
    or with one seed the binomial one of its accuracy. Return None without a test accuracy.
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
    """Return a sparsity found without test labels, from the learning distance alone.

    He et al. (2022, arXiv:2206.08684) observe that the distance rises while test accuracy falls,
    and declines in the sweet phase. The rule here uses the mean distance, smoothed like accuracies,
    without collapsed levels, whose training accuracy is below half of the highest.

    1. If the distance declines after its peak by less than 5 % of the peak, pruning does not yet
       keep the network from learning wrong labels, if there are any: choose the last level whose
       training accuracy is at least 0.99 times the highest.
    2. Else choose the level at which the decline slows down: the one farthest below the straight
       line from the peak to the last level, over the logarithm of the density.
    3. If no level is below that line by 5 % of the decline, it has not slowed down yet: choose the
       last level; sparser ones may be better.

    This is a rule of thumb. The test accuracy need not be highest there; a sweep that ends early or
    late moves the line; without wrong labels it prunes more than the test accuracy tolerates.
    `check_learning_distance` measures its quality on runs with a test accuracy, in comparison with
    always pruning to 99.5 % and never pruning. Return None if no distance was measured.
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
    if decline <= CLEAR * height[peak]:  # equal: a network that was not trained
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
    """Return the standard error of a level's mean test accuracy over seeds; with one seed, the
    binomial one."""
    accuracy = runs.statistics("test_accuracy")
    mean, error = accuracy.mean[level], accuracy.error[level]
    return math.sqrt(mean * (1 - mean) / runs.test_examples) if math.isnan(error) else error
