"""Evaluation of the learning distance as a predictor of the test curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from sdd_core.analysis.groups import Group, group
from sdd_core.analysis.recommendation import by_learning_distance
from sdd_core.phases.curves import smoothed
from sdd_core.runs.result import Result

ALWAYS = 0.995
"""The sparsity of the baseline rule that uses no measurement."""


@dataclass(frozen=True)
class Prediction:
    """The prediction of the learning distance for a run, and the test accuracy.

    valley, distance_peak, recommended: levels of the valley, of the peak of the distance, and the
    one that `by_learning_distance` recommends. in_sweet_phase: whether the recommended level is in
    the sweet phase. shortfall: difference of its test accuracy from the highest of all levels.
    """

    run: str
    valley: int
    distance_peak: int
    recommended: int
    in_sweet_phase: bool
    shortfall: float


@dataclass(frozen=True)
class DistanceCheck:
    """The quality of the learning distance as a predictor of the test curve.

    predictions: those of the runs with double descent.
    rank_correlation: Spearman's correlation of the sparsities of the distance peak and the valley
        over these runs; NaN for fewer than three runs, or if one of them is constant.
    left_out: number of runs without double descent or without a distance.
    shortfalls: mean difference of the accuracy of the level that a rule chooses from the best one,
        over all `runs` with both metrics, by rule: `by_learning_distance`, always pruning to
        99.5 %, and never pruning.
    """

    predictions: tuple[Prediction, ...]
    rank_correlation: float
    left_out: int
    runs: int
    shortfalls: Mapping[str, float]

    def __repr__(self) -> str:
        return f"<DistanceCheck: {self.verdict}>"

    @property
    def verdict(self) -> str:
        """The result in one line."""
        if not self.predictions:
            return f"no run with double descent and a learning distance{self._beside}"
        apart = [one.distance_peak - one.valley for one in self.predictions]
        sweet = sum(one.in_sweet_phase for one in self.predictions)
        defined = not math.isnan(self.rank_correlation)
        correlation = f", rank correlation {self.rank_correlation:.2f}" if defined else ""
        return (
            "single runs with double descent and a learning distance: "
            f"{len(apart)} of {len(apart) + self.left_out}; the distance peaks "
            f"{fmean(map(abs, apart)):.1f} levels from the valley (mean; {min(apart):+d} to "
            f"{max(apart):+d}){correlation}; the level recommended without test labels lies in the "
            f"sweet phase in {sweet} of {len(apart)}"
            f"{self._beside}"
        )

    @property
    def _beside(self) -> str:
        if not self.runs:
            return ""
        rules = ", ".join(f"{rule} {value:.3f}" for rule, value in self.shortfalls.items())
        return f"; below the best accuracy, mean of {self.runs} runs: {rules}"


def check_learning_distance(results: Iterable[Result]) -> DistanceCheck:
    """Check how well the peak of the learning distance predicts the valley, and its decline the
    sweet phase, on results with a test accuracy."""
    predictions, places = [], []
    left_out = 0
    shortfalls: dict[str, list[float]] = {}
    for result in results:
        run = group([result])[0]
        advice = by_learning_distance(run)
        if advice is not None:
            for rule, value in _shortfalls(run, advice.level).items():
                shortfalls.setdefault(rule, []).append(value)
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
    means = {rule: fmean(values) for rule, values in shortfalls.items()}
    runs = len(next(iter(shortfalls.values()), ()))
    return DistanceCheck(tuple(predictions), rank_correlation(places), left_out, runs, means)


def _shortfalls(run: Group, advised: int) -> dict[str, float]:
    """Return the difference of the accuracy of each rule's level from the best one; nothing if one
    of the levels has no accuracy."""
    accuracy = run.statistics("test_accuracy").mean
    always = min(range(len(accuracy)), key=lambda level: abs(run.sparsity[level] - ALWAYS))
    chosen = {"by learning distance": advised, "always 99.5 %": always, "never pruned": 0}
    values = {rule: accuracy[level] for rule, level in chosen.items()}
    if any(map(math.isnan, values.values())):
        return {}
    best = max(value for value in accuracy if not math.isnan(value))
    return {rule: best - value for rule, value in values.items()}


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Spearman's rank correlation, with mean ranks for ties; NaN for fewer than three pairs
    or if one side is constant."""
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
