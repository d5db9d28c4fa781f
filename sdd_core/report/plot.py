"""Runs laid over one another: means and deviations over seeds, with the numbers beside them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from sdd_core.analysis.comparison import compare
from sdd_core.analysis.findings import Findings
from sdd_core.analysis.groups import Group, group, place
from sdd_core.errors import SddError, did_you_mean
from sdd_core.files import write_atomic
from sdd_core.report.figure import (
    ABOVE_NAMES,
    drawing,
    save_figure,
    shade,
    sparsity_axis,
)
from sdd_core.text import csv_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sdd_core.result import Result

# Okabe and Ito's colours, which people see apart who do not see all colours; without yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
LINES = ("-", "--", ":")
FORMS = ("png", "svg", "pdf")
WIDTH, HEIGHT = 7.2, 2.9


def plot(
    results: Iterable[Result] | Result,
    metrics: Sequence[str] = ("test_accuracy",),
    output: Path | str | None = None,
) -> Figure:
    """Metrics over sparsity, one below the other; runs that differ in their seed alone are one
    line, their mean, with a band of one standard deviation. A notebook shows the figure.

    output: where to write the figure, .png, .svg or .pdf; the numbers go to a .csv beside it. The
        same results give the same bytes.

    Raises SddError: no such metric, another ending, no result, a full disk.
    """
    from sdd_core.result import Result  # noqa: PLC0415 (for the type alone)

    groups = group([results] if isinstance(results, Result) else results)
    figure = groups_figure(groups, metrics)
    if output is not None:
        write_figure(figure, groups, metrics, Path(output))
    return figure


def write_figure(
    figure: Figure, groups: Sequence[Group], metrics: Sequence[str], output: Path
) -> list[Path]:
    """Write a figure and, beside it, its numbers; returns both paths. Raises SddError."""
    return write_beside(figure, groups_csv(groups, metrics), output)


def write_beside(figure: Figure, numbers: str, output: Path) -> list[Path]:
    """Write a figure and, to a .csv beside it, its numbers; returns both paths. Raises SddError."""
    form = check_form(output)
    buffer = io.BytesIO()
    save_figure(figure, buffer, form)
    write_atomic(output, buffer.getvalue())
    beside = output.with_suffix(".csv")
    write_atomic(beside, numbers)
    return [output, beside]


def check_form(output: Path) -> str:
    """The ending of a figure's name. Raises SddError for one that cannot be written."""
    form = output.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise SddError(f"cannot write a figure to {output}; expected a name that ends in "
                       ".png, .svg or .pdf")
    return form


def groups_figure(
    groups: Sequence[Group], metrics: Sequence[str], title: str | None = None
) -> Figure:
    """The figure that `plot` makes. The title, if not given, is what the runs of one group show,
    or where one of two is better. The phases are shaded where there is one group."""
    if not groups:
        raise SddError("there is no run to plot; `sdd runs` lists what is in the store")
    for metric in metrics:
        check_metric(groups, metric)
    with drawing(figsize=(WIDTH, HEIGHT * len(metrics) + 0.9)) as figure:
        panels = list(figure.subplots(len(metrics), 1, sharex=True, squeeze=False).flat)
        for panel, metric in zip(panels, metrics, strict=True):
            for number, one in enumerate(groups):
                _line(panel, one, metric, number)
            panel.set_ylabel(metric.replace("_", " "))
        deepest = max(groups, key=lambda one: one.sparsity[-1])
        sparsity_axis(panels[-1], deepest.sparsity)
        if len(groups) == 1:
            x = [place(value) for value in groups[0].sparsity]
            for panel in panels:
                shade(panel, groups[0].phases, x, named=panel is panels[0])
        else:
            panels[0].legend(loc="best", fontsize=8)
        panels[0].set_title(_title(groups, metrics) if title is None else title, wrap=True,
                            pad=ABOVE_NAMES if len(groups) == 1 else None)
    return figure


def groups_csv(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    """A row for each level of each group: mean, standard deviation and number of values of every
    metric; an empty cell is no number."""
    rows = []
    for one in groups:
        statistics = {metric: one.statistics(metric) for metric in metrics}
        for level, sparsity in enumerate(one.sparsity):
            row = {"group": one.label, "level": level, "sparsity": sparsity,
                   "density": 1 - sparsity}
            for metric, found in statistics.items():
                row |= {f"{metric}_mean": found.mean[level],
                        f"{metric}_deviation": found.deviation[level],
                        f"{metric}_count": found.count[level]}
                row["diverged"] = found.diverged[level]
            rows.append(row)
    return csv_text(rows)


def check_metric(groups: Iterable[Group], metric: str) -> None:
    """Raises SddError, with the nearest names, when no level of any run has the metric."""
    levels = [level for one in groups for result in one.results for level in result.levels]
    if any(not math.isnan(level.number(metric)) for level in levels):
        return
    known: dict[str, None] = {}
    for level in levels:
        for name, value in level.metrics.items():
            layers = [f"{name}/{layer}" for layer in value] if isinstance(value, Mapping) else []
            known |= dict.fromkeys(layers or [name])
    if metric in known:
        raise SddError(f"{metric!r} is a number at no level of any run; where training diverged, "
                       "there is none")
    hint = did_you_mean(metric, known) or f"there are {', '.join(known)}"
    raise SddError(f"no run has a number called {metric!r}; {hint}")


def _line(panel: Axes, one: Group, metric: str, number: int) -> None:
    found = one.statistics(metric)
    x = [place(value) for value in one.sparsity]
    mean, deviation = np.array(found.mean), np.nan_to_num(np.array(found.deviation))
    colour = COLOURS[number % len(COLOURS)]
    style = LINES[number // len(COLOURS) % len(LINES)]
    panel.plot(x, mean, color=colour, linestyle=style, marker="o", markersize=2.5, linewidth=1.3,
               label=one.label, clip_on=False)
    panel.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)


def _title(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    if "test_accuracy" not in metrics or len(groups) > 2:
        return ""
    if len(groups) == 1:
        return Findings(groups[0]).verdict
    return compare(groups[0], groups[1]).verdict
