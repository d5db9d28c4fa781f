"""Confidence intervals of what a curve shows, from several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sdd_core.phases.chance import NEIGHBOURS, SEVERAL, correlation, pooled_variance
from sdd_core.phases.curves import Array

DRAWS = 100_000

HEIGHT = 0.965
"""How often the accuracy of a level lies in its interval. A valley is named because it is low, in
part by chance: the intervals of valleys and peaks then cover 95 %."""

PLACE = 0.9
"""One minus twice the level of the one-sided tests that decide where an interval of places ends."""


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % confidence interval; without one where seeds are too few."""

    value: float
    low: float | None = None
    high: float | None = None

    def said(self, form: Callable[[float], str]) -> str:
        """Return the value with its interval, each written by `form`."""
        between = "" if self.low is None or self.high is None else (
            f" ({form(self.low)} to {form(self.high)})"
        )
        return form(self.value) + between


def turn_intervals(
    values: Array, sparsity: Sequence[float], turns: Sequence[int]
) -> tuple[tuple[Interval, Interval], tuple[Interval, Interval]]:
    """Return the sparsity and the height of a curve's valley, and of its peak.

    The heights are the mean accuracies of those levels, with their t intervals. The place of the
    valley reaches from the first to the last level, between the highest before it and the peak,
    that a one-sided t test at 5 % does not find higher than the valley; that of the peak
    accordingly, over the levels after the valley.

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
    `part` of its highest value; None where no level is.

    The interval reaches from the first level that may be below, by a one-sided t test at 5 %, to
    the first that is; where no level surely is, to the last.

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
    """Return how many standard errors a level's mean is from the true one at most in that share of
    cases: Student's t, whose variance is pooled over levels.

    values: `[seeds, levels]`.
    """
    freedom = (len(values) - 1) * _independent_levels(correlation([values]))
    return _t_quantile(round(freedom, 1), share)


def _from_zero(differences: Array, values: Array) -> tuple[Array, Array]:
    """The means of differences that were made of `values`, and how far chance alone takes them
    from zero."""
    error = np.sqrt(pooled_variance(differences) / len(differences))
    return differences.mean(axis=0), error * t_limit(values, PLACE)


@lru_cache(maxsize=256)
def _t_quantile(freedom: float, share: float) -> float:
    """The |t| below which the share lies, by simulation: the same draws whenever it is asked."""
    generator = np.random.default_rng(0)
    t = generator.standard_normal(DRAWS) / np.sqrt(generator.chisquare(freedom, DRAWS) / freedom)
    return float(np.quantile(np.abs(t), share))


def _independent_levels(rho: float) -> float:
    """How many independent levels tell as much about a variance as the pooled ones do, whose
    squares correlate by rho^2 from one to the next."""
    size = 2 * NEIGHBOURS + 1
    return size / (1 + 2 * sum((1 - lag / size) * rho ** (2 * lag) for lag in range(1, size)))
