"""Whether a network has learned anything: the accuracy of guessing, and what is above it."""

from __future__ import annotations

import math
from collections.abc import Iterable

CLEARLY = 3
"""The number of binomial standard errors above guessing from which an accuracy is above it."""


def guessing_accuracy(classes: int | None, constant: float | None = None) -> float:
    """Return the accuracy of guessing: that of the best constant answer, and at least 1 / classes.

    constant: the share of the most frequent class in the test set; None if unknown. classes: number
    of classes; None if unknown, which counts as 0.
    """
    return max(constant or 0.0, 1 / classes if classes else 0.0)


def above_guessing(accuracies: Iterable[float], examples: int, guessing: float) -> bool:
    """Return whether one of the accuracies is above guessing by more than chance: by three binomial
    standard errors. NaN counts for nothing. examples: the number that they were measured on."""
    error = math.sqrt(guessing * (1 - guessing) / max(examples, 1))
    return any(value > guessing + CLEARLY * error for value in accuracies)


def at_guessing(kind: str, highest: float, guessing: float) -> str:
    """Say that no level is above guessing. kind: 'test' or 'train'. highest: the highest accuracy.
    """
    return (f"at no level is {kind} accuracy (at most {highest:.3f}) above that of guessing "
            f"({guessing:.3f}) by more than chance")
