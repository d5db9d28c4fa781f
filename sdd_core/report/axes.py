"""Draw the horizontal axis of curves, sparsity or a metric, and the phases along it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sdd_core.analysis.axis import Axis, falling, in_order, logarithmic
from sdd_core.analysis.groups import Group, place
from sdd_core.output.text import percent, short_number
from sdd_core.report.look import USUAL, WIDTH, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sdd_core.phases.phases import Phases

PHASE_COLOURS = {
    "light": "#dfe9f5",
    "critical": "#f8d7cf",
    "sweet": "#d9efd3",
    "collapsed": "#e6e6e6",
}

NAMES = "#555555"
"""The colour of the phases' names."""

DECADES = 4
"""The range up to which a logarithmic axis has ticks at 2 and 5 too, in powers of ten."""


def coordinates(axis: Axis, groups: Sequence[Group]) -> list[list[float]]:
    """Return where each level of each group is drawn; NaN if it has no place. Raises SddError if a
    run has no value for the axis."""
    if axis.is_sparsity:
        return [[place(value) for value in one.sparsity] for one in groups]
    curves = [axis.values(one) for one in groups]
    if not logarithmic(value for curve in curves for value in curve):
        return curves
    return [[value if value > 0 else math.nan for value in curve] for curve in curves]


def draw_axis(
    panel: Axes, axis: Axis, groups: Sequence[Group], x: Sequence[Sequence[float]], look: Look
) -> None:
    """Label the axis, with the dense network at the left. x: the groups' coordinates."""
    if axis.is_sparsity:
        deepest = max(groups, key=lambda one: one.sparsity[-1])
        sparsity_axis(panel, deepest.sparsity, look)
        return
    panel.set_xlabel(axis.label)
    known = [value for curve in x for value in curve if math.isfinite(value)]
    if logarithmic(known):
        panel.set_xscale("log")
        between = (1.0, 2.0, 5.0) if max(known) < 10**DECADES * min(known) else (1.0,)
        panel.xaxis.set_major_locator(LogLocator(subs=between))
        panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    if falling(x[0]):
        panel.xaxis.set_inverted(True)


def sparsity_axis(axes: Axes, sparsity: list[float], look: Look = USUAL) -> None:
    """Label the axis with measured sparsities, as many as fit."""
    chosen: list[float] = []
    width = max(place(sparsity[-1]) - place(sparsity[0]), 1e-9)
    room = look.characters(WIDTH) / 7  # characters of a number and the space after it
    for value in sparsity:
        if not chosen or place(value) - place(chosen[-1]) > width / room:
            chosen.append(value)
    axes.set_xticks(
        [place(value) for value in chosen],
        [percent(value).removesuffix(" %") if value else "0" for value in chosen],
    )
    axes.set_xlabel("sparsity, % (logarithmic in density)")


def shade(axes: Axes, phases: Phases, x: Sequence[float], *, named: Look | None = None) -> None:
    """Shade the phases, each up to half-way to the next level, if the levels are in order along the
    axis. Draw the axis before.

    named: look of the phases' names above the panel; None: no names. Names of narrow phases start
    at their left edge.
    """
    if not in_order(x):
        return
    to, back = (math.log, math.exp) if axes.get_xscale() == "log" else (float, float)
    edges = [x[0], *(back((to(a) + to(b)) / 2) for a, b in pairwise(x)), x[-1]]
    whole = to(edges[-1]) - to(edges[0])
    for name, (first, last) in phases.named().items():
        axes.axvspan(edges[first], edges[last + 1], color=PHASE_COLOURS[name], linewidth=0,
                     zorder=0)
        if named is not None:
            low, high = to(edges[first]), to(edges[last + 1])
            narrow = abs(high - low) < 0.1 * abs(whole)
            axes.text(back(low if narrow else (low + high) / 2), 1.01, name,
                      ha="left" if narrow else "center", va="bottom", color=NAMES,
                      fontsize=named.size(0.9), transform=axes.get_xaxis_transform())
    if whole:
        axes.set_xlim(edges[0], edges[-1])
