"""Draw the loss around the weights of a run's levels, measured by the metric `landscape`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from sdd_core.errors import SddError
from sdd_core.level.result import LevelResult
from sdd_core.output.text import csv_text, percent
from sdd_core.report.figure import add_legend, drawing
from sdd_core.report.look import USUAL, WIDTH, Look, line_style
from sdd_core.runs.result import Result

LOWEST = 1e-3
"""Smaller training losses are drawn like this one."""


def landscape_figure(
    result: Result, levels: Sequence[int] = (), look: Look = USUAL
) -> tuple[Figure, str]:
    """Return a figure of the loss along a line in weight space, one curve per level, dark for the
    densest, and its numbers as CSV, with empty cells for missing numbers.

    levels: levels to draw. Default: up to six, evenly spread.

    Raises SddError when one of these levels, or the whole run, has no such measurement.
    """
    chosen = _chosen(result, "landscape", levels, f"`sdd run {result.folder / 'experiment.toml'} "
                     "--metric landscape` measures it")
    rows: list[dict[str, Any]] = []
    with drawing(look, *look.shape(WIDTH, 1)) as figure:
        panel = figure.subplots()
        for number, level in enumerate(chosen):
            line = level.metrics["landscape"]
            panel.plot([float(at) for at in line],
                       [math.nan if loss is None else loss for loss in line.values()],
                       color=mpl.colormaps["viridis"](number / len(chosen)), label=_name(level),
                       linestyle=line_style(number)["linestyle"])
            rows += _rows(level, line)
        panel.set_xlabel("place along a random direction, in norms of each filter")
        panel.set_ylabel("training loss")
        add_legend(figure, panel, look)
    return figure, csv_text(rows, ("level", "sparsity", "place", "loss"))


def plane_figure(
    result: Result, levels: Sequence[int] = (), look: Look = USUAL
) -> tuple[Figure, str]:
    """Return a figure of the loss over a plane as contours, one panel per level with common
    colours, and its numbers as CSV. Otherwise as `landscape_figure`."""
    chosen = _chosen(result, "landscape_2d", levels, "the metric landscape measures it where an "
                     'experiment file has metrics = [{ name = "landscape", dimensions = 2 }]')
    rows: list[dict[str, Any]] = []
    grids = [_grid(level.metrics["landscape_2d"]) for level in chosen]
    losses = np.concatenate([grid[2].ravel() for grid in grids])
    known = np.maximum(losses[np.isfinite(losses)], LOWEST)
    low, high = (known.min(), known.max()) if known.size else (LOWEST, LOWEST)
    high = max(high, 1.01 * low)  # for a flat plane
    norm, bounds = LogNorm(low, high), np.geomspace(low, high, 16)
    columns = min(3, len(chosen))
    shape = math.ceil(len(chosen) / columns), columns
    width = look.width or 2.7 * shape[1] + 0.9
    side = max(width - 0.9, 0.9) / shape[1]
    with drawing(look, width, side * shape[0] + 0.3) as figure:
        panels = list(figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).flat)
        for panel in panels[len(chosen):]:
            panel.remove()
        panels = panels[:len(chosen)]
        for panel, level, (x, y, z) in zip(panels, chosen, grids, strict=True):
            panel.contourf(x, y, np.ma.masked_invalid(np.maximum(z, LOWEST)), bounds, norm=norm)
            panel.plot(0, 0, "+", color="white")
            panel.set_title(_name(level), fontsize=look.size(0.9))
            panel.set_aspect("equal")
            rows += _rows(level, level.metrics["landscape_2d"])
        bar = figure.colorbar(ScalarMappable(norm), ax=panels, label="training loss")
        # As plain text, 0.5; matplotlib's default writes powers of ten as formulas.
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        figure.supxlabel("place along two random directions, in norms of each filter",
                         fontsize=look.size(1.0))
    return figure, csv_text(rows, ("level", "sparsity", "place", "place_2", "loss"))


def _chosen(result: Result, metric: str, levels: Sequence[int], how: str) -> list[LevelResult]:
    """Return the levels to draw. Raises SddError if they lack the metric, with the way to measure
    it."""
    found = {one.level: one for one in result.levels
             if isinstance(one.metrics.get(metric), Mapping)}
    if not found:
        raise SddError(f"run {result.run} has no {metric}; {how}")
    if missing := sorted({*levels} - found.keys()):
        raise SddError(f"run {result.run} has no {metric} at level {missing[0]}; it has one at "
                       f"{', '.join(map(str, found))}")
    known = list(found)
    some = {*levels} or {known[round(n * (len(known) - 1) / 5)] for n in range(6)}
    return [found[level] for level in sorted(some)]


def _grid(losses: Mapping[str, float | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places along each direction, and the losses `[second, first]`, NaN if missing."""
    at = {tuple(map(float, place.split(","))): loss for place, loss in losses.items()}
    x, y = (np.array(sorted({place[axis] for place in at})) for axis in (0, 1))
    values = [[at[one, other] for one in x] for other in y]
    return x, y, np.array(values, dtype=float)


def _name(level: LevelResult) -> str:
    return f"level {level.level}, {percent(level.sparsity)}"


def _rows(level: LevelResult, losses: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """Return rows of CSV; a place in a plane, such as `0.50,-1.00`, has two cells."""
    return [{"level": level.level, "sparsity": level.sparsity, "loss": loss,
             **dict(zip(("place", "place_2"), at.split(","), strict=False))}
            for at, loss in losses.items()]
