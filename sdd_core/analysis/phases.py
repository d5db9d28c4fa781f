"""The phases of sparse double descent, found on a measured curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

Span = tuple[int, int]
"""The first and the last level of a phase."""


@dataclass(frozen=True)
class Phases:
    """Where test accuracy is level, falls, rises and collapses as sparsity grows.

    double_descent: whether it falls and then rises by more than chance.
    verdict: that in one line.
    light, critical, sweet, collapsed: first and last level of each phase, None where there is
        none. Without double descent there is a light phase, a sweet one where accuracy rises
        without falling first, and perhaps a collapsed one. Every level lies in one of them, unless
        no level has a test accuracy; levels that diverged at the end have collapsed.
    valley, peak: the levels of the lowest accuracy between the fall and the rise, and of the
        highest after it; None without double descent.
    """

    double_descent: bool
    verdict: str
    light: Span | None = None
    critical: Span | None = None
    sweet: Span | None = None
    collapsed: Span | None = None
    valley: int | None = None
    peak: int | None = None

    def named(self) -> dict[str, Span]:
        """The phases that there are, in their order."""
        spans = {name: getattr(self, name) for name in ("light", "critical", "sweet", "collapsed")}
        return {name: span for name, span in spans.items() if span is not None}


LONG = 12
"""Levels from which on a curve shows its own noise."""


def find_phases(
    sparsity: Sequence[float], accuracy: Sequence[float], test_examples: int
) -> Phases:
    """The phases of a curve (He et al., 2022, arXiv:2206.08684, sec. 2.3 and Figure 5).

    The paper reads them off by eye; the rule here is:

    1. The curve is smoothed by running medians, of five levels where there are 12 or more and of
       three else, so that one odd level decides nothing. Accuracies in the verdict are smoothed.
    2. Its noise is measured on the curve itself where there are 12 levels or more: how far each
       level lies from the middle of its neighbours. (Levels share their test images, so that the
       binomial standard error of an accuracy, sqrt(p (1 - p) / test_examples), says too much.) It
       is taken to be a quarter of that error at least, and that error where levels are fewer.
    3. The valley is the level v that makes the smaller of these two the largest: its fall, from
       the highest accuracy before v down to v, and its rise, from v up to the highest after it.
       There is double descent if that is more than chance makes of L levels: sqrt(3 ln L) times
       the noise, which flat curves exceed about once in a hundred times.
    4. The light phase ends at the last level before the valley that is within one binomial
       standard error of the highest before it; the critical phase at the valley; the sweet phase
       at the last level within one such error of the peak; what follows has collapsed, if it
       falls below the peak by more than chance.
    5. Without double descent there is no critical phase. Where the peak is above the dense network
       by more than chance, the light phase ends at the last level before the peak that is not more
       than one such error above the dense network; else it lasts as long as the sweet phase would.

    Args:
        sparsity: of every level, growing.
        accuracy: test accuracy (0 to 1) of every level, or its mean over seeds; NaN where a level
            has none: training diverged, or it was not measured.
        test_examples: size of the test set.
    """
    last = len(accuracy) - 1
    levels = [level for level in range(len(accuracy)) if not math.isnan(accuracy[level])]
    if not levels:
        why = "no level has a test accuracy" if accuracy else "there are no levels"
        return Phases(False, f"nothing can be said: {why}")
    raw = [accuracy[level] for level in levels]
    curve = _Curve(smoothed(raw), noise_of(raw), test_examples)
    height = curve.height
    where = [percent(sparsity[level]) for level in levels]

    valley, depth = deepest(height, raw)
    if depth <= curve.chance(valley):
        return _without(curve, levels, where, last)
    start = max(range(valley), key=height.__getitem__)
    light = curve.last_as_high_as(start, valley)
    peak = max(range(valley, len(height)), key=lambda i: (height[i], raw[i]))
    sweet = curve.end_of(peak)
    verdict = (
        f"sparse double descent: test accuracy {height[0]:.3f} dense, "
        f"valley {height[valley]:.3f} at {where[valley]}, "
        f"peak {height[peak]:.3f} at {where[peak]} sparsity"
    )
    return Phases(
        True,
        verdict,
        light=(0, levels[light]),
        critical=(levels[light] + 1, levels[valley]),
        sweet=(levels[valley] + 1, levels[sweet]),
        collapsed=_rest(levels[sweet], last),
        valley=levels[valley],
        peak=levels[peak],
    )


def deepest(height: Sequence[float], raw: Sequence[float]) -> tuple[int, float]:
    """The level whose fall from before and rise afterwards are largest, and the smaller of the
    two. `height` is smoothed; `raw` decides between levels that share a height."""
    highest_before = list(accumulate(height, max))
    highest_after = list(accumulate(reversed(height), max))[::-1]
    depth = [
        min(high - at, later - at)
        for high, at, later in zip(highest_before, height, highest_after, strict=True)
    ]
    # Medians repeat: of the levels that share one, the lowest is meant.
    valley = max(range(len(height)), key=lambda i: (depth[i], -raw[i]))
    return valley, depth[valley]


@dataclass(frozen=True)
class _Curve:
    """A smoothed curve, and how far chance moves it."""

    height: list[float]
    noise: float | None
    test_examples: int

    def error(self, at: int) -> float:
        """The binomial standard error of a level."""
        p = self.height[at]
        return math.sqrt(max(p * (1 - p), 1e-4) / max(self.test_examples, 1))

    def chance(self, at: int) -> float:
        """How deep chance alone makes the lowest of so many levels."""
        error = self.error(at)
        noise = error if self.noise is None else max(self.noise, error / 4)
        return math.sqrt(3 * math.log(len(self.height))) * noise

    def last_as_high_as(self, top: int, end: int) -> int:
        """The last level before `end` that is within one standard error of level `top`."""
        least = self.height[top] - self.error(top)
        return max(i for i in range(top, end) if self.height[i] >= least)

    def last_as_low_as_dense(self, end: int) -> int:
        """The last level before `end` that is at most one standard error above the dense one."""
        most = self.height[0] + self.error(0)
        return max(i for i in range(end) if self.height[i] <= most)

    def end_of(self, peak: int) -> int:
        """The last level that is as high as the peak; the last of all where the fall after the
        peak may be chance."""
        end = len(self.height)
        lowest = min(range(peak, end), key=self.height.__getitem__)
        if self.height[peak] - self.height[lowest] <= self.chance(lowest):
            return end - 1
        return self.last_as_high_as(peak, end)


def _without(curve: _Curve, levels: list[int], where: list[str], last: int) -> Phases:
    """The phases of a curve that does not fall and rise again."""
    height = curve.height
    peak = max(range(len(height)), key=height.__getitem__)
    light = end = curve.end_of(peak)
    if height[peak] - height[0] > curve.chance(0):
        light = curve.last_as_low_as_dense(peak)
        what = (
            f"test accuracy rises from {height[0]:.3f} to {height[peak]:.3f} at {where[peak]} "
            "sparsity without falling first"
        )
    else:
        what = f"test accuracy stays near {height[peak]:.3f} up to {where[end]} sparsity"
    if end < len(height) - 1:
        what += f", then falls to {height[-1]:.3f} at {where[-1]}"
    return Phases(
        False,
        f"no double descent: {what}",
        light=(0, levels[light]),
        sweet=_rest(levels[light], levels[end]),
        collapsed=_rest(levels[end], last),
    )


def _rest(end: int, last: int) -> Span | None:
    """The levels after `end` up to `last`, if there are any."""
    return (end + 1, last) if end < last else None


def smoothed(values: Sequence[float]) -> list[float]:
    """Running medians; the window shrinks towards the ends, which stay as they are."""
    most = 2 if len(values) >= LONG else 1
    reach = [min(most, i, len(values) - 1 - i) for i in range(len(values))]
    return [median(values[i - r : i + r + 1]) for i, r in enumerate(reach)]


def noise_of(values: Sequence[float]) -> float | None:
    """The standard deviation of a long curve's noise, None of a short one.

    Second differences of independent noise have sqrt(6) times its deviation, and 68.3 % of them
    are smaller than that; a trend, a bend or a collapse changes few of them.
    """
    if len(values) < LONG:
        return None
    bends = sorted(abs(a - 2 * b + c)
                   for a, b, c in zip(values, values[1:], values[2:], strict=False))
    return bends[math.ceil(0.683 * len(bends)) - 1] / math.sqrt(6)


def percent(sparsity: float) -> str:
    """A sparsity with the digits that tell one level from the next."""
    digits = 1 + sum(sparsity >= limit for limit in (0.995, 0.9995, 0.99995))
    return f"{100 * sparsity:.{digits}f} %"
