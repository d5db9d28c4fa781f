"""A mean curve of test accuracy, and the effect of chance on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sdd_core.level.naming import listed
from sdd_core.output.text import percent
from sdd_core.phases.chance import LONG, SEVERAL, level_errors, limits, shows_noise
from sdd_core.phases.curves import mean_over_seeds, smoothed, turning_points
from sdd_core.phases.guessing import CLEARLY, above_guessing

Span = tuple[int, int]
"""The first and the last level of a phase."""


class Curve:
    """A mean curve without gaps, and the effect of chance on it.

    where: the sparsity of each level, in words. first: what its first level is called.
    """

    def __init__(
        self, values: np.ndarray, test_examples: int, guessing: float, sparsity: Sequence[float],
        dense: bool = True,
    ) -> None:
        """values: `[seeds, levels]`, at least one number for each level. dense: whether the first
        level is the dense network."""
        self.where, self.deepest = [percent(value) for value in sparsity], sparsity[-1]
        self.first = "dense" if dense else f"at {self.where[0]}"
        self.seeds, self.last = values.shape[0], values.shape[1] - 1
        self.raw = mean_over_seeds(values)
        self.height = smoothed(self.raw)
        variance = np.maximum(self.height * (1 - self.height), 1e-4)
        self.binomial = np.sqrt(variance / max(test_examples, 1))
        # A level has collapsed below half of the dense network's accuracy above guessing.
        learned = above_guessing(self.height[:1], test_examples, guessing)
        whole = (self.height[0] if learned else self.height.max()) - guessing
        self.collapsed = (self.height - guessing < whole / 2) & (whole > 0)
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

    def outliers(self) -> str:
        """Say which single levels differ from both neighbours by more than chance; '' if none."""
        chance = np.maximum(self.chance(self.limits.depth), CLEARLY * self.binomial)
        odd = np.flatnonzero(np.abs(self.raw - self.height) > chance)
        named = listed([f"{self.where[level]} ({self.raw[level]:.3f})" for level in odd])
        return f"; single levels that differ do not count: {named}" if named else ""

    def tail(self, begin: int) -> Span | None:
        """Return the levels from `begin` to the end if the end has collapsed, else None."""
        return (begin, self.last) if begin <= self.last and self.collapsed[self.last] else None
