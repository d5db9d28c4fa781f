"""Draw figures in the style of the paper's Figure 1."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from sdd_core.analysis.axis import Axis
from sdd_core.analysis.groups import group
from sdd_core.output.text import one_line
from sdd_core.report.axes import coordinates, draw_axis, shade
from sdd_core.report.look import STYLE, USUAL, WIDTH, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sdd_core.runs.result import Result

ABOVE_NAMES = 1.8
"""Space between a panel and its title for the names of the phases, in font sizes."""

TEST, TRAIN, DISTANCE, DENSE = "#c0392b", "#2c6fbb", "#6c3483", "#555555"


class ShownFigure(Figure):
    """A figure that notebooks show with any backend, and that is saved in sdd's style."""

    def savefig(self, *args: Any, **options: Any) -> None:
        with mpl.rc_context(STYLE):
            super().savefig(*args, **options)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        save_figure(self, buffer, "png")
        return buffer.getvalue()


@contextmanager
def drawing(look: Look, width: float, height: float) -> Iterator[ShownFigure]:
    """Yield a figure to draw in, and escape its texts at the end. width, height: in inches."""
    with mpl.rc_context(look.style):
        made = ShownFigure(figsize=(width, height), layout="constrained")
        yield made
        for text in made.findobj(Text):
            assert isinstance(text, Text)
            text.set_text(one_line(text.get_text()))


def save_figure(figure: Figure, file: IO[bytes], form: str) -> None:
    """Write a figure as 'png', 'svg' or 'pdf'. The same figure gives the same bytes."""
    dates: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(file, format=form, dpi=150, metadata=dates[form])


def result_figure(result: Result, look: Look = USUAL, axis: Axis | None = None) -> Figure:
    """Return a figure of test and training accuracy over sparsity, with shaded phases, and the
    learning distance below. axis: a metric instead of the sparsity. Raises SddError if the run has
    no value for it."""
    axis, groups = axis or Axis(), group([result])
    (x,) = coordinates(axis, groups)
    with drawing(look, *look.shape(WIDTH, 1.6)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        draw_axis(lower, axis, groups, [x], look)
        shade(upper, result.phases, x, named=look)
        shade(lower, result.phases, x)
        test = result.curve("test_accuracy")
        upper.plot(x, test, color=TEST, marker="o", markersize=3.5, label="test", clip_on=False)
        upper.plot(x, result.curve("train_accuracy"), color=TRAIN, marker="s", markersize=2,
                   linestyle=(0, (5, 1.5)), linewidth=1, label="training, as labelled",
                   clip_on=False)
        if not math.isnan(test[0]):
            upper.axhline(test[0], color=DENSE, linewidth=0.8, linestyle=":", label="dense test")
        upper.set_ylabel("accuracy")
        add_legend(figure, upper, look)
        upper.set_title(result.phases.verdict, wrap=True, pad=look.size(ABOVE_NAMES))
        lower.plot(x, result.curve("learning_distance"), color=DISTANCE, marker="o", markersize=3,
                   clip_on=False)
        lower.set_ylabel("learning distance")
    return figure


def add_legend(figure: Figure, panel: Axes, look: Look) -> None:
    """Add the legend of a panel's lines, at the place given by the look."""
    handles, labels = panel.get_legend_handles_labels()
    if look.legend == "right":
        figure.legend(handles, labels, loc="outside right upper")
    elif look.legend == "below":
        columns = max(1, min(len(labels), 3))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    elif look.legend != "none":
        corner: Any = look.legend.replace("-", " ")
        panel.legend(loc=corner)
