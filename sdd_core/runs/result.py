"""What a run found: its levels, and the phases that they fall into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sdd_core.phases.phases import Phases, find_phases, percent
from sdd_core.experiment.applied_noise import applied_noise
from sdd_core.experiment.experiment import Experiment

COLUMNS = ("run", "level", "sparsity", "density", "phase", "diverged", *Experiment.model_fields)
"""What tables have beside metrics, whose names no metric's value may take."""


@dataclass(frozen=True)
class LevelResult:
    """What was measured on a level.

    sparsity, density: fraction of the weights pruned and kept, over the layers that may be pruned.
    metrics: names to floats, integers, None (not a number), or a mapping from layer to float.
    epochs: what was measured after each epoch, oldest first, as in `sdd_core.level.level.Epoch`.
    """

    level: int
    key: str
    sparsity: float
    density: float
    diverged: bool
    metrics: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...] = ()

    def __repr__(self) -> str:
        values = {name: value for name, value in self.metrics.items()
                  if isinstance(value, int | float)}
        shown = [f"{name} {value:.4g}" for name, value in list(values.items())[:2]]
        if len(self.metrics) > len(shown):
            shown.append(f"and {len(self.metrics) - len(shown)} more metrics")
        diverged = ["diverged"] if self.diverged else []
        parts = [f"{percent(self.sparsity)} sparse", *diverged, *shown]
        return f"<LevelResult {self.level}: {', '.join(parts)}>"

    def number(self, metric: str) -> float:
        """The metric as a float; NaN where it was not measured or is no number. One layer's is
        meant by `sparsity_by_layer/hidden1.weight`."""
        value = self.metrics.get(metric)
        if value is None and "/" in metric:
            name, _, layer = metric.partition("/")
            by_layer = self.metrics.get(name)
            value = by_layer.get(layer) if isinstance(by_layer, Mapping) else None
        return float(value) if isinstance(value, int | float) else math.nan


@dataclass(frozen=True)
class Result:
    """A run's levels in order, from the dense network (level 0) on.

    test_examples, train_examples: sizes of the data. classes: how many there are. changed_labels:
    how many training labels the label noise changed. The last three are None of runs that did not
    write them down.
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
        """The metric at every level; NaN where a level has none."""
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
        """Where test accuracy is level, falls, rises and collapses as sparsity grows."""
        return find_phases(self.sparsity, self.curve("test_accuracy"), self.test_examples,
                           self.classes)

    def to_json(self) -> dict[str, Any]:
        """The document that `sdd run --json` prints."""
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
        from sdd_core.runs.table import html_table  # noqa: PLC0415 (a notebook's need alone)

        return html_table(self)
