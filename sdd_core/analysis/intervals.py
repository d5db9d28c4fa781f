"""Confidence intervals of what a curve shows, from several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sdd_core.phases.chance import (
    NEIGHBOURS,
    SEVERAL,
    autoregressive,
    correlation,
    pooled_variance,
)
from sdd_core.phases.curves import Array
from sdd_core.phases.phases import Curve

DRAWS = 1000

HEIGHT = (0.0125, 0.9875)
PLACE = (0.07, 0.93)
"""Quantiles of the simulated curves that give intervals which cover 95 %. Those of heights are
wider, for the curve that is simulated is smoother than the true one; those of places are narrower,
for the places of simulated curves scatter around one that is uncertain itself, and are whole
levels."""


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


def simulated(values: Array) -> tuple[Array, Array]:
    """Return a smooth mean curve, `[levels]`, and 1,000 mean curves that other seeds might have
    shown if it were the true one, `[1000, levels]`.

    A parametric bootstrap (Efron & Tibshirani, 1993, ch. 6.5): the noise has the variance and the
    correlation between levels that the seeds show. The variance of few seeds is uncertain itself,
    so each curve draws its own. The draws are the same whenever this is worked out.

    values: `[seeds, levels]`, three seeds or more.
    """
    seeds, levels = values.shape
    generator = np.random.default_rng([seeds, levels])
    rho, mean = correlation(values), values.mean(axis=0)
    error = np.sqrt(pooled_variance(values) / seeds)
    freedom = (seeds - 1) * _independent_levels(rho)
    factor = np.sqrt(freedom / generator.chisquare(freedom, size=(DRAWS, 1)))
    noise = autoregressive(generator, (DRAWS, levels), rho) * factor * error
    smooth = _without_noise(mean, error**2 * (1 - rho) * (3 - rho) / 8)
    return smooth, smooth + noise


def _without_noise(mean: Array, variance: Array) -> Array:
    """A smooth curve with the bends that noise does not explain. The raw mean's valley is deeper
    than the true one by chance, and a smooth one's is less deep where it is sharp.

    variance: of the distance of a level from the smooth curve that noise makes.
    """
    smooth = mean.copy()
    smooth[1:-1] = (mean[:-2] + 2 * mean[1:-1] + mean[2:]) / 4
    bend = mean - smooth
    kept = 1 - np.divide(2 * variance, bend**2, out=np.ones_like(bend), where=bend != 0)
    return smooth + np.maximum(kept, 0) * bend


def turn_intervals(
    curve: Curve, values: Array, sparsity: Sequence[float], turns: Sequence[int]
) -> tuple[tuple[Interval, Interval], tuple[Interval, Interval]]:
    """Return the sparsity and the height of a curve's valley, and of its peak.

    The heights are the mean accuracies of those levels; their intervals are of the accuracy that
    the true curve has in its valley, and at its peak.

    values: `[seeds, levels]`, three seeds or more, those of the curve. turns: its valley and peak.
    """
    smooth, others = simulated(values)
    true, found = curve.turning_points(smooth), curve.turning_points(others)

    def interval(which: int) -> tuple[Interval, Interval]:
        level, places = turns[which], found[which]
        heights = np.take_along_axis(others, places[:, None], axis=-1)[:, 0]
        low, high = np.quantile(heights - smooth[true[which]], HEIGHT)
        value = float(curve.raw[level])
        height = Interval(value, min(value, value - high), max(value, value - low))
        return _place(level, places, sparsity), height

    return interval(0), interval(1)


def first_below(values: Array, part: float, sparsity: Sequence[float]) -> Interval | None:
    """Return the sparsity of the first level, after the highest, at which the mean curve is below
    `part` of its highest value; None where no level is.

    values: `[seeds, levels]`.
    """
    where = _first_below(values.mean(axis=0), part)
    if where is None:
        return None
    if len(values) < SEVERAL:
        return Interval(sparsity[where])
    places = [level for curve in simulated(values)[1]
              if (level := _first_below(curve, part)) is not None]
    return _place(where, np.array(places), sparsity)


def _first_below(curve: Array, part: float) -> int | None:
    top = int(curve.argmax())
    below = np.flatnonzero(curve[top:] < part * curve[top])
    return top + int(below[0]) if below.size else None


def _place(level: int, others: Array, sparsity: Sequence[float]) -> Interval:
    """The sparsity of a level, with the interval of the levels that simulated curves give."""
    if not others.size:
        return Interval(sparsity[level])
    low, high = np.quantile(others, PLACE, method="inverted_cdf")
    return Interval(sparsity[level], sparsity[min(level, int(low))],
                    sparsity[max(level, int(high))])


def _independent_levels(rho: float) -> float:
    """How many independent levels tell as much about a variance as the pooled ones do, whose
    squares correlate by rho^2 from one to the next."""
    size = 2 * NEIGHBOURS + 1
    return size / (1 + 2 * sum((1 - lag / size) * rho ** (2 * lag) for lag in range(1, size)))
