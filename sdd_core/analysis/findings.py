"""What runs over several seeds say together: where the phases lie and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from sdd_core.analysis.groups import Group
from sdd_core.analysis.phases import deepest, percent, smoothed
from sdd_core.brief import brief
from sdd_core.errors import SddError

RESAMPLES = 1000
INTERPOLATES = 0.99


@dataclass(frozen=True)
class Interval:
    """A value and, where there are several seeds, its 95 % confidence interval; else None."""

    value: float
    low: float | None = None
    high: float | None = None

    def said(self, form: Callable[[float], str]) -> str:
        """The value with its interval, each written by `form`."""
        between = "" if self.low is None or self.high is None else (
            f" ({form(self.low)} to {form(self.high)})"
        )
        return form(self.value) + between


@dataclass(frozen=True)
class Reach:
    """Where a phase lies: sparsities at which it begins and ends in the mean curve, and in the
    single seeds' curves, from the least to the greatest of them.

    seeds: how many seeds' curves have the phase; `first` and `last` are None where none has.
    """

    begins: float
    ends: float
    seeds: int
    first: tuple[float, float] | None
    last: tuple[float, float] | None


class Findings:
    """What a group of runs shows.

    Intervals are percentile bootstraps: seeds are drawn with replacement 1,000 times, and the
    2.5th and 97.5th percentiles of what their mean curve shows are taken (Efron & Tibshirani,
    1993, ch. 13). With few seeds they are narrower than they should be, and with one there are
    none. The draws are the same whenever this is worked out.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.phases = group.phases
        self.sparsity = group.sparsity

    def __repr__(self) -> str:
        return f"<Findings of {brief(self.group.label)}: {self.verdict}>"

    @cached_property
    def reaches(self) -> dict[str, Reach]:
        """Where each phase of the mean curve begins and ends, there and over the seeds."""
        found = {}
        for name, (begin, end) in self.phases.named().items():
            single = [(result.sparsity[span[0]], result.sparsity[span[1]])
                      for result in self.group.results
                      if (span := result.phases.named().get(name))]
            firsts, lasts = [one[0] for one in single], [one[1] for one in single]
            found[name] = Reach(
                self.sparsity[begin],
                self.sparsity[end],
                len(single),
                (min(firsts), max(firsts)) if single else None,
                (min(lasts), max(lasts)) if single else None,
            )
        return found

    @cached_property
    def valley(self) -> tuple[Interval, Interval] | None:
        """The valley's sparsity and its (smoothed, mean) test accuracy; None without one."""
        return self._turn(0) if self.phases.double_descent else None

    @cached_property
    def peak(self) -> tuple[Interval, Interval] | None:
        """The peak's sparsity and its (smoothed, mean) test accuracy; None without one."""
        return self._turn(1) if self.phases.double_descent else None

    @cached_property
    def interpolation_threshold(self) -> Interval | None:
        """The sparsity of the first level, after the highest training accuracy, whose training
        accuracy is below 0.99 times the highest: from there on the network no longer fits its
        labels as they are, wrong ones included. None where no level is.

        The measure is relative because augmentation and weight decay keep even dense networks
        from fitting all their labels.
        """
        curves = self._curves("train_accuracy")
        if curves is None:
            return None
        levels, values = curves
        where = _first_below(values.mean(axis=0))
        if where is None:
            return None
        resampled = (_first_below(values[chosen].mean(axis=0)) for chosen in _draws(len(values)))
        found = [self.sparsity[levels[level]] for level in resampled if level is not None]
        return _interval(self.sparsity[levels[where]], found, len(values))

    @cached_property
    def verdict(self) -> str:
        """What the runs show, in one line."""
        seeds = len(self.group.results)
        over = f"over {seeds} seeds" if seeds > 1 else "one seed, so without intervals"
        if not (self.valley and self.peak):
            return f"{self.phases.verdict} ({over})"
        dense = self.group.statistics("test_accuracy").mean[0]
        (valley_at, valley), (peak_at, peak) = self.valley, self.peak
        found = sum(result.phases.double_descent for result in self.group.results)
        also = f", {found} of which show it alone" if seeds > 1 else ""
        return (
            f"sparse double descent: valley {valley.said(_accuracy)} at "
            f"{valley_at.said(percent)}, peak {peak.said(_accuracy)} at {peak_at.said(percent)}, "
            f"dense {dense:.3f} ({over}{also})"
        )

    def _turn(self, which: int) -> tuple[Interval, Interval] | None:
        curves = self._curves("test_accuracy")
        if curves is None:
            return None
        levels, values = curves
        turns = _turns(values.mean(axis=0))
        resampled = [_turns(values[chosen].mean(axis=0))[which] for chosen in _draws(len(values))]
        at, height = turns[which]
        places = [self.sparsity[levels[level]] for level, _ in resampled]
        return (
            _interval(self.sparsity[levels[at]], places, len(values)),
            _interval(height, [height for _, height in resampled], len(values)),
        )

    def _curves(self, metric: str) -> tuple[list[int], np.ndarray] | None:
        """The levels at which every seed has a value, and the values `[seeds, levels]`."""
        common = min(len(result.levels) for result in self.group.results)
        values = np.array([result.curve(metric)[:common] for result in self.group.results])
        whole = ~np.isnan(values).any(axis=0)
        return (np.flatnonzero(whole).tolist(), values[:, whole]) if whole.any() else None


@dataclass(frozen=True)
class Comparison:
    """Two groups, level by level.

    sparsity: of the levels that both have. difference: mean of `one` minus that of `other`.
    error: standard error of the difference, NaN where a group has fewer than two values.
    verdict: where the difference is more than two standard errors, over at least two levels in a
        row: at a single level of many that is likely to be chance.
    """

    one: str
    other: str
    metric: str
    sparsity: tuple[float, ...]
    difference: tuple[float, ...]
    error: tuple[float, ...]

    def __repr__(self) -> str:
        return (f"<Comparison of {self.metric} at {len(self.sparsity)} sparsities: "
                f"{self.verdict}>")

    @cached_property
    def signs(self) -> tuple[int, ...]:
        """1 where `one` is higher by more than two standard errors, -1 where it is lower, else
        0."""
        return tuple(
            int(math.copysign(1, d)) if abs(d) > 2 * e else 0
            for d, e in zip(self.difference, self.error, strict=True)
        )

    @cached_property
    def verdict(self) -> str:
        """Where one of the groups is better, in one line."""
        if all(math.isnan(error) for error in self.error):
            return (f"{self.one} and {self.other} cannot be compared: it takes two seeds of each "
                    "to tell a difference from chance")
        spans = []
        for sign, levels in groupby(range(len(self.signs)), self.signs.__getitem__):
            span = list(levels)
            if sign and len(span) > 1:
                begins, ends = percent(self.sparsity[span[0]]), percent(self.sparsity[span[-1]])
                spans.append((sign, f"between {begins} and {ends}"))
        if not spans:
            return f"{self.one} and {self.other} do not differ by more than chance in {self.metric}"
        said = [
            f"{verb} {' and '.join(where for sign, where in spans if sign == wanted)}"
            for wanted, verb in ((-1, f"loses to {self.other}"), (1, f"beats {self.other}"))
            if any(sign == wanted for sign, _ in spans)
        ]
        return f"{self.one} {', and '.join(said)}"


def compare(one: Group, other: Group, metric: str = "test_accuracy") -> Comparison:
    """Two groups at the levels whose densities agree to one part in fifty.

    Of a metric that is better when it is higher. Raises SddError when there are no such levels.
    """
    pairs = [(i, min(range(len(other.sparsity)),
                     key=lambda j: abs(other.sparsity[j] - one.sparsity[i])))
             for i in range(len(one.sparsity))]
    pairs = [(i, j) for i, j in pairs if _agree(one.sparsity[i], other.sparsity[j])]
    if not pairs:
        raise SddError(f"{one.label} and {other.label} have no sparsity in common; compare runs "
                       "with the same pruner.fraction or pruner.sparsity")
    a, b = one.statistics(metric), other.statistics(metric)
    return Comparison(
        _without_common(one.label, other.label),
        _without_common(other.label, one.label),
        metric,
        tuple(one.sparsity[i] for i, _ in pairs),
        tuple(a.mean[i] - b.mean[j] for i, j in pairs),
        tuple(math.hypot(a.error[i], b.error[j]) for i, j in pairs),
    )


def _without_common(label: str, other: str) -> str:
    """The parts of a label that the other has not; all of it where there are none."""
    parts = [part for part in label.split(", ") if part not in other.split(", ")]
    return ", ".join(parts) or label


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= 0.02 * max(1 - one, 1 - other)


def _turns(mean: np.ndarray) -> tuple[tuple[int, float], tuple[int, float]]:
    """Level and smoothed height of a curve's valley and of the peak after it."""
    raw = mean.tolist()
    height = smoothed(raw)
    valley, _ = deepest(height, raw)
    peak = max(range(valley, len(height)), key=lambda level: (height[level], raw[level]))
    return (valley, height[valley]), (peak, height[peak])


def _first_below(train: np.ndarray) -> int | None:
    top = int(train.argmax())
    below = np.flatnonzero(train[top:] < INTERPOLATES * train[top])
    return top + int(below[0]) if below.size else None


def _draws(seeds: int) -> list[np.ndarray]:
    """Seeds drawn with replacement; the same draws whenever they are asked for."""
    generator = np.random.default_rng(0)
    return [generator.integers(seeds, size=seeds) for _ in range(RESAMPLES if seeds > 1 else 0)]


def _interval(value: float, resampled: Sequence[float], seeds: int) -> Interval:
    if seeds < 2 or not resampled:
        return Interval(value)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _accuracy(value: float) -> str:
    return f"{value:.3f}"
