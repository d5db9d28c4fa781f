"""Draw runs in one figure: means and deviations over seeds, with the numbers in a CSV file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from sdd_core.analysis.axis import Axis, check_metric, in_words
from sdd_core.analysis.comparison import compare
from sdd_core.analysis.findings import Findings
from sdd_core.analysis.groups import Group, group
from sdd_core.errors import SddError
from sdd_core.files.atomic import write_atomic
from sdd_core.output.text import csv_text
from sdd_core.report.axes import coordinates, draw_axis, shade
from sdd_core.report.figure import ABOVE_NAMES, add_legend, drawing, save_figure
from sdd_core.report.look import USUAL, WIDTH, Legend, Look, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sdd_core.runs.result import Result

FORMS = ("png", "svg", "pdf")


def plot(
    results: Iterable[Result] | Result,
    metrics: Sequence[str] = ("test_accuracy",),
    output: Path | str | None = None,
    *,
    x: str = "sparsity",
    width: float | None = None,
    font_size: float = 10.0,
    legend: Legend = "best",
    labels: Sequence[str] = (),
    title: str | None = None,
) -> Figure:
    """Return a figure of metrics over sparsity, one panel per metric. Runs that differ only in
    their seed form one line, their mean, with a band of one standard deviation.

    x: what to draw over: 'sparsity', 'macs', 'parameters', 'bytes' (what is kept of them), or
        another metric; the axis is logarithmic if its values differ much.
    output: file to write, .png, .svg or .pdf; the numbers go to a .csv beside it. The same results
        give the same bytes.
    width: in inches; the height is in proportion. font_size: in points.
    legend: 'best', a corner such as 'upper-left', 'right' or 'below' the panel, or 'none'.
    labels: names of the lines, in their order.
    title: title of the figure; '' for none. Default: the findings of the runs.

    Raises SddError for an unknown metric, a run without the metric of the axis, another file
    ending, no result, a full disk or an impossible look.
    """
    from sdd_core.runs.result import Result  # noqa: PLC0415 (for the type alone)

    look = Look(width, font_size, legend)
    groups = renamed(group([results] if isinstance(results, Result) else results), labels)
    figure = groups_figure(groups, metrics, title, look, Axis(x))
    if output is not None:
        write_figure(figure, groups, metrics, Path(output), Axis(x))
    return figure


def write_figure(
    figure: Figure, groups: Sequence[Group], metrics: Sequence[str], output: Path,
    axis: Axis | None = None,
) -> list[Path]:
    """Write a figure, and its groups' numbers beside it; return both paths. Raises SddError.

    axis: the figure's axis; the default is the sparsity.
    """
    columns = metrics if axis is None or axis.is_sparsity else (axis.metric, *metrics)
    return write_beside(figure, groups_csv(groups, dict.fromkeys(columns)), output)


def write_beside(figure: Figure, numbers: str, output: Path) -> list[Path]:
    """Write a figure, and its numbers to a .csv beside it; return both paths. Raises SddError."""
    form = check_form(output)
    buffer = io.BytesIO()
    save_figure(figure, buffer, form)
    write_atomic(output, buffer.getvalue())
    beside = output.with_suffix(".csv")
    write_atomic(beside, numbers)
    return [output, beside]


def check_form(output: Path) -> str:
    """Return the ending of a figure's name. Raises SddError for an unsupported one."""
    form = output.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise SddError(f"cannot write a figure to {output}; expected a name that ends in "
                       ".png, .svg or .pdf")
    return form


def renamed(groups: Sequence[Group], labels: Sequence[str]) -> list[Group]:
    """Return the groups with other labels, or unchanged if there are none. Raises SddError if their
    numbers differ."""
    if not labels:
        return list(groups)
    if len(labels) != len(groups):
        names = "; ".join(one.label for one in groups)
        raise SddError(f"labels: {len(labels)} for {len(groups)} line(s); give one for each, in "
                       f"this order: {names}")
    return [replace(one, label=label) for one, label in zip(groups, labels, strict=True)]


def groups_figure(
    groups: Sequence[Group],
    metrics: Sequence[str],
    title: str | None = None,
    look: Look = USUAL,
    axis: Axis | None = None,
) -> Figure:
    """Return the figure of `plot`. The default title is the finding of one group, or the comparison
    of two. With one group, its phases are shaded. Raises SddError without groups.

    axis: the horizontal axis, by default the sparsity.
    """
    if not groups:
        raise SddError("there is no run to plot; `sdd runs` lists the runs in the store")
    for metric in metrics:
        check_metric(groups, metric)
    axis = axis or Axis()
    x = coordinates(axis, groups)
    with drawing(look, *look.shape(WIDTH, len(metrics))) as figure:
        panels = list(figure.subplots(len(metrics), 1, sharex=True, squeeze=False).flat)
        for panel, metric in zip(panels, metrics, strict=True):
            for number, one in enumerate(groups):
                _line(panel, one, metric, number, x[number])
            panel.set_ylabel(in_words(metric))
        draw_axis(panels[-1], axis, groups, x, look)
        if len(groups) == 1:
            for panel in panels:
                shade(panel, groups[0].phases, x[0], named=look if panel is panels[0] else None)
        else:
            add_legend(figure, panels[0], look)
        panels[0].set_title(_title(groups, metrics) if title is None else title, wrap=True,
                            pad=look.size(ABOVE_NAMES) if len(groups) == 1 else None)
    return figure


def groups_csv(groups: Sequence[Group], metrics: Iterable[str]) -> str:
    """Return CSV with a row for each level of each group: mean, standard deviation and number of
    values of each metric, with empty cells for missing numbers."""
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


def _line(panel: Axes, one: Group, metric: str, number: int, x: Sequence[float]) -> None:
    found = one.statistics(metric)
    mean, deviation = np.array(found.mean), np.nan_to_num(np.array(found.deviation))
    style = line_style(number)
    panel.plot(x, mean, **style, markersize=3, linewidth=1.3, label=one.label, clip_on=False)
    panel.fill_between(x, mean - deviation, mean + deviation, color=style["color"], alpha=0.2,
                       linewidth=0)


def _title(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    if "test_accuracy" not in metrics or len(groups) > 2:
        return ""
    if len(groups) == 1:
        return Findings(groups[0]).verdict
    return compare(groups[0], groups[1]).verdict
