"""The phases of sparse double descent, found on a measured curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

Span = tuple[int, int]
"""The first and the last level of a phase."""


@dataclass(frozen=True)
class Phases:
    """Where test accuracy is level, falls, rises and collapses as sparsity grows.

    double_descent: whether it falls and then rises by more than chance.
    verdict: that in one line.
    light, critical, sweet, collapsed: first and last level of each phase, None where there is
        none. Without double descent there is a light phase and perhaps a collapsed one.
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


def find_phases(
    sparsity: Sequence[float],
    accuracy: Sequence[float],
    test_examples: int,
    standard_error: float | None = None,
) -> Phases:
    """The phases of a curve (He et al., 2022, arXiv:2206.08684, sec. 3 and Figure 1).

    The paper reads them off by eye; the rule here is:

    1. The curve is smoothed by running medians of three, so that one odd level decides nothing.
    2. The valley is the level v that makes the smaller of these two the largest: its fall, from
       the highest accuracy before v down to v, and its rise, from v up to the highest after it.
       There is double descent if that is more than two standard errors.
    3. The light phase ends at the last level before the valley that is within one standard error
       of the highest before it; the critical phase at the valley; the sweet phase at the last
       level within one standard error of the peak; what follows has collapsed.

    Args:
        sparsity: of every level, growing.
        accuracy: test accuracy (0 to 1) of every level; NaN where training diverged.
        test_examples: size of the test set; it decides what is chance.
        standard_error: of an accuracy, where it is known better (say, over seeds); if not given,
            sqrt(p (1 - p) / test_examples) at the valley.
    """
    measured = [level for level, value in enumerate(accuracy) if not math.isnan(value)]
    if not measured:
        return Phases(False, "no double descent: no level could be measured")
    curve = _medians([accuracy[level] for level in measured])
    last = len(sparsity) - 1
    where = [sparsity[level] for level in measured]

    def error(at: float) -> float:
        return standard_error or math.sqrt(max(at * (1 - at), 1e-4) / max(test_examples, 1))

    highest_before = list(accumulate(curve, max))
    highest_after = list(accumulate(reversed(curve), max))[::-1]
    depth = [
        min(high - at, later - at)
        for high, at, later in zip(highest_before, curve, highest_after, strict=True)
    ]
    valley = max(range(len(curve)), key=depth.__getitem__)
    if depth[valley] <= 2 * error(curve[valley]):
        return _without(curve, where, measured, last, error)
    # The raw curve has its lowest and highest levels beside those of the smoothed one.
    start = highest_before[valley]
    peak = max(range(valley, len(curve)), key=curve.__getitem__)
    light = max(i for i in range(valley) if curve[i] >= start - error(start))
    sweet = max(
        i for i in range(peak, len(curve)) if curve[i] >= curve[peak] - error(curve[peak])
    )
    verdict = (
        f"sparse double descent: test accuracy {curve[0]:.3f} dense, "
        f"valley {curve[valley]:.3f} at {_percent(where[valley])}, "
        f"peak {curve[peak]:.3f} at {_percent(where[peak])} sparsity"
    )
    return Phases(
        True,
        verdict,
        light=(0, measured[light]),
        critical=(measured[light] + 1, measured[valley]),
        sweet=(measured[valley] + 1, measured[sweet]),
        collapsed=(measured[sweet] + 1, last) if measured[sweet] < last else None,
        valley=measured[valley],
        peak=measured[peak],
    )


def _without(curve, where, measured, last, error) -> Phases:
    """The phases of a curve that does not fall and rise again."""
    peak = max(range(len(curve)), key=curve.__getitem__)
    light = max(i for i in range(len(curve)) if curve[i] >= curve[peak] - error(curve[peak]))
    if curve[peak] - curve[0] > 2 * error(curve[0]):
        what = (
            f"test accuracy rises from {curve[0]:.3f} to {curve[peak]:.3f} at "
            f"{_percent(where[peak])} sparsity without falling first"
        )
    else:
        what = f"test accuracy stays near {curve[peak]:.3f} up to {_percent(where[light])} sparsity"
    if light < len(curve) - 1:
        what += f", then falls to {curve[-1]:.3f} at {_percent(where[-1])}"
    end = measured[light]
    collapsed = (end + 1, last) if end < last else None
    return Phases(False, f"no double descent: {what}", light=(0, end), collapsed=collapsed)


def _medians(values: Sequence[float]) -> list[float]:
    """Running medians of three; the ends stay as they are."""
    inner = [sorted(values[i - 1 : i + 2])[1] for i in range(1, len(values) - 1)]
    return [values[0], *inner, values[-1]] if len(values) > 2 else list(values)


def _percent(sparsity: float) -> str:
    """A sparsity with the digits that tell one level from the next."""
    return f"{100 * sparsity:.{1 if sparsity < 0.995 else 2}f} %"
