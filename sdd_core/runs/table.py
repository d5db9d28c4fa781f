"""Make tables of a run's levels: for terminals, notebooks and CSV."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sdd_core.level.naming import layer_of, listed
from sdd_core.level.result import LevelResult
from sdd_core.output.fitting import FittingTable
from sdd_core.output.text import csv_text, html_text, short_number
from sdd_core.plugin.run import ResultView

COLUMNS = {
    "test": "test_accuracy",
    "best test": "best_test_accuracy",
    "train": "train_accuracy",
    "clean": "train_accuracy_clean",
    "mislabelled": "train_accuracy_mislabelled",
    "distance": "learning_distance",
}
"""Metrics by their column titles."""

PRICES = {"kept MACs": "kept_macs", "packed bytes": "packed_bytes"}
"""Costs by their column titles on pages. Tables for terminals have no room for them."""

OPTIONAL = ("best test", "mislabelled", "clean", "train", "distance")
"""Columns that are left out if a table is too wide, in this order."""

NAMED = 2
"""Number of dead layers that are named in a line."""

STYLES = {"light": "", "critical": "red", "sweet": "green", "collapsed": "dim"}


def result_table(result: ResultView) -> FittingTable:
    """Return a table of the levels with their main metrics and phases."""
    shown = _shown(result)
    table = FittingTable("level", "sparsity %", *shown, "phase", optional=OPTIONAL,
                         caption=f"label noise: {result.noise}")
    for column in table.columns[:-1]:
        column.justify = "right"
    for level in result.levels:
        phase = phase_of(result, level.level)
        note = phase or ("diverged" if level.diverged else "")
        number, *cells = _cells(level, shown)
        if dead(level):
            number += "*"
        table.add_row(number, *cells, note, style=STYLES.get(phase, ""))
    if emptied := deaths(result.levels):
        table.caption = f"label noise: {result.noise}\n* dead: {emptied}"
    return table


def phase_table(result: ResultView) -> FittingTable:
    """Return a table of the four phases with their levels and test accuracies."""
    table = FittingTable("phase", "levels", "sparsity %", "test accuracy")
    spans, test = result.phases.named(), result.curve("test_accuracy")
    for name, style in STYLES.items():
        if name in spans:
            first, last = spans[name]
            cells = (f"{first} to {last}",
                     f"{100 * result.sparsity[first]:.2f} to {100 * result.sparsity[last]:.2f}",
                     f"{accuracy(test[first])} to {accuracy(test[last])}")
        else:
            cells = ("none", "", "")  # as on the page; deeper levels might still show it
        table.add_row(name, *cells, style=style)
    return table


def html_table(result: ResultView) -> str:
    """Return the verdict, the label noise and the levels as HTML, for notebooks."""
    return (f"<p>{html_text(result.phases.verdict)}</p>"
            f"<p>label noise: {html_text(result.noise)}</p>{levels_table(result)}")


def levels_table(result: ResultView) -> str:
    """Return the levels as an HTML table, with their costs if they were measured."""
    shown, prices = _shown(result), _shown(result, PRICES)
    emptied = any(map(dead, result.levels))
    titles = ("level", "sparsity %", *shown, *prices, "phase", *(["dead"] if emptied else []))
    head = "".join(f"<th>{title}</th>" for title in titles)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in cells) + "</tr>"
        for cells in (
            (*_cells(level, shown), *(_price(level, metric) for metric in prices.values()),
             phase_of(result, level.level), *([html_text(dead(level))] if emptied else []))
            for level in result.levels
        )
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def csv_table(result: ResultView) -> str:
    """Return all numbers of all levels as CSV, with a column per layer for per-layer metrics."""
    rows = [
        {
            "level": level.level,
            "sparsity": level.sparsity,
            "density": level.density,
            "phase": phase_of(result, level.level),
            "diverged": level.diverged,
            **flat(level.metrics),
        }
        for level in result.levels
    ]
    return csv_text(rows)


def phase_of(result: ResultView, level: int) -> str:
    """Return the name of a level's phase; '' if it has none."""
    spans = result.phases.named().items()
    return next((name for name, (first, last) in spans if first <= level <= last), "")


def dead(level: LevelResult) -> str:
    """Return what is dead at a level: the names of layers without weights, and the number of
    classes without inputs; '' if there are none, or they were not measured."""
    found = []
    if count := level.metrics.get("dead_layers"):
        layers = _emptied(level)
        more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
        found.append(", ".join(layers[:NAMED]) + more or _counted(count, "layer"))
    if classes := level.metrics.get("dead_classes"):
        found.append(_counted(classes, "class"))
    return ", ".join(found)


def deaths(levels: Iterable[LevelResult]) -> str:
    """Return the layers that have lost all their weights and the number of classes that have lost
    all inputs, each with the first level at which it is so; '' if there are none, or they were not
    measured."""
    first: dict[str, int] = {}
    classes: dict[int, int] = {}
    for level in levels:
        if count := level.metrics.get("dead_layers"):
            for name in _emptied(level) or [_counted(count, "layer")]:
                first.setdefault(name, level.level)
        if count := level.metrics.get("dead_classes"):
            classes[level.level] = count
    found = [f"{name} from level {level}" for name, level in first.items()]
    if classes:
        most = max(classes.values())
        several = "up to " * (most > min(classes.values()))
        found.append(f"{several}{_counted(most, 'class')} from level {min(classes)}")
    return listed(found)


def _emptied(level: LevelResult) -> list[str]:
    """Return the names of the layers without weights; of a layer that has several weights, such as
    a recurrent one, the names of those."""
    by_weight = level.metrics.get("sparsity_by_layer", {})
    layers = Counter(map(layer_of, by_weight))
    return [name if not layer_of(name) or layers[layer_of(name)] > 1 else layer_of(name)
            for name, value in by_weight.items() if value == 1]


def _counted(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count} {noun if count == 1 else plural}"


def flat(metrics: Any) -> dict[str, Any]:
    """Return metrics with per-layer values flattened: `sparsity_by_layer/fc.weight`."""
    spread: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            spread |= {f"{name}/{layer}": number for layer, number in value.items()}
        else:
            spread[name] = value
    return spread


def accuracy(value: float) -> str:
    """Return an accuracy as text for tables."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _shown(result: ResultView, columns: Mapping[str, str] = COLUMNS) -> dict[str, str]:
    return {
        title: metric
        for title, metric in columns.items()
        if any(level.metrics.get(metric) is not None for level in result.levels)
    }


def _cells(level: LevelResult, shown: dict[str, str]) -> list[str]:
    cells = [str(level.level), f"{100 * level.sparsity:.2f}"]
    for metric in shown.values():
        value = level.number(metric)
        cells.append("diverged" if level.diverged and math.isnan(value) else accuracy(value))
    return cells


def _price(level: LevelResult, metric: str) -> str:
    value = level.number(metric)
    return "-" if math.isnan(value) else short_number(value)
