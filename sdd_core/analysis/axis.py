"""What curves are drawn over, and what a recommendation saves: sparsity, or any metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sdd_core.analysis.groups import Group, place
from sdd_core.errors import SddError, did_you_mean
from sdd_core.level.result import COST
from sdd_core.runs.result import Result

SPARSITY = "sparsity"

SHORT = {"macs": "kept_macs", "parameters": "kept_parameters", "bytes": "packed_bytes"}
"""Short names of metrics for the axis."""

LABELS = {
    "dense_macs": "multiply-adds of the dense network",
    "kept_macs": "kept multiply-adds per example",
    "kept_parameters": "kept parameters",
    "dense_bytes": "dense size, bytes",
    "packed_bytes": "packed size, bytes",
    "zipped_bytes": "zipped size, bytes",
}

UNITS = {"_ms": "ms", "_bytes": "bytes"}
"""Units of metrics, by the end of their names."""

WIDE = 10.0
"""The ratio of the largest to the smallest value from which an axis is logarithmic."""


@dataclass(frozen=True)
class Axis:
    """The axis of a name: 'sparsity', 'macs', 'parameters', 'bytes', or a metric's name."""

    name: str = SPARSITY

    @property
    def metric(self) -> str:
        """The metric, or 'sparsity'."""
        return SHORT.get(self.name, self.name)

    @property
    def is_sparsity(self) -> bool:
        """Whether it is the sparsity, which every level has."""
        return self.metric == SPARSITY

    @property
    def label(self) -> str:
        """The metric in words, with its unit."""
        return LABELS.get(self.metric) or in_words(self.metric)

    def values(self, runs: Group) -> list[float]:
        """Return the mean value at every level; NaN where no seed has one. Raises SddError if a run
        has none at all."""
        if self.is_sparsity:
            return runs.sparsity
        check_metric([runs], self.metric, (SPARSITY, *SHORT))
        for result in runs.results:
            if all(math.isnan(value) for value in result.curve(self.metric)):
                raise missing(self.metric, result)
        return list(runs.mean(self.metric))

    def places(self, runs: Group) -> list[float]:
        """Return the place of every level, which grows from the dense network to the sparsest one:
        over the logarithm of the values if they differ much. NaN where there is no value.
        Raises SddError as `values` does."""
        values = self.values(runs)
        if self.is_sparsity:
            return [place(value) for value in values]
        if logarithmic(values):
            values = [math.log(value) if value > 0 else math.nan for value in values]
        return [-value for value in values] if falling(values) else values


def in_words(metric: str) -> str:
    """Return the name of a metric in words, with its unit: `loss`, `latency dense 1, ms`."""
    for end, unit in UNITS.items():
        if metric.endswith(end):
            return f"{metric.removesuffix(end).replace('_', ' ')}, {unit}"
    return metric.replace("_", " ")


def logarithmic(values: Iterable[float]) -> bool:
    """Return whether values belong on a logarithmic axis: numbers of at least 0, of which the
    largest is at least ten times the smallest above 0."""
    known = [value for value in values if math.isfinite(value)]
    above = [value for value in known if value > 0]
    return bool(above) and min(known) >= 0 and max(above) >= WIDE * min(above)


def falling(values: Sequence[float]) -> bool:
    """Return whether values fall from the first known one to the last."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and known[-1] < known[0]


def in_order(values: Sequence[float]) -> bool:
    """Return whether all values are known and only rise, or only fall."""
    steps = [after - before for before, after in pairwise(values)]
    return all(step >= 0 for step in steps) or all(step <= 0 for step in steps)


def check_metric(groups: Iterable[Group], metric: str, others: Iterable[str] = ()) -> None:
    """Raise SddError, with the nearest names or how to measure it, when no level of any run has the
    metric. others: names that may be meant besides those of metrics."""
    results = [result for one in groups for result in one.results]
    levels = [level for result in results for level in result.levels]
    if any(not math.isnan(level.number(metric)) for level in levels):
        return
    known: dict[str, None] = {}
    for level in levels:
        for name, value in level.metrics.items():
            layers = [f"{name}/{layer}" for layer in value] if isinstance(value, Mapping) else []
            known |= dict.fromkeys(layers or [name])
    if metric in known:
        raise SddError(f"{metric!r} has no number at any level of any run; levels whose training "
                       "diverged have none")
    if _measured_by(metric):
        raise missing(metric, results[0])
    hint = did_you_mean(metric, [*known, *others]) or f"there are {', '.join(known)}"
    raise SddError(f"no run has a metric called {metric!r}; {hint}")


def missing(metric: str, result: Result) -> SddError:
    """Return an error that says how to measure a metric in a run that has none."""
    plugin = _measured_by(metric)
    if plugin == "cost" and result.experiment.metrics is None:
        command = f"sdd resume {result.folder}"
    else:
        command = f"sdd run {result.folder / 'experiment.toml'} --metric {plugin or 'NAME'}"
    return SddError(f"run {result.run} has no {metric!r}; `{command}` measures it, and trains no "
                    "stored level again")


def _measured_by(metric: str) -> str | None:
    """Return the name of the metric plugin that gives a value; None if the name does not tell."""
    if metric in COST:
        return "cost"
    return "latency" if metric.startswith("latency_") else None
