"""Define the result of a run: its levels and their phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError
from sdd_core.experiment.applied_noise import applied_noise
from sdd_core.experiment.experiment import Experiment
from sdd_core.level.result import LevelResult
from sdd_core.output.text import percent
from sdd_core.phases.phases import Phases, find_phases
from sdd_core.runs.table import html_table

COLUMNS = ("run", "level", "sparsity", "density", "phase", "diverged", *Experiment.model_fields)
"""Columns of tables other than metrics; no value of a metric may have such a name."""

FAR = 2
"""The factor between the numbers of kept weights from which a level is not near a sparsity."""

SHOWN = 4
"""The number of levels that an error lists."""


@dataclass(frozen=True)
class Result:
    """A run's levels in order, from the dense network (level 0) on.

    test_examples, train_examples: numbers of examples. classes: number of classes. changed_labels:
    number of training labels that the label noise changed. guessing: the accuracy of the best
    constant answer on the test set. The last four are None if an older run did not record them.
    recommend: returns the recommended level of a result, or raises SddError.
    """

    run: str
    folder: Path
    experiment: Experiment
    levels: tuple[LevelResult, ...]
    test_examples: int
    classes: int | None = None
    train_examples: int | None = None
    changed_labels: int | None = None
    guessing: float | None = None
    recommend: Callable[[Result], int] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        up_to = f" up to {percent(self.sparsity[-1])} sparsity" if self.levels else ""
        count = f"{len(self.levels)} level{'s' * (len(self.levels) != 1)}{up_to}"
        return (f"<Result {self.run}: {count}; label noise: {self.noise}; "
                f"{self.phases.verdict}>")

    def curve(self, metric: str) -> list[float]:
        """Return the metric at every level; NaN where a level has none."""
        return [level.number(metric) for level in self.levels]

    @property
    def sparsity(self) -> list[float]:
        """The sparsity of every level."""
        return [level.sparsity for level in self.levels]

    def at(self, sparsity: float) -> LevelResult:
        """Return the level whose sparsity is nearest, of those that did not diverge; of two that
        are equally near, the denser one.

        sparsity: a fraction, 0.95 for 95 %. Raises SddError for another number, and if no level is
        near: if the nearest keeps more than twice, or less than half, as many weights as asked.
        """
        if not 0 <= sparsity <= 1:
            raise SddError(f"sparsity {sparsity!r} is not a fraction from 0 to 1; for 95 % write "
                           "0.95")
        levels = self._trained()
        nearest = min(levels, key=lambda level: abs(level.sparsity - sparsity))
        asked = 1 - sparsity
        if not nearest.density / FAR <= asked <= nearest.density * FAR:
            found = ", ".join(percent(level.sparsity) for level in levels[-SHOWN:])
            raise SddError(f"run {self.run} has no level near {percent(sparsity)} sparsity; its "
                           f"{'last ' * (len(levels) > SHOWN)}levels have {found}")
        return nearest

    @property
    def best(self) -> LevelResult:
        """The level with the highest test accuracy, of those that did not diverge; of equals, the
        sparsest. Raises SddError if none was measured."""
        known = [level for level in self._trained() if not isnan(level.number("test_accuracy"))]
        if not known:
            raise SddError(f"run {self.run} has no test accuracy; choose a level by its number or "
                           "its sparsity")
        return max(known, key=lambda level: (level.number("test_accuracy"), level.level))

    @property
    def recommended(self) -> LevelResult:
        """The level that `sdd_core.recommend` recommends for this run alone. Raises SddError if it
        recommends none."""
        self._trained()
        if self.recommend is None:
            raise SddError(f"run {self.run} was not made by sdd, so it has no recommended level; "
                           "choose one by its number or its sparsity")
        return self.levels[self.recommend(self)]

    def _trained(self) -> list[LevelResult]:
        """Return the levels that did not diverge. Raises SddError if there is none."""
        levels = [level for level in self.levels if not level.diverged]
        if not levels:
            raise SddError(f"run {self.run} has no trained level yet; `sdd resume {self.folder}` "
                           "continues it")
        return levels

    @property
    def noise(self) -> str:
        """The label noise that was applied, in words: `none`, or `symmetric 0.4, 361 of 1,000
        training labels changed`."""
        return applied_noise(self.experiment.noise, self.changed_labels, self.train_examples)

    @cached_property
    def phases(self) -> Phases:
        """The phases of test accuracy as sparsity grows: light, critical, sweet, collapsed."""
        return find_phases(self.sparsity, self.curve("test_accuracy"), self.test_examples,
                           self.classes, self.guessing)

    def to_json(self) -> dict[str, Any]:
        """Return the document that `sdd run --json` prints."""
        levels = [
            {
                "level": level.level,
                "sparsity": level.sparsity,
                "density": level.density,
                "diverged": level.diverged,
                "metrics": dict(level.metrics),
            }
            for level in self.levels
        ]
        return {
            "run": self.run,
            "folder": str(self.folder),
            "noise": {**self.experiment.noise.model_dump(mode="json"),
                      "changed_labels": self.changed_labels},
            "levels": levels,
            "phases": asdict(self.phases),
        }

    def _repr_html_(self) -> str:
        return html_table(self)
