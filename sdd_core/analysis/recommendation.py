"""Which sparsity to take, with a clean test set and without one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from sdd_core.analysis.findings import INTERPOLATES
from sdd_core.analysis.groups import Group, group, place
from sdd_core.analysis.phases import percent, smoothed
from sdd_core.result import Result

CLEAR = 0.05
"""What part of a distance, or of its decline, is no accident."""


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
    top, error = accuracy.mean[best], accuracy.error[best]
    if math.isnan(error):
        error = math.sqrt(top * (1 - top) / runs.test_examples)
    level = max(one for one in levels if accuracy.mean[one] >= top - error)
    why = f"within one standard error ({error:.3f}) of the best mean test accuracy, {top:.3f}"
    return _advice(runs, level, why)


def by_learning_distance(runs: Group) -> Advice | None:
    """A sparsity found without any test label, from the learning distance alone.

    He et al. (2022, arXiv:2206.08684) see the distance rise while test accuracy falls, and decline
    in the sweet phase. The rule made of it here, on the mean distance smoothed as accuracies are:

    1. If it declines after its peak by less than 5 % of the peak, pruning has not begun to keep
       the network from learning wrong labels, if there are any: take the last level whose
       training accuracy is at least 0.99 times the highest.
    2. Else take the level at which the decline slackens: the one farthest below the straight line
       from the peak to the last level, over the logarithm of the density.
    3. If none lies below that line by 5 % of the decline, it has not slackened yet: take the last
       level, and look at sparser ones.

    It is a rule of thumb. Nothing says that the test accuracy is highest there; a sweep that ends
    early or late moves the line; and where no label is wrong, networks that fit their training
    set may be pruned further by rule 1 than their test accuracy bears. How good the rule was on
    runs whose test accuracy is known says `check_learning_distance`. None where no distance was
    measured.
    """
    mean = runs.statistics("learning_distance").mean
    levels = [level for level, value in enumerate(mean) if not math.isnan(value)]
    if not levels:
        return None
    height = smoothed([mean[level] for level in levels])
    peak = int(np.argmax(height))
    decline = height[peak] - height[-1]
    if decline < CLEAR * height[peak]:
        train = runs.statistics("train_accuracy").mean
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


@dataclass(frozen=True)
class Prediction:
    """What the learning distance said of a run, and what test accuracy said.

    Levels; None where there is no such thing: valley and distance_peak, and the level that
    `by_learning_distance` recommends. in_sweet_phase: whether that lies in the sweet phase.
    shortfall: by how much its test accuracy is below the highest of all levels.
    """

    run: str
    valley: int
    distance_peak: int
    recommended: int
    in_sweet_phase: bool
    shortfall: float


@dataclass(frozen=True)
class DistanceCheck:
    """How well the learning distance predicts the test curve, over runs with double descent.

    rank_correlation: Spearman's, of the distance peak's sparsity with the valley's over the runs;
        NaN with fewer than three, or where one of them is always the same.
    left_out: runs without double descent or without a distance: there is nothing to predict.
    """

    predictions: tuple[Prediction, ...]
    rank_correlation: float
    left_out: int

    def __repr__(self) -> str:
        return f"<DistanceCheck: {self.verdict}>"

    @property
    def verdict(self) -> str:
        """The same in one line."""
        if not self.predictions:
            return "no run with double descent and a learning distance: nothing to predict"
        apart = [one.distance_peak - one.valley for one in self.predictions]
        sweet = sum(one.in_sweet_phase for one in self.predictions)
        defined = not math.isnan(self.rank_correlation)
        correlation = f", rank correlation {self.rank_correlation:.2f}" if defined else ""
        return (
            f"over {len(apart)} runs with double descent the distance peaks "
            f"{fmean(map(abs, apart)):.1f} levels from the valley (mean; {min(apart):+d} to "
            f"{max(apart):+d}){correlation}; the level "
            f"recommended without test labels lies in the sweet phase in {sweet} of {len(apart)}, "
            f"{fmean(one.shortfall for one in self.predictions):.3f} below the best accuracy (mean)"
        )


def check_learning_distance(results: Iterable[Result]) -> DistanceCheck:
    """How well the peak of the learning distance predicts the valley, and its decline the sweet
    phase, over results whose test accuracy is known."""
    predictions, places = [], []
    left_out = 0
    for result in results:
        run = group([result])[0]
        advice = by_learning_distance(run)
        valley, sweet = result.phases.valley, result.phases.sweet
        if advice is None or valley is None or sweet is None:
            left_out += 1
            continue
        distance = result.curve("learning_distance")
        levels = [level for level, value in enumerate(distance) if not math.isnan(value)]
        height = smoothed([distance[level] for level in levels])
        peak = levels[int(np.argmax(height))]
        best = max(value for value in result.curve("test_accuracy") if not math.isnan(value))
        predictions.append(Prediction(
            result.run, valley, peak, advice.level, sweet[0] <= advice.level <= sweet[1],
            best - advice.accuracy,
        ))
        places.append((result.sparsity[peak], result.sparsity[valley]))
    return DistanceCheck(tuple(predictions), rank_correlation(places), left_out)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN with fewer than three pairs or
    where one side is constant."""
    if len(pairs) < 3:
        return math.nan
    ranks = [_ranks([pair[side] for pair in pairs]) for side in (0, 1)]
    if any(np.ptp(one) == 0 for one in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    column = np.asarray(values)
    below = (column[None, :] < column[:, None]).sum(axis=1)
    equal = (column[None, :] == column[:, None]).sum(axis=1)
    return below + (equal - 1) / 2


def _last_that_fits(train: Sequence[float]) -> int | None:
    known = [level for level, value in enumerate(train) if not math.isnan(value)]
    if not known:
        return None
    top = max(train[level] for level in known)
    return max(level for level in known if train[level] >= INTERPOLATES * top)


def _advice(runs: Group, level: int, why: str) -> Advice:
    accuracy = runs.statistics("test_accuracy").mean[level]
    return Advice(level, runs.sparsity[level], accuracy, why)
