"""Define the result of a run: its levels and their phases."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sdd_core.experiment.applied_noise import applied_noise
from sdd_core.experiment.experiment import Experiment
from sdd_core.level.result import LevelResult
from sdd_core.output.text import percent
from sdd_core.phases.phases import Phases, find_phases
from sdd_core.runs.table import html_table

COLUMNS = ("run", "level", "sparsity", "density", "phase", "diverged", *Experiment.model_fields)
"""Columns of tables other than metrics; no value of a metric may have such a name."""


@dataclass(frozen=True)
class Result:
    """A run's levels in order, from the dense network (level 0) on.

    test_examples, train_examples: numbers of examples. classes: number of classes. changed_labels:
    number of training labels that the label noise changed. The last three are None if an older
    run did not record them.
    """

    run: str
    folder: Path
    experiment: Experiment
    levels: tuple[LevelResult, ...]
    test_examples: int
    classes: int | None = None
    train_examples: int | None = None
    changed_labels: int | None = None

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

    @property
    def noise(self) -> str:
        """The label noise that was applied, in words: `none`, or `symmetric 0.4, 361 of 1,000
        training labels changed`."""
        return applied_noise(self.experiment.noise, self.changed_labels, self.train_examples)

    @cached_property
    def phases(self) -> Phases:
        """The phases of test accuracy as sparsity grows: light, critical, sweet, collapsed."""
        return find_phases(self.sparsity, self.curve("test_accuracy"), self.test_examples,
                           self.classes)

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
