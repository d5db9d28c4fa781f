"""The phases of sparse double descent, found on a measured curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sdd_core.output.text import percent
from sdd_core.phases.chance import LONG, SEVERAL, level_errors, limits, shows_noise
from sdd_core.phases.curves import smoothed, turning_points

Span = tuple[int, int]
"""The first and the last level of a phase."""

FEWEST = {"one": 8, "several": 5}
"""Levels below which nothing is said: of one or two seeds, and of three or more."""

NEARLY = 0.75
"""A valley of more than this part of what chance makes leaves the verdict open."""

DEEP = 0.99
"""A curve that only falls and ends below this sparsity ends too early to tell: the valleys of the
paper's Figure 1 lie below it."""


@dataclass(frozen=True)
class Phases:
    """Where test accuracy stays, falls, rises and collapses as sparsity grows.

    double_descent: whether it falls and then rises by more than chance.
    verdict: that in one line.
    undecided: whether the curve is too short, too noisy or ends too early to tell.
    light, critical, sweet, collapsed: first and last level of each phase, None where there is
        none. They follow one another; levels at the end of a curve that has neither kept its
        accuracy nor collapsed lie in none of them.
    valley, peak: the levels of the lowest accuracy between the fall and the rise, and of the
        highest after it; None without double descent.
    """

    double_descent: bool
    verdict: str
    undecided: bool = False
    light: Span | None = None
    critical: Span | None = None
    sweet: Span | None = None
    collapsed: Span | None = None
    valley: int | None = None
    peak: int | None = None

    def named(self) -> dict[str, Span]:
        """Return the phases that the curve has, in their order."""
        spans = {name: getattr(self, name) for name in ("light", "critical", "sweet", "collapsed")}
        return {name: span for name, span in spans.items() if span is not None}


def find_phases(
    sparsity: Sequence[float],
    accuracy: Sequence[float] | Sequence[Sequence[float]] | np.ndarray,
    test_examples: int,
    classes: int | None = None,
) -> Phases:
    """Find the phases of a curve (He et al., 2022, arXiv:2206.08684, sec. 2.3 and Figure 5).

    The paper reads them off by eye. The rule here:

    1. Differences are taken on the (mean) curve smoothed by running medians of three levels. The
       valley and the peak that are named are the lowest and the highest of the three levels there,
       with their own accuracies.
    2. Chance: with three seeds or more, its scale is measured between the seeds; with fewer, on
       the curve itself, from how far levels lie from the middle of their neighbours; with fewer
       than 12 levels as well, it is taken to be two binomial standard errors,
       sqrt(p (1 - p) / test_examples). A difference is more than chance if it is above the 95 %
       quantile for flat curves whose noise correlates by up to 0.9 from level to level
       (`sdd_core.phases.chance`), and above one binomial standard error.
    3. The valley is the level at which the smaller of its fall (from the highest level before it)
       and its rise (to the highest after it) is largest. There is double descent if both are more
       than chance. A rise that ends where accuracy has collapsed (see 6) does not count.
    4. The light phase ends at the last level before the valley that is within one binomial
       standard error of the highest before it.
    5. The critical phase goes through the valley and ends at the last level of the rise that is
       below the dense network; the sweet phase follows, up to the last level that is not. Where
       the peak is below the dense network, half-way between valley and peak takes its place, and
       the verdict says so.
    6. What follows has collapsed if, at the end, at least half of what the dense network's
       accuracy is above guessing (1 / classes) is lost. Else the curve ends before it collapses,
       and its last levels have no phase.
    7. Without double descent there is no critical phase. There is a sweet phase where accuracy
       rises above the dense network's by more than chance.

    Args:
        sparsity: of every level, growing.
        accuracy: test accuracy (0 to 1), `[levels]` or `[seeds, levels]`; NaN where a level has
            none: training diverged, or it was not measured.
        test_examples: size of the test set.
        classes: number of classes, None where it is not known; guessing is then taken to be 0.
    """
    values = np.atleast_2d(np.asarray(accuracy, dtype=float))
    levels = np.flatnonzero(~np.isnan(values).all(axis=0)) if values.size else np.array([], int)
    if not levels.size:
        why = "no level has a test accuracy" if values.size else "there are no levels"
        return Phases(False, f"nothing can be said: {why}", undecided=True)
    curve = Curve(values[:, levels], test_examples, classes)
    at = [float(sparsity[level]) for level in levels]
    found = _found(curve, at)
    # Levels without an accuracy belong to the phase around them.
    place = levels.tolist()
    ends = [*place[:-1], values.shape[1] - 1]
    moved: dict[str, Any] = {name: (place[first - 1] + 1 if first else 0, ends[last])
                             for name, (first, last) in found.named().items()}
    if found.valley is not None and found.peak is not None:
        moved |= {"valley": place[found.valley], "peak": place[found.peak]}
    return replace(found, **moved)


class Curve:
    """A mean curve without gaps, and what chance does to it."""

    def __init__(self, values: np.ndarray, test_examples: int, classes: int | None = None) -> None:
        """values: `[seeds, levels]`, at least one number for each level."""
        guessing = 1 / classes if classes else 0.0
        self.seeds, self.last = values.shape[0], values.shape[1] - 1
        self.raw = np.nanmean(values, axis=0)
        self.height = smoothed(self.raw)
        variance = np.maximum(self.height * (1 - self.height), 1e-4)
        self.binomial = np.sqrt(variance / max(test_examples, 1))
        # At half of what the dense network has above guessing, a level has collapsed.
        dense = self.height[0] - guessing
        self.collapsed = (self.height - guessing < dense / 2) & (dense > 0)
        self.limits = limits(self.seeds, self.last + 1)
        self.errors = self._errors(values)

    def _errors(self, values: np.ndarray) -> np.ndarray:
        """The scale of what chance does to each level."""
        # A steep collapse would pass for noise along the curve.
        end = int(np.flatnonzero(~self.collapsed)[-1]) + 1
        if self.seeds < SEVERAL and end >= LONG:
            return np.full(self.last + 1, level_errors(values[:, :end])[0])
        if shows_noise(self.seeds, self.last + 1):
            return level_errors(values)
        return 2 * self.binomial

    def chance(self, limit: float) -> np.ndarray:
        """By how much chance makes levels differ, under one of the limits."""
        return np.maximum(limit * self.errors, self.binomial)

    def differ(self, high: int, low: int, limit: float) -> bool:
        """Whether level `high` is above level `low` by more than chance."""
        chance = self.chance(limit)
        scale = math.sqrt((chance[high] ** 2 + chance[low] ** 2) / 2)
        return bool(self.height[high] - self.height[low] > scale)

    def turning_points(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Valley, peak and depth of this curve or, under the same chance, of others like it; a
        depth above 1 is more than chance."""
        return turning_points(raw, self.chance(self.limits.depth), ~self.collapsed)

    def highest(self) -> int:
        """The level of the highest accuracy."""
        return max(range(self.last + 1), key=lambda i: (self.height[i], self.raw[i]))

    def last_within_error(self, top: int, end: int) -> int:
        """The last level before `end` that is within one binomial error of level `top`."""
        least = self.height[top] - self.binomial[top]
        return max(i for i in range(top, end) if self.height[i] >= least)

    def tail(self, begin: int) -> Span | None:
        """The levels from `begin` to the end where the end has collapsed."""
        return (begin, self.last) if begin <= self.last and self.collapsed[self.last] else None


def _found(curve: Curve, sparsity: Sequence[float]) -> Phases:
    """The phases of a curve without gaps."""
    several = curve.seeds >= SEVERAL
    fewest = FEWEST["several" if several else "one"]
    if curve.last + 1 < fewest:
        seeds = "one seed" if curve.seeds == 1 else f"{curve.seeds} seeds"
        more = f"{fewest} levels" + ("" if several else f", or {FEWEST['several']} with "
                                     f"{SEVERAL} seeds")
        count = f"{curve.last + 1} level{'s' if curve.last else ''}"
        are = "is" if curve.last == 0 else "are"
        return Phases(False, f"nothing can be said on double descent: {count} of {seeds} {are} too "
                      f"few; run at least {more}", undecided=True)
    where = [percent(value) for value in sparsity]
    valley, peak, depth = (one.item() for one in curve.turning_points(curve.raw))
    if depth > 1:
        return _with_valley(curve, where, valley, peak)
    if depth > NEARLY:
        verdict = (f"undecided: test accuracy falls and rises again around {where[valley]} "
                   "sparsity, but by less than chance may make of it; more seeds would tell")
        return replace(_level_or_rising(curve)[0], verdict=verdict, undecided=True)
    return _without(curve, where, sparsity[-1])


def _with_valley(curve: Curve, where: Sequence[str], valley: int, peak: int) -> Phases:
    height, raw = curve.height, curve.raw
    light = curve.last_within_error(int(np.argmax(height[:valley])), valley)
    below = raw[peak] < raw[0]
    bar = (raw[valley] + raw[peak]) / 2 if below else raw[0]
    critical = max(i for i in range(valley, peak) if i == valley or raw[i] < bar)
    sweet = max(i for i in range(peak, curve.last + 1) if i == peak or height[i] >= bar)
    verdict = (
        f"sparse double descent: test accuracy {raw[0]:.3f} dense, "
        f"valley {raw[valley]:.3f} at {where[valley]}, "
        f"peak {raw[peak]:.3f} at {where[peak]} sparsity"
        + (", below the dense network" if below else "")
    )
    return Phases(
        True,
        verdict,
        light=(0, light),
        critical=(light + 1, critical),
        sweet=(critical + 1, sweet),
        collapsed=curve.tail(sweet + 1),
        valley=valley,
        peak=peak,
    )


def _level_or_rising(curve: Curve) -> tuple[Phases, bool, bool]:
    """The phases of a curve without a valley, without a verdict, and whether it rises and falls by
    more than chance."""
    height, raw, last, top = curve.height, curve.raw, curve.last, curve.highest()
    lowest = top + int(np.argmin(height[top:]))
    rises = curve.differ(top, 0, curve.limits.rise)
    falls = bool(curve.collapsed[last]) or curve.differ(top, lowest, curve.limits.drop)
    light = curve.last_within_error(top, last + 1) if falls else last
    sweet = None
    if rises:
        light = max(i for i in range(top) if i == 0 or raw[i] <= raw[0] + curve.binomial[0])
        sweet = (light + 1, max(i for i in range(top, last + 1)
                                if i == top or height[i] >= raw[0]))
    end = sweet[1] if sweet else light
    collapsed = curve.tail(end + 1) if falls else None
    return Phases(False, "", light=(0, light), sweet=sweet, collapsed=collapsed), rises, falls


def _without(curve: Curve, where: Sequence[str], deepest: float) -> Phases:
    """The phases of a curve that does not fall and rise again."""
    raw, last, top = curve.raw, curve.last, curve.highest()
    phases, rises, falls = _level_or_rising(curve)
    if rises:
        what = (f"test accuracy rises from {raw[0]:.3f} to {raw[top]:.3f} at {where[top]} "
                "sparsity without falling first")
    else:
        what = f"test accuracy stays near {raw[0]:.3f}"
        if raw[top] > raw[0] + curve.binomial[0]:
            what += f" (at most {raw[top]:.3f})"
        what += f" up to {where[phases.light[1] if phases.light else last]} sparsity"
    if falls:
        what += f", then falls to {raw[last]:.3f} at {where[last]}"
    if falls and not rises and phases.collapsed is None and deepest < DEEP:
        verdict = f"the curve ends too early to tell: {what}; more levels would tell"
        return replace(phases, verdict=verdict, undecided=True)
    seen = float(np.median(curve.chance(curve.limits.depth)))
    return replace(phases, verdict=f"no double descent up to {where[last]}: {what}; a valley of "
                   f"less than {seen:.3f} may be chance")
