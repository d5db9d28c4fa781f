"""The loss around the weights of a run's levels, as the metric `landscape` measured it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from sdd_core.analysis.phases import percent
from sdd_core.errors import SddError
from sdd_core.report.figure import STYLE, ShownFigure
from sdd_core.result import Result


def landscape_figure(result: Result, levels: Sequence[int] = ()) -> tuple[Figure, str]:
    """Loss over the place along the line, a line for each level, dark for the densest; and the
    numbers as CSV, in which an empty cell is no number.

    levels: which to draw; if none are given, up to six, evenly spread.

    Raises SddError: one of these levels has no line, or none at all has.
    """
    found = {one.level: one for one in result.levels
             if isinstance(one.metrics.get("landscape"), Mapping)}
    if not found:
        raise SddError(f"run {result.run} has no landscape; `sdd run "
                       f"{result.folder / 'experiment.toml'} --metric landscape` measures it")
    if missing := sorted({*levels} - found.keys()):
        raise SddError(f"run {result.run} has no landscape at level {missing[0]}; it has one at "
                       f"{', '.join(map(str, found))}")
    known, rows = list(found), ["level,sparsity,place,loss"]
    chosen = sorted({*levels} or {known[round(n * (len(known) - 1) / 5)] for n in range(6)})
    with mpl.rc_context(STYLE):
        figure = ShownFigure(figsize=(7.2, 3.8), layout="constrained")
        panel = figure.subplots()
        for number, level in enumerate(chosen):
            sparsity, line = found[level].sparsity, found[level].metrics["landscape"]
            panel.plot([float(at) for at in line],
                       [math.nan if loss is None else loss for loss in line.values()],
                       color=mpl.colormaps["viridis"](number / len(chosen)),
                       label=f"level {level}, {percent(sparsity)}")
            rows += [f"{level},{sparsity},{at},{'' if loss is None else loss}"
                     for at, loss in line.items()]
        panel.set_xlabel("place along a random direction, in norms of each filter")
        panel.set_ylabel("training loss")
        panel.legend(loc="best", fontsize=8)
    return figure, "\n".join([*rows, ""])
