"""Confidence intervals of features of a curve, from several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sdd_core.phases.chance import NEIGHBOURS, SEVERAL, correlation, pooled_variance
from sdd_core.phases.curves import Array

DRAWS = 100_000

HEIGHT = 0.965
"""Coverage of the interval of one level's accuracy. A valley is selected because it is low, partly
by chance; with this value the intervals of valleys and peaks cover 95 %."""

PLACE = 0.9
"""One minus twice the level of the one-sided tests that limit an interval of sparsities."""


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % confidence interval, which is None if there are too few seeds."""

    value: float
    low: float | None = None
    high: float | None = None

    def said(self, form: Callable[[float], str]) -> str:
        """Return the value and its interval as text, formatted with `form`."""
        between = "" if self.low is None or self.high is None else (
            f" ({form(self.low)} to {form(self.high)})"
        )
        return form(self.value) + between


def turn_intervals(
    values: Array, sparsity: Sequence[float], turns: Sequence[int]
) -> tuple[tuple[Interval, Interval], tuple[Interval, Interval]]:
    """Return the sparsity and the height of a curve's valley, and of its peak, with intervals.

    The heights are the mean accuracies of these levels, with t intervals. The interval of the
    valley's sparsity extends from the first to the last level, between the highest level before it
    and the peak, that a one-sided t test at 5 % does not find higher than the valley. That of the
    peak is analogous, over the levels after the valley.

    values: `[seeds, levels]`, three seeds or more. turns: the levels of valley and peak.
    """
    valley, peak = turns
    mean = values.mean(axis=0)
    error = np.sqrt(pooled_variance(values) / len(values)) * t_limit(values, HEIGHT)

    def interval(level: int, first: int, end: int, sign: int) -> tuple[Interval, Interval]:
        above, chance = _from_zero(sign * (values - values[:, [level]]), values)
        alike = first + np.flatnonzero(above[first:end] <= chance[first:end])
        place = Interval(sparsity[level], sparsity[alike[0]], sparsity[alike[-1]])
        value = float(mean[level])
        by = float(error[level])
        return place, Interval(value, value - by, value + by)

    top = int(mean[:max(valley, 1)].argmax())
    return interval(valley, top, peak, 1), interval(peak, valley + 1, len(mean), -1)


def first_below(values: Array, part: float, sparsity: Sequence[float]) -> Interval | None:
    """Return the sparsity of the first level, after the highest, at which the mean curve is below
    `part` of its highest value; None if there is none.

    The interval extends from the first level that may be below, by a one-sided t test at 5 %, to
    the first that is below by this test, or to the last level if there is none.

    values: `[seeds, levels]`.
    """
    top = int(values.mean(axis=0).argmax())
    after = values[:, top:] - part * values[:, [top]]
    below = np.flatnonzero(after.mean(axis=0) < 0)
    if not below.size:
        return None
    value = sparsity[top + int(below[0])]
    if len(values) < SEVERAL:
        return Interval(value)
    height, chance = _from_zero(after, values)
    may, is_below = (np.flatnonzero(one < 0) for one in (height - chance, height + chance))
    last = top + int(is_below[0]) if is_below.size else len(sparsity) - 1
    return Interval(value, sparsity[top + int(may[0])], sparsity[last])


def t_limit(values: Array, share: float) -> float:
    """Return the largest distance of a level's mean from the true one in a fraction `share` of
    cases, in standard errors: Student's t with a variance that is pooled over levels.

    values: `[seeds, levels]`.
    """
    freedom = (len(values) - 1) * _independent_levels(correlation([values]))
    return _t_quantile(round(freedom, 1), share)


def _from_zero(differences: Array, values: Array) -> tuple[Array, Array]:
    """Return the means of differences that were computed from `values`, and the distances from zero
    that chance explains."""
    error = np.sqrt(pooled_variance(differences) / len(differences))
    return differences.mean(axis=0), error * t_limit(values, PLACE)


@lru_cache(maxsize=256)
def _t_quantile(freedom: float, share: float) -> float:
    """Return the quantile `share` of |t|, by simulation with a fixed seed."""
    generator = np.random.default_rng(0)
    t = generator.standard_normal(DRAWS) / np.sqrt(generator.chisquare(freedom, DRAWS) / freedom)
    return float(np.quantile(np.abs(t), share))


def _independent_levels(rho: float) -> float:
    """Return the number of independent levels that are worth as much as the pooled ones, whose
    squares have the correlation rho^2 between neighbours."""
    size = 2 * NEIGHBOURS + 1
    return size / (1 + 2 * sum((1 - lag / size) * rho ** (2 * lag) for lag in range(1, size)))
