"""Metrics that are a curve at each level: a loss along a line of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from sdd_core.analysis.groups import Group
from sdd_core.output.text import csv_text, percent
from sdd_core.report.figure import STYLE, ShownFigure

LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Curve:
    """The mean of a metric's values at each place, over the seeds of a group.

    group: the group's label. places, values: float `[places]`.
    """

    metric: str
    group: str
    level: int
    sparsity: float
    places: np.ndarray
    values: np.ndarray

    @property
    def climb(self) -> float:
        """How far it rises from left to right, at most; 0 where it falls all the way."""
        return float(np.nanmax(self.values - np.fmin.accumulate(self.values)))


def telling_levels(first: Group) -> list[int]:
    """The dense network, the valley and the peak of a group where there are some, and the last
    level: those that the paper looks at (He et al., 2022, arXiv:2206.08684, sec. 3.1)."""
    phases = first.phases
    found = {0, phases.valley, phases.peak, len(first.sparsity) - 1}
    return sorted(level for level in found if level is not None)


def read_curves(groups: Sequence[Group], metric: str, levels: Sequence[int]) -> list[Curve]:
    """The curves of the groups that have the metric, at those of the levels that have one."""
    return [curve for one in groups for level in levels
            if (curve := _curve(one, metric, level)) is not None]


def _curve(one: Group, metric: str, level: int) -> Curve | None:
    shown = [result.levels[level].metrics.get(metric) for result in one.results
             if level < len(result.levels)]
    known = [values for values in shown if isinstance(values, Mapping)]
    # Another number of places would be another curve.
    known = [values for values in known if values.keys() == known[0].keys()]
    if not known:
        return None
    table = np.array([list(values.values()) for values in known], dtype=float)
    places = np.array([float(place) for place in known[0]])
    return Curve(metric, one.label, level, one.sparsity[level], places, table.mean(axis=0))


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """A panel for each metric, side by side, with a line for each group and level."""
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    levels = sorted({curve.level for curve in curves})
    several = len({curve.group for curve in curves}) > 1
    with mpl.rc_context(STYLE):
        figure = ShownFigure(figsize=(3.6 * len(metrics), 3.2), layout="constrained")
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for panel, metric in zip(panels, metrics, strict=True):
            for curve in (one for one in curves if one.metric == metric):
                number = levels.index(curve.level)
                label = f"level {curve.level}, {percent(curve.sparsity)}"
                panel.plot(curve.places, curve.values, LINES[number % len(LINES)],
                           color=mpl.colormaps["viridis"](number / len(levels)),
                           label=f"{curve.group}, {label}" if several else label)
            panel.set_xlabel("place")
            panel.set_ylabel(metric.replace("_", " "))
            panel.legend(loc="best", fontsize=7)
    return figure


def curves_csv(curves: Sequence[Curve]) -> str:
    """A row for each place of each curve."""
    return csv_text([
        {"metric": curve.metric, "group": curve.group, "level": curve.level,
         "sparsity": curve.sparsity, "place": place, "mean": value}
        for curve in curves
        for place, value in zip(curve.places.tolist(), curve.values.tolist(), strict=True)
    ])


def curves_table(curves: Sequence[Curve]) -> str:
    """What a reader takes from each curve, as Markdown: its ends, its middle, how far it climbs."""
    rows = ["| | level | at the left end | in the middle | at the right end | "
            "climbs, left to right, by |", "|---|---|---|---|---|---|"]
    for curve in curves:
        left, middle, right = (curve.values[n] for n in (0, len(curve.values) // 2, -1))
        rows.append(f"| `{curve.metric}`, {curve.group} | {curve.level}, {percent(curve.sparsity)} "
                    f"| {left:.3f} | {middle:.3f} | {right:.3f} | {curve.climb:.3f} |")
    return "\n".join(rows)
