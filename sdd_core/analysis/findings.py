"""Findings of runs over several seeds: the phases and their uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sdd_core.analysis.groups import Group
from sdd_core.analysis.intervals import Interval, first_below, turn_intervals
from sdd_core.output.brief import brief
from sdd_core.output.text import percent
from sdd_core.phases.chance import SEVERAL
from sdd_core.phases.guessing import above_guessing

INTERPOLATES = 0.99


@dataclass(frozen=True)
class Reach:
    """The sparsities at which a phase begins and ends.

    begins, ends: in the mean curve. first, last: lowest and highest value over the curves of single
    seeds; None if no seed's curve has the phase. seeds: the number of seeds whose curves have it.
    """

    begins: float
    ends: float
    seeds: int
    first: tuple[float, float] | None
    last: tuple[float, float] | None


class Findings:
    """The findings of a group of runs.

    Intervals cover 95 % and require three seeds (see `sdd_core.analysis.intervals`).
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.phases = group.phases
        self.sparsity = group.sparsity

    def __repr__(self) -> str:
        return f"<Findings of {brief(self.group.label)}: {self.verdict}>"

    @cached_property
    def reaches(self) -> dict[str, Reach]:
        """The reach of each phase of the mean curve."""
        found = {}
        for name, (begin, end) in self.phases.named().items():
            single = [(result.sparsity[span[0]], result.sparsity[span[1]])
                      for result in self.group.results
                      if (span := result.phases.named().get(name))]
            firsts, lasts = [one[0] for one in single], [one[1] for one in single]
            found[name] = Reach(
                self.sparsity[begin],
                self.sparsity[end],
                len(single),
                (min(firsts), max(firsts)) if single else None,
                (min(lasts), max(lasts)) if single else None,
            )
        return found

    @cached_property
    def valley(self) -> tuple[Interval, Interval] | None:
        """The valley's sparsity and its mean test accuracy; None without double descent."""
        return self._turns[0] if self.phases.double_descent else None

    @cached_property
    def peak(self) -> tuple[Interval, Interval] | None:
        """The peak's sparsity and its mean test accuracy; None without double descent."""
        return self._turns[1] if self.phases.double_descent else None

    @cached_property
    def interpolation_threshold(self) -> Interval | None:
        """The sparsity of the first level, after the highest training accuracy, whose training
        accuracy is below 0.99 times the highest: from there on the network no longer fits its
        noisy labels. None if there is no such level, or no training accuracy above guessing.

        The measure is relative, because with augmentation and weight decay even dense networks do
        not fit all labels.
        """
        values, levels = self.group.complete("train_accuracy")
        examples = self.group.results[0].train_examples or self.group.test_examples
        if not levels or not above_guessing(values.mean(axis=0), examples, self.group.guessing):
            return None
        return first_below(values, INTERPOLATES, [self.sparsity[level] for level in levels])

    @cached_property
    def verdict(self) -> str:
        """The findings in one line."""
        seeds = len(self.group.results)
        silent = int(np.isnan(self.group.values("test_accuracy")).all(axis=1).sum())
        if seeds == 1:
            over = "one seed, so without intervals"
        else:
            over = f"over {seeds} seeds" + (
                f", {silent} of them without test accuracy" if silent else "") + (
                ", too few for intervals" if seeds - silent < SEVERAL else "")
        if not (self.valley and self.peak):
            return f"{self.phases.verdict} ({over}{self._cut})"
        dense = self.group.mean("test_accuracy")[0]
        (valley_at, valley), (peak_at, peak) = self.valley, self.peak
        found = sum(result.phases.double_descent for result in self.group.results)
        also = f"; seen in {found} of them alone" if seeds > 1 else ""
        below = ", below the dense network" if peak.value < dense else ""
        return (
            f"sparse double descent: valley {valley.said(_accuracy)} at "
            f"{valley_at.said(percent)}, peak {peak.said(_accuracy)} at "
            f"{peak_at.said(percent)}{below}"
            + ("" if math.isnan(dense) else f", dense {dense:.3f}") + f" ({over}{also}{self._cut})"
        )

    @property
    def _cut(self) -> str:
        """Say how many levels do not count, because not every seed has reached them; '' if all do.
        """
        common = min(len(result.levels) for result in self.group.results)
        if common == len(self.sparsity):
            return ""
        return f"; only the {common} of {len(self.sparsity)} levels that every seed has reached"

    @cached_property
    def _turns(self) -> tuple[tuple[Interval, Interval], tuple[Interval, Interval]]:
        values, levels = self.group.complete("test_accuracy")
        turns = [level for level in (self.phases.valley, self.phases.peak) if level is not None]
        if len(values) < SEVERAL or not set(turns) <= set(levels):
            mean = self.group.statistics("test_accuracy").mean
            valley, peak = ((Interval(self.sparsity[level]), Interval(mean[level]))
                            for level in turns)
            return valley, peak
        places = [self.sparsity[level] for level in levels]
        return turn_intervals(values, places, [levels.index(level) for level in turns])


def _accuracy(value: float) -> str:
    return f"{value:.3f}"
