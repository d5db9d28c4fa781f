"""Recommendation of a sparsity, with a clean test set and without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sdd_core.analysis.axis import Axis
from sdd_core.analysis.findings import INTERPOLATES
from sdd_core.analysis.groups import Group, group
from sdd_core.errors import SddError
from sdd_core.output.notices import warn
from sdd_core.output.text import percent
from sdd_core.phases.curves import smoothed
from sdd_core.phases.guessing import above_guessing, at_guessing
from sdd_core.runs.result import Result

CLEAR = 0.05
"""The fraction of a distance, or of its decline, above which a change counts."""

NOTABLE = 1.05
"""The least ratio that is named."""

COLLAPSED = 0.5
"""A level whose training accuracy is below this fraction of the highest is not recommended."""


@dataclass(frozen=True)
class Advice:
    """A recommended sparsity.

    level, sparsity: the recommended level and its sparsity. accuracy: its mean test accuracy, NaN
    if there is none; for advice by learning distance it only shows how good the advice is.
    why: the reason, in one line. fewer_macs, smaller: how many times fewer multiply-adds the level
    has than the dense network, and how many times fewer bytes its packed weights have; NaN if the
    metric `cost` was not measured. gain: its mean test accuracy minus that of the dense network,
    NaN if either is missing.
    """

    level: int
    sparsity: float
    accuracy: float
    why: str
    fewer_macs: float = math.nan
    smaller: float = math.nan
    gain: float = math.nan

    @property
    def price(self) -> str:
        """What the level saves and what it gains: '14x fewer MACs, 11x smaller, +3.1 points';
        '' for the dense network, or if its cost was not measured."""
        saved = [f"{_times(ratio)} {what}" for ratio, what in
                 ((self.fewer_macs, "fewer MACs"), (self.smaller, "smaller")) if ratio >= NOTABLE]
        if saved and not math.isnan(self.gain):
            saved.append(f"{round(100 * self.gain, 1) + 0.0:+.1f} points")  # never -0.0
        return ", ".join(saved)

    @property
    def reason(self) -> str:
        """The price, if there is one, and the reason, in one line."""
        return "; ".join(filter(None, (self.price, self.why)))

    @property
    def said(self) -> str:
        """The sparsity, the price and the reason, in one line."""
        return f"{percent(self.sparsity)} sparsity: {self.reason}"


def recommend(runs: Group, x: str = "sparsity") -> Advice | None:
    """Recommend one sparsity: by test accuracy if it was measured, else by learning distance.

    x: what is to be saved: 'sparsity', 'macs', 'parameters', 'bytes', or another metric. Raises
    SddError if it was not measured.

    The test set decides, because it measures the goal; the learning distance is a rule of thumb for
    users without clean test labels. If its recommendation is worse by more than one standard error
    of accuracy, `why` states it. Return None if there is nothing to recommend; `why_none` says why.
    """
    measured, distance = by_test_accuracy(runs, x), by_learning_distance(runs, x)
    if measured is None:
        return distance
    if distance is None or distance.accuracy >= measured.accuracy:
        return measured
    if measured.accuracy - distance.accuracy <= _standard_error(runs, measured.level):
        return measured
    return replace(measured, why=f"{measured.why}; the learning distance alone would say "
                   f"{percent(distance.sparsity)}, where it is {distance.accuracy:.3f}")


def why_none(runs: Group) -> str:
    """Return the reason why nothing is recommended, in a few words."""
    if highest := _not_learned(runs):
        return f"nothing was learned: {highest}"
    for metric, name in (("test_accuracy", "test accuracy"),
                         ("learning_distance", "learning distance")):
        if any(map(math.isfinite, runs.mean(metric))):
            return f"no level has a {name} of every seed"
    if all(level.diverged for result in runs.results for level in result.levels):
        return "training diverged at every level"
    return "neither test accuracy nor learning distance was measured"


def recommended(runs: Group, x: str = "sparsity") -> str:
    """Return the recommendation in one line, or the reason why there is none."""
    advice = recommend(runs, x)
    return advice.said if advice else f"no sparsity, because {why_none(runs)}"


def with_recommendation(result: Result) -> Result:
    """Return a result that knows its recommended level; see `Result.recommended`. If nothing was
    learned, that is the dense network, with a warning."""
    return replace(result, recommend=_recommended_level)


def by_test_accuracy(runs: Group, x: str = "sparsity") -> Advice | None:
    """Return the highest sparsity with a mean test accuracy within one standard error of the best;
    with another `x` than the sparsity, the level with the least of it (or the most, if pruning
    makes it grow).

    The test labels must be clean. The standard error is that of the best level's mean over seeds,
    or with one seed the binomial one of its accuracy. A level counts if every seed has a test
    accuracy there. Return None if there is no such level, or none above guessing by more than
    chance.
    """
    accuracy, places = runs.whole("test_accuracy"), Axis(x).places(runs)
    levels = [level for level, value in enumerate(accuracy) if not math.isnan(value)]
    if not levels or _not_learned(runs):
        return None
    best = max(levels, key=accuracy.__getitem__)
    top, error = accuracy[best], _standard_error(runs, best)
    good = [one for one in levels if accuracy[one] >= top - error]
    level = max((one for one in good if not math.isnan(places[one])),
                key=lambda one: (places[one], one), default=best)
    dense = accuracy[0]
    why = (f"test accuracy {accuracy[level]:.3f}, within one standard error ({error:.3f}) of "
           f"the best, {top:.3f}" + ("" if math.isnan(dense) else f"; dense {dense:.3f}"))
    return _advice(runs, level, why + _uncounted(runs, "test_accuracy"))


def by_learning_distance(runs: Group, x: str = "sparsity") -> Advice | None:
    """Return a sparsity found without test labels, from the learning distance alone.

    He et al. (2022, arXiv:2206.08684) observe that the distance rises while test accuracy falls,
    and declines in the sweet phase. The rule here uses the mean distance, smoothed like accuracies,
    without collapsed levels, whose training accuracy is below half of the highest.

    1. If the distance declines after its peak by less than 5 % of the peak, pruning does not yet
       keep the network from learning wrong labels, if there are any: choose the last level whose
       training accuracy is at least 0.99 times the highest.
    2. Else choose the level at which the decline slows down: the one farthest below the straight
       line from the peak to the last level, over the logarithm of the density, or over `x`.
    3. If no level is below that line by 5 % of the decline, it has not slowed down yet: choose the
       last level; sparser ones may be better.

    This is a rule of thumb. The test accuracy need not be highest there; a sweep that ends early or
    late moves the line; without wrong labels it prunes more than the test accuracy tolerates.
    `check_learning_distance` measures its quality on runs with a test accuracy, in comparison with
    always pruning to 99.5 % and never pruning. Return None if no level has a distance of every
    seed, or if accuracy, on the test set or else on the training set, is nowhere above guessing.
    """
    mean, places = runs.whole("learning_distance"), Axis(x).places(runs)
    train = runs.whole("train_accuracy")
    if _not_learned(runs):
        return None
    known = [value for value in train if not math.isnan(value)]
    least = COLLAPSED * max(known, default=0.0)
    levels = sorted((level for level, value in enumerate(mean)
                     if not math.isnan(value + places[level]) and not train[level] < least),
                    key=places.__getitem__)
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
    at = [places[level] for level in levels]
    way = at[-1] - at[peak] or 1.0
    below = [
        height[peak] - decline * (at[i] - at[peak]) / way - height[i]
        for i in range(peak, len(levels))
    ]
    knee = peak + int(np.argmax(below))
    summit = percent(runs.sparsity[levels[peak]])
    if max(below) < CLEAR * decline:
        return _advice(runs, levels[-1], f"the learning distance still declines from its peak at "
                       f"{summit}; sparser levels may be better")
    return _advice(runs, levels[knee], f"here the decline of the learning distance from its peak "
                   f"at {summit} slackens")


def _recommended_level(result: Result) -> int:
    (runs,) = group([result])
    advice = recommend(runs)
    if advice is not None:
        return advice.level
    if not _not_learned(runs):
        raise SddError(f"run {result.run} has no recommended level, because {why_none(runs)}; "
                       "choose one by its number or its sparsity")
    warn(f"run {result.run}: {why_none(runs)}; no sparsity is recommended, so its densest trained "
         "network is taken")
    return next(level.level for level in result.levels if not level.diverged)


def _not_learned(runs: Group) -> str:
    """Say that accuracy is nowhere above guessing by more than chance, on the test set or, if it
    was not measured there, on the training set; '' if it is, or was not measured."""
    sizes = (runs.test_examples, runs.results[0].train_examples or runs.test_examples)
    for kind, examples in zip(("test", "train"), sizes, strict=True):
        known = [value for value in runs.mean(f"{kind}_accuracy") if not math.isnan(value)]
        if known:
            return "" if above_guessing(known, examples, runs.guessing) else at_guessing(
                kind, max(known), runs.guessing)
    return ""


def _uncounted(runs: Group, metric: str) -> str:
    """Say that levels do not count because a seed has no value there; '' if all count."""
    known = zip(runs.mean(metric), runs.whole(metric), strict=True)
    missing = sum(math.isnan(whole) and not math.isnan(value) for value, whole in known)
    if not missing:
        return ""
    levels, do = ("level", "does") if missing == 1 else ("levels", "do")
    return f"; {missing} {levels} that some seeds have not reached, or diverged at, {do} not count"


def _last_that_fits(train: Sequence[float]) -> int | None:
    known = [level for level, value in enumerate(train) if not math.isnan(value)]
    if not known:
        return None
    top = max(train[level] for level in known)
    return max(level for level in known if train[level] >= INTERPOLATES * top)


def _advice(runs: Group, level: int, why: str) -> Advice:
    accuracy = runs.whole("test_accuracy")
    return Advice(
        level, runs.sparsity[level], accuracy[level], why,
        fewer_macs=_ratio(runs, level, "dense_macs", "kept_macs"),
        smaller=_ratio(runs, level, "dense_bytes", "packed_bytes"),
        gain=accuracy[level] - accuracy[0],
    )


def _ratio(runs: Group, level: int, dense: str, kept: str) -> float:
    """Return how many times more a dense network has than the level; NaN if that is not known, or
    nothing is left."""
    whole, rest = runs.mean(dense)[level], runs.mean(kept)[level]
    return whole / rest if rest > 0 else math.nan


def _times(ratio: float) -> str:
    """Return a ratio as text: `2.2x`, `14x`, `1,200x`."""
    return f"{ratio:.1f}x" if ratio < 9.95 else f"{ratio:,.0f}x"


def _standard_error(runs: Group, level: int) -> float:
    """Return the standard error of a level's mean test accuracy over seeds; with one seed, the
    binomial one."""
    accuracy = runs.statistics("test_accuracy")
    mean, error = accuracy.mean[level], accuracy.error[level]
    return math.sqrt(mean * (1 - mean) / runs.test_examples) if math.isnan(error) else error
