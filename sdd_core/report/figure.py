"""Figures in the style of the paper's Figure 1."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from sdd_core.analysis.groups import place
from sdd_core.analysis.phases import percent
from sdd_core.text import one_line

if TYPE_CHECKING:
    from sdd_core.analysis.phases import Phases
    from sdd_core.result import Result

PHASE_COLOURS = {
    "light": "#dfe9f5",
    "critical": "#f8d7cf",
    "sweet": "#d9efd3",
    "collapsed": "#e6e6e6",
}
ABOVE_NAMES = 18.0
"""Points between a panel and its title where the phases' names stand between them."""

TEST, TRAIN, DISTANCE, DENSE = "#c0392b", "#2c6fbb", "#6c3483", "#555555"

# No timestamps and no random identifiers: the same numbers give the same file.
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "sdd",
    "svg.fonttype": "none",
    # Names are shown as what they are: a dollar sign begins no formula.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "font.size": 10,
}


class ShownFigure(Figure):
    """A figure that a notebook shows, whatever its backend."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        save_figure(self, buffer, "png")
        return buffer.getvalue()


@contextmanager
def drawing(**figure: Any) -> Iterator[ShownFigure]:
    """A figure to draw in, whose every text is shown as what it is.

    figure: its options, as matplotlib's Figure takes them.
    """
    with mpl.rc_context(STYLE):
        made = ShownFigure(**figure, layout="constrained")
        yield made
        for text in made.findobj(Text):
            assert isinstance(text, Text)
            text.set_text(one_line(text.get_text()))


def save_figure(figure: Figure, file: IO[bytes], form: str) -> None:
    """Write a figure as 'png', 'svg' or 'pdf', the same bytes for the same figure."""
    dates: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context(STYLE):
        figure.savefig(file, format=form, dpi=150, metadata=dates[form])


def result_figure(result: Result) -> Figure:
    """Test and training accuracy over sparsity with the phases shaded; below it the learning
    distance."""
    with drawing(figsize=(7.2, 5.6)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        x = [place(value) for value in result.sparsity]
        shade(upper, result.phases, x, named=True)
        shade(lower, result.phases, x, named=False)
        test = result.curve("test_accuracy")
        upper.plot(x, test, color=TEST, marker="o", markersize=3.5, label="test", clip_on=False)
        upper.plot(x, result.curve("train_accuracy"), color=TRAIN, marker="o", markersize=2,
                   linewidth=1, label="training, as labelled", clip_on=False)
        if not math.isnan(test[0]):
            upper.axhline(test[0], color=DENSE, linewidth=0.8, linestyle=":", label="dense test")
        upper.set_ylabel("accuracy")
        upper.legend(loc="best", fontsize=9)
        upper.set_title(result.phases.verdict, wrap=True, pad=ABOVE_NAMES)
        lower.plot(x, result.curve("learning_distance"), color=DISTANCE, marker="o", markersize=3,
                   clip_on=False)
        lower.set_ylabel("learning distance")
        sparsity_axis(lower, result.sparsity)
    return figure


def sparsity_axis(axes: Axes, sparsity: list[float]) -> None:
    """Label the axis with sparsities that were measured."""
    chosen: list[float] = []
    width = max(place(sparsity[-1]) - place(sparsity[0]), 1e-9)
    for value in sparsity:
        if not chosen or place(value) - place(chosen[-1]) > width / 12:
            chosen.append(value)
    axes.set_xticks(
        [place(value) for value in chosen],
        [percent(value).removesuffix(" %") if value else "0" for value in chosen],
    )
    axes.set_xlabel("sparsity, % (logarithmic in density)")


def shade(axes: Axes, phases: Phases, x: list[float], *, named: bool) -> None:
    """Shade the phases, each up to half-way to the next level; `named` above them, where no curve
    runs, from its left edge on where one is narrow."""
    edges = [x[0], *((a + b) / 2 for a, b in pairwise(x)), x[-1]]
    for name, (first, last) in phases.named().items():
        axes.axvspan(edges[first], edges[last + 1], color=PHASE_COLOURS[name], linewidth=0,
                     zorder=0)
        if named:
            narrow = edges[last + 1] - edges[first] < 0.1 * (edges[-1] - edges[0])
            middle = (edges[first] + edges[last + 1]) / 2
            axes.text(edges[first] if narrow else middle, 1.01, name,
                      ha="left" if narrow else "center", va="bottom", fontsize=9, color=DENSE,
                      transform=axes.get_xaxis_transform())
    if edges[-1] > edges[0]:
        axes.set_xlim(edges[0], edges[-1])
