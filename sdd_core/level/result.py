"""Results of a level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdd_core.output.text import percent

COST = ("dense_macs", "kept_macs", "parameters", "kept_parameters", "dense_bytes", "packed_bytes",
        "zipped_bytes")
"""The values of the metric `cost`."""


@dataclass(frozen=True)
class LevelResult:
    """The values measured on a level.

    sparsity, density: fractions of pruned and kept weights, over the layers that may be pruned.
    metrics: by name, floats, integers, None (no value), or mappings from layer to float.
    epochs: the values after each epoch, oldest first, as in `sdd_core.level.level.Epoch`.
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

    @property
    def cost(self) -> dict[str, Any]:
        """The values of the metric `cost` by name; empty if it was not measured."""
        return {name: self.metrics[name] for name in COST if name in self.metrics}

    def number(self, metric: str) -> float:
        """Return a metric as a float; NaN if it was not measured or is not a number. The value of
        one layer is `sparsity_by_layer/hidden1.weight`."""
        value = self.metrics.get(metric)
        if value is None and "/" in metric:
            name, _, layer = metric.partition("/")
            by_layer = self.metrics.get(name)
            value = by_layer.get(layer) if isinstance(by_layer, Mapping) else None
        return float(value) if isinstance(value, int | float) else math.nan
