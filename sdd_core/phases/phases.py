"""The phases of sparse double descent, found on a measured curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sdd_core.phases.chance import SEVERAL
from sdd_core.phases.guessing import above_guessing, at_guessing, guessing_accuracy
from sdd_core.phases.noisy_curve import Curve, Span

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
    guessing: float | None = None,
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
       accuracy above guessing is lost; if that network is not above guessing by more than chance,
       half of the highest level's. Otherwise the curve ends before the collapse, and its last
       levels have no phase.
    7. Without double descent there is no critical phase. There is a sweet phase if accuracy rises
       above the dense network's by more than chance.
    8. If no level is above guessing by three binomial standard errors, nothing was learned, and
       nothing is said about phases.
    9. If a level has no accuracy in some of the seeds, its mean is that of all seeds under the
       assumption that they differ by the same amount at every level.

    Args:
        sparsity: sparsity of every level, increasing.
        accuracy: test accuracy (0 to 1), `[levels]` or `[seeds, levels]`; NaN for a level without
            one, because training diverged or it was not measured.
        test_examples: size of the test set.
        classes: number of classes; None if unknown.
        guessing: the accuracy of the best constant answer, the share of the most frequent class in
            the test set; None: 1 / classes, or 0 if that is unknown too.
    """
    values = np.atleast_2d(np.asarray(accuracy, dtype=float))
    if not np.isnan(values).all():  # a seed without any value is none
        values = values[~np.isnan(values).all(axis=1)]
    levels = np.flatnonzero(~np.isnan(values).all(axis=0)) if values.size else np.array([], int)
    if not levels.size:
        why = "no level has a test accuracy" if values.size else "there are no levels"
        return Phases(False, f"nothing can be said: {why}", undecided=True)
    level = guessing_accuracy(classes, guessing)
    curve = Curve(values[:, levels], test_examples, level, [float(sparsity[k]) for k in levels],
                  dense=levels[0] == 0)
    if not above_guessing(curve.raw, test_examples, level):
        return Phases(False, "nothing can be said on double descent: nothing was learned; "
                      f"{at_guessing('test', curve.raw.max(), level)}", undecided=True)
    return _with_gaps(_found(curve), levels.tolist(), values.shape[1])


def _with_gaps(phases: Phases, levels: Sequence[int], count: int) -> Phases:
    """Return the phases of a curve without gaps as those of all `count` levels. levels: the levels
    with an accuracy; the others belong to the phase around them."""
    if missing := count - len(levels):
        phases = replace(phases, verdict=f"{phases.verdict}; {missing} of {count} levels "
                         f"{'has' if missing == 1 else 'have'} no test accuracy")
    ends = [*levels[:-1], count - 1]
    moved: dict[str, Any] = {name: (levels[first - 1] + 1 if first else 0, ends[last])
                             for name, (first, last) in phases.named().items()}
    if phases.valley is not None and phases.peak is not None:
        moved |= {"valley": levels[phases.valley], "peak": levels[phases.peak]}
    return replace(phases, **moved)


def _found(curve: Curve) -> Phases:
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
    valley, peak, depth = (one.item() for one in curve.turning_points(curve.raw))
    if depth > 1:
        return _with_valley(curve, valley, peak)
    if depth > NEARLY:
        verdict = (f"undecided: test accuracy falls and rises again around {curve.where[valley]} "
                   "sparsity, but by less than chance may make of it; more seeds would tell")
        return replace(_level_or_rising(curve)[0], verdict=verdict, undecided=True)
    return _without(curve, valley)


def _with_valley(curve: Curve, valley: int, peak: int) -> Phases:
    height, raw, where = curve.height, curve.raw, curve.where
    light = curve.last_within_error(int(np.argmax(height[:valley])), valley)
    below = raw[peak] < raw[0]
    bar = (raw[valley] + raw[peak]) / 2 if below else raw[0]
    critical = max(i for i in range(valley, peak) if i == valley or raw[i] < bar)
    sweet = max(i for i in range(peak, curve.last + 1) if i == peak or height[i] >= bar)
    than = "the dense network" if curve.first == "dense" else f"that {curve.first}"
    verdict = (
        f"sparse double descent: test accuracy {raw[0]:.3f} {curve.first}, "
        f"valley {raw[valley]:.3f} at {where[valley]}, "
        f"peak {raw[peak]:.3f} at {where[peak]} sparsity"
        + (f", below {than}" if below else "")
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
                                if i == top or (height[i] >= raw[0] and not curve.collapsed[i])))
    end = sweet[1] if sweet else light
    collapsed = curve.tail(end + 1) if falls else None
    return Phases(False, "", light=(0, light), sweet=sweet, collapsed=collapsed), rises, falls


def _without(curve: Curve, valley: int) -> Phases:
    """Return the phases of a curve that does not fall and rise again by more than chance. valley:
    the level where it does most."""
    last, where = curve.last, curve.where
    phases, rises, falls = _level_or_rising(curve)
    what = _course(curve, phases.light[1] if phases.light else last, rises, falls)
    if falls and not rises and phases.collapsed is None and curve.deepest < DEEP:
        verdict = f"the curve ends too early to tell: {what}; more levels would tell"
        return replace(phases, verdict=verdict, undecided=True)
    # Levels differ in their noise: what chance explains there may be more than elsewhere.
    limit = curve.limits.depth
    there = curve.chance_between(int(np.argmax(curve.height[: valley + 1])), valley, limit)
    seen = max(float(np.median(curve.chance(limit))), there)
    if seen > curve.height.max():
        return replace(phases, verdict="nothing can be said on double descent: neighbouring levels "
                       "differ so much that no valley could be told from chance; more seeds would "
                       "tell", undecided=True)
    size = f"{seen:.3f}" if seen >= 0.0005 else f"{seen:.1g}"
    return replace(phases, verdict=f"no double descent up to {where[last]}: {what}; a valley of "
                   f"less than {size} may be chance{curve.outliers()}")


def _course(curve: Curve, light: int, rises: bool, falls: bool) -> str:
    """Say how the accuracy of a curve without a valley changes. light: the last level of its light
    phase."""
    raw, last, top, where = curve.raw, curve.last, curve.highest(), curve.where
    if rises:
        what = (f"test accuracy rises from {raw[0]:.3f} to {raw[top]:.3f} at {where[top]} "
                "sparsity without falling first by more than chance")
    elif light == 0:
        what = f"test accuracy is {raw[0]:.3f} {curve.first}"
    else:
        what = f"test accuracy stays near {raw[0]:.3f}"
        if raw[top] > raw[0] + curve.binomial[0]:
            what += f" (at most {raw[top]:.3f})"
        what += f" up to {where[light]} sparsity"
    if not falls:
        return what
    lowest = top + int(np.argmin(curve.height[top:]))
    if curve.differ(last, lowest, curve.limits.depth):
        return f"{what}, then falls to {raw[lowest]:.3f} at {where[lowest]} and ends at " \
               f"{raw[last]:.3f} at {where[last]}"
    return f"{what}, then falls to {raw[last]:.3f} at {where[last]}"
