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
"""The minimum number of levels for a verdict: with one or two seeds, and with three or more."""

NEARLY = 0.75
"""A valley deeper than this fraction of the chance limit leaves the verdict undecided."""

DEEP = 0.99
"""A curve that only falls and ends below this sparsity is too short for a verdict: the valleys of
the paper's Figure 1 are below it."""


@dataclass(frozen=True)
class Phases:
    """The levels at which test accuracy stays, falls, rises and collapses as sparsity increases.

    double_descent: whether test accuracy falls and then rises by more than chance.
    verdict: the result in one line.
    undecided: whether the curve is too short, too noisy or ends too early to decide.
    light, critical, sweet, collapsed: first and last level of each phase, None if it is missing.
        The phases are consecutive. Levels at the end of a curve that has neither kept its accuracy
        nor collapsed belong to none.
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

    The paper determines them by eye. This function uses these rules:

    1. Differences are computed on the (mean) curve, smoothed by running medians of three levels.
       The reported valley and peak are the lowest and the highest of the three levels there, with
       their own accuracies.
    2. Chance: with three or more seeds, its scale is measured between the seeds; with fewer, on the
       curve itself, from the distances of levels to the mean of their neighbours; with fewer than
       12 levels as well, it is two binomial standard errors, sqrt(p (1 - p) / test_examples). A
       difference is more than chance if it is above the 95 % quantile for flat curves whose noise
       has a correlation of up to 0.9 between levels (`sdd_core.phases.chance`), and above one
       binomial standard error.
    3. The valley is the level at which the smaller of its fall (from the highest level before it)
       and its rise (to the highest after it) is largest. There is double descent if both are more
       than chance. A rise that ends where accuracy has collapsed (rule 6) does not count.
    4. The light phase ends at the last level before the valley that is within one binomial
       standard error of the highest before it.
    5. The critical phase contains the valley and ends at the last level of the rise below the dense
       network. The sweet phase follows, up to the last level that is not below it. If the peak is
       below the dense network, the midpoint between valley and peak replaces the dense accuracy,
       and the verdict states it.
    6. The levels after that are collapsed if, at the end, at least half of the dense network's
       accuracy above guessing (1 / classes) is lost. Otherwise the curve ends before the collapse,
       and its last levels have no phase.
    7. Without double descent there is no critical phase. There is a sweet phase if accuracy rises
       above the dense network's by more than chance.

    Args:
        sparsity: sparsity of every level, increasing.
        accuracy: test accuracy (0 to 1), `[levels]` or `[seeds, levels]`; NaN for a level without
            one, because training diverged or it was not measured.
        test_examples: size of the test set.
        classes: number of classes; None if unknown, which sets guessing to 0.
    """
    values = np.atleast_2d(np.asarray(accuracy, dtype=float))
    levels = np.flatnonzero(~np.isnan(values).all(axis=0)) if values.size else np.array([], int)
    if not levels.size:
        why = "no level has a test accuracy" if values.size else "there are no levels"
        return Phases(False, f"nothing can be said: {why}", undecided=True)
    curve = Curve(values[:, levels], test_examples, classes)
    found = _found(curve, [float(sparsity[level]) for level in levels])
    return _with_gaps(found, levels.tolist(), values.shape[1])


def _with_gaps(phases: Phases, levels: Sequence[int], count: int) -> Phases:
    """Return the phases of a curve without gaps as those of all `count` levels. levels: the levels
    with an accuracy; the others belong to the phase around them."""
    ends = [*levels[:-1], count - 1]
    moved: dict[str, Any] = {name: (levels[first - 1] + 1 if first else 0, ends[last])
                             for name, (first, last) in phases.named().items()}
    if phases.valley is not None and phases.peak is not None:
        moved |= {"valley": levels[phases.valley], "peak": levels[phases.peak]}
    return replace(phases, **moved)


class Curve:
    """A mean curve without gaps, and the effect of chance on it."""

    def __init__(self, values: np.ndarray, test_examples: int, classes: int | None = None) -> None:
        """values: `[seeds, levels]`, at least one number for each level."""
        guessing = 1 / classes if classes else 0.0
        self.seeds, self.last = values.shape[0], values.shape[1] - 1
        self.raw = np.nanmean(values, axis=0)
        self.height = smoothed(self.raw)
        variance = np.maximum(self.height * (1 - self.height), 1e-4)
        self.binomial = np.sqrt(variance / max(test_examples, 1))
        # A level has collapsed below half of the dense network's accuracy above guessing.
        dense = self.height[0] - guessing
        self.collapsed = (self.height - guessing < dense / 2) & (dense > 0)
        self.limits = limits(self.seeds, self.last + 1)
        self.errors = self._errors(values)

    def _errors(self, values: np.ndarray) -> np.ndarray:
        """Return the scale of the noise of each level."""
        # Without the collapsed end, because a steep collapse would look like noise.
        end = int(np.flatnonzero(~self.collapsed)[-1]) + 1
        if self.seeds < SEVERAL and end >= LONG:
            return np.full(self.last + 1, level_errors(values[:, :end])[0])
        if shows_noise(self.seeds, self.last + 1):
            return level_errors(values)
        return 2 * self.binomial

    def chance(self, limit: float) -> np.ndarray:
        """Return the largest difference of each level that chance explains, under a limit."""
        return np.maximum(limit * self.errors, self.binomial)

    def chance_between(self, one: int, other: int, limit: float) -> float:
        """Return the largest difference of two levels that chance explains, under a limit."""
        chance = self.chance(limit)
        return math.sqrt((chance[one] ** 2 + chance[other] ** 2) / 2)

    def differ(self, high: int, low: int, limit: float) -> bool:
        """Return whether level `high` is above level `low` by more than chance."""
        between = self.chance_between(high, low, limit)
        return bool(self.height[high] - self.height[low] > between)

    def turning_points(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return valley, peak and depth of this curve, or of similar curves with the same noise. A
        depth above 1 is more than chance."""
        return turning_points(raw, self.chance(self.limits.depth), ~self.collapsed)

    def highest(self) -> int:
        """Return the level of the highest accuracy."""
        return max(range(self.last + 1), key=lambda i: (self.height[i], self.raw[i]))

    def last_within_error(self, top: int, end: int) -> int:
        """Return the last level before `end` that is within one binomial error of level `top`."""
        least = self.height[top] - self.binomial[top]
        return max(i for i in range(top, end) if self.height[i] >= least)

    def tail(self, begin: int) -> Span | None:
        """Return the levels from `begin` to the end if the end has collapsed, else None."""
        return (begin, self.last) if begin <= self.last and self.collapsed[self.last] else None


def _found(curve: Curve, sparsity: Sequence[float]) -> Phases:
    """Return the phases of a curve without gaps."""
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
    return _without(curve, where, valley, sparsity[-1])


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
    """Return the phases of a curve without a valley, with an empty verdict, and whether it rises
    and falls by more than chance."""
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


def _without(curve: Curve, where: Sequence[str], valley: int, deepest: float) -> Phases:
    """Return the phases of a curve that does not fall and rise again by more than chance. valley:
    the level where it does most."""
    raw, last, top = curve.raw, curve.last, curve.highest()
    phases, rises, falls = _level_or_rising(curve)
    if rises:
        what = (f"test accuracy rises from {raw[0]:.3f} to {raw[top]:.3f} at {where[top]} "
                "sparsity without falling first by more than chance")
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
    # Levels differ in their noise: what chance explains there may be more than elsewhere.
    limit = curve.limits.depth
    there = curve.chance_between(int(np.argmax(curve.height[: valley + 1])), valley, limit)
    seen = max(float(np.median(curve.chance(limit))), there)
    return replace(phases, verdict=f"no double descent up to {where[last]}: {what}; a valley of "
                   f"less than {seen:.3f} may be chance")
