"""Draw numbers of layers at sparsities as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from sdd_core.output.text import percent
from sdd_core.report.figure import USUAL, drawing
from sdd_core.report.look import Look

NUMBERED = 300
"""The largest number of cells in which the accuracy is written."""


def heat_map(
    values: np.ndarray,
    names: Sequence[str],
    sparsities: Sequence[float],
    unpruned: float,
    pruner: str,
    look: Look = USUAL,
) -> Figure:
    """Return a figure of test accuracies, bright where they are high.

    values: `[rows, sparsities]`; the first row is that of all layers together. names: of the rows.
    unpruned: the accuracy of the network as it is. pruner: the pruner's name.
    """
    lowest, highest = float(values.min()), max(unpruned, float(values.max()))
    width = look.width or 2.8 + 0.62 * len(sparsities)
    with drawing(look, width, 0.9 + 0.24 * len(names)) as figure:
        panel = figure.subplots()
        panel.imshow(values, aspect="auto", cmap=mpl.colormaps["viridis"], vmin=lowest,
                     vmax=highest)
        panel.set_xticks(range(len(sparsities)),
                         [percent(at).removesuffix(" %") for at in sparsities])
        panel.set_yticks(range(len(names)), names)
        panel.spines[:].set_visible(False)
        panel.axhline(0.5, color="white", linewidth=2)
        panel.set_xlabel(f"sparsity, % (by {pruner}, not retrained)")
        panel.set_title(f"test accuracy, {unpruned:.3f} unpruned", wrap=True)
        if values.size <= NUMBERED:
            middle = (lowest + highest) / 2
            for row, column in np.ndindex(values.shape):
                value = values[row, column]
                panel.text(column, row, f"{value:.2f}", ha="center", va="center",
                           fontsize=look.size(0.8), color="black" if value > middle else "white")
    return figure
