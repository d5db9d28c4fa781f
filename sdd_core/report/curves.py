"""Draw metrics that are a curve at each level, such as a loss along a line of networks."""

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
        """The largest rise from left to right; 0 if the curve never rises."""
        return float(np.nanmax(self.values - np.fmin.accumulate(self.values)))


def telling_levels(first: Group) -> list[int]:
    """Return the levels of the dense network, of a group's valley and peak if any, and the last
    level, as in the paper (He et al., 2022, arXiv:2206.08684, sec. 3.1)."""
    phases = first.phases
    found = {0, phases.valley, phases.peak, len(first.sparsity) - 1}
    return sorted(level for level in found if level is not None)


def read_curves(groups: Sequence[Group], metric: str, levels: Sequence[int]) -> list[Curve]:
    """Return the curves of a metric, for the groups and levels that have it."""
    return [curve for one in groups for level in levels
            if (curve := _curve(one, metric, level)) is not None]


def _curve(one: Group, metric: str, level: int) -> Curve | None:
    shown = [result.levels[level].metrics.get(metric) for result in one.results
             if level < len(result.levels)]
    known = [values for values in shown if isinstance(values, Mapping)]
    # Curves with other places cannot be averaged.
    known = [values for values in known if values.keys() == known[0].keys()]
    if not known:
        return None
    table = np.array([list(values.values()) for values in known], dtype=float)
    places = np.array([float(place) for place in known[0]])
    return Curve(metric, one.label, level, one.sparsity[level], places, table.mean(axis=0))


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """Return a figure with a panel for each metric, and a line for each group and level."""
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
    """Return CSV with a row for each place of each curve."""
    return csv_text([
        {"metric": curve.metric, "group": curve.group, "level": curve.level,
         "sparsity": curve.sparsity, "place": place, "mean": value}
        for curve in curves
        for place, value in zip(curve.places.tolist(), curve.values.tolist(), strict=True)
    ])


def curves_table(curves: Sequence[Curve]) -> str:
    """Return a Markdown table of each curve's ends, its middle and its largest rise."""
    rows = ["| | level | at the left end | in the middle | at the right end | "
            "climbs, left to right, by |", "|---|---|---|---|---|---|"]
    for curve in curves:
        left, middle, right = (curve.values[n] for n in (0, len(curve.values) // 2, -1))
        rows.append(f"| `{curve.metric}`, {curve.group} | {curve.level}, {percent(curve.sparsity)} "
                    f"| {left:.3f} | {middle:.3f} | {right:.3f} | {curve.climb:.3f} |")
    return "\n".join(rows)
