"""The sensitivity of a network's layers, as a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdd_core.level.naming import layer_of
from sdd_core.output.text import csv_text, html_text, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOGETHER = "all layers"
"""Name of the row of all layers pruned together."""


@dataclass(frozen=True)
class Cell:
    """The measurements of a network of which one layer was pruned.

    layer: the layer's weight, or `TOGETHER`. sparsity: the one asked for. pruned: the fraction of
    the layer's weights that are pruned, with those pruned before. test_loss: mean cross-entropy;
    None if it is not finite. test_accuracy: 0 to 1.
    """

    layer: str
    sparsity: float
    pruned: float
    test_loss: float | None
    test_accuracy: float


@dataclass(frozen=True)
class Sensitivity:
    """The accuracy of a network of which each layer is pruned alone, without training.

    network: the model and the data, in words. pruner: the pruner's name.
    sizes: the number of weights of each layer, by the name of the weight, in the network's order.
    sparsities: those asked for.
    unpruned: the network as it is.
    cells: one for each layer and sparsity, and for all layers pruned together (`TOGETHER`).
    """

    network: str
    pruner: str
    sizes: Mapping[str, int]
    sparsities: tuple[float, ...]
    unpruned: Cell
    cells: Mapping[tuple[str, float], Cell]

    def __repr__(self) -> str:
        return (f"<Sensitivity of {self.network}: {len(self.sizes)} layers at "
                f"{len(self.sparsities)} sparsities by {self.pruner}; test accuracy "
                f"{self.unpruned.test_accuracy:.3f} unpruned>")

    @property
    def layers(self) -> list[str]:
        """The names of the layers' weights."""
        return list(self.sizes)

    @cached_property
    def test_accuracy(self) -> np.ndarray:
        """Test accuracies, float64 `[layers, sparsities]`."""
        return np.array([self.row(layer) for layer in self.layers])

    @cached_property
    def test_loss(self) -> np.ndarray:
        """Test losses, float64 `[layers, sparsities]`; NaN where one is not finite."""
        return np.array([[self._loss(layer, at) for at in self.sparsities] for layer in self.sizes])

    @property
    def together(self) -> list[float]:
        """Test accuracy of all layers pruned together, at each sparsity: a one-shot curve."""
        return self.row(TOGETHER)

    def row(self, layer: str) -> list[float]:
        """Return the test accuracy of a layer at each sparsity."""
        return [self.cells[layer, at].test_accuracy for at in self.sparsities]

    def _loss(self, layer: str, sparsity: float) -> float:
        loss = self.cells[layer, sparsity].test_loss
        return math.nan if loss is None else loss

    @property
    def verdict(self) -> str:
        """The layers that lose most and least accuracy, in one line."""
        if not self.sizes:
            return "no layer can be pruned"
        drops = self.unpruned.test_accuracy - self.test_accuracy
        mean = drops.mean(axis=1)
        most, least = int(mean.argmax()), int(mean.argmin())
        worst = int(drops[most].argmax())
        lost = 100 * drops[most][worst]
        if lost <= 0:
            return "no layer loses test accuracy at these sparsities"
        found = (f"most sensitive: {self.layers[most]}, which loses {lost:.1f} points of test "
                 f"accuracy at {percent(self.sparsities[worst])}")
        return found if most == least else f"{found}; least sensitive: {self.layers[least]}"

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each cell: the network as it is, all layers together, each layer."""
        return [{"weights": self.sizes.get(cell.layer, sum(self.sizes.values())), **asdict(cell)}
                for cell in (self.unpruned, *self.cells.values())]

    def to_csv(self) -> str:
        """Return the rows as CSV."""
        return csv_text(self.rows(), ("layer", "weights", "sparsity", "pruned", "test_accuracy",
                                      "test_loss"))

    def to_json(self) -> dict[str, Any]:
        """Return the document that `sdd sensitivity --json` prints."""
        return {"network": self.network, "pruner": self.pruner,
                "sparsities": list(self.sparsities), "verdict": self.verdict, "cells": self.rows()}

    def plot(self, output: Path | str | None = None, **look: Any) -> Figure:
        """Return a heat map of test accuracy, layers by sparsities.

        output: file to write, .png, .svg or .pdf; the numbers go to a .csv beside it.
        look: `width` in inches and `font_size` in points.

        Raises SddError for another file ending or a full disk.
        """
        # matplotlib is slow to import
        from sdd_core.layerwise.heat_map import heat_map  # noqa: PLC0415
        from sdd_core.report.look import Look  # noqa: PLC0415
        from sdd_core.report.plot import write_beside  # noqa: PLC0415

        names = [TOGETHER, *self.layers]
        figure = heat_map(np.array([self.row(name) for name in names]), names, self.sparsities,
                          self.unpruned.test_accuracy, self.pruner, Look(**look))
        if output is not None:
            write_beside(figure, self.to_csv(), Path(output))
        return figure

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{title}</th>" for title in self.titles)
        rows = "".join("<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in cells) + "</tr>"
                       for cells in self.table())
        return (f"<p>{html_text(self.verdict)}</p>"
                f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of the columns of `table`."""
        return ("layer", "weights", *(f"{100 * at:.6g} %" for at in self.sparsities))

    def table(self) -> list[tuple[str, ...]]:
        """Return the rows of a table as texts: layer, number of weights, test accuracies."""
        short = {name: layer_of(name) for name in self.sizes}
        if "" in short.values() or len(set(short.values())) < len(short):
            short = {}  # a layer has several weights
        named = {TOGETHER: sum(self.sizes.values()), **self.sizes}
        return [(short.get(layer, layer), f"{size:,}",
                 *(f"{value:.3f}" for value in self.row(layer))) for layer, size in named.items()]
