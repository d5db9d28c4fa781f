"""Write a run as one offline HTML page: interactive curves, layers, training, settings.

The layout is in `page.html`; this module fills it in.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from sdd_core.analysis.axis import Axis, in_order
from sdd_core.analysis.findings import Findings
from sdd_core.analysis.groups import group
from sdd_core.analysis.recommendation import by_learning_distance, recommend, why_none
from sdd_core.output.text import html_text, percent, short_number, visible
from sdd_core.runs.result import Result
from sdd_core.runs.table import accuracy, levels_table

ACCURACIES = {
    "test": "test_accuracy",
    "training, as labelled": "train_accuracy",
    "training, rightly labelled": "train_accuracy_clean",
    "training, wrongly labelled": "train_accuracy_mislabelled",
    "test, best epoch": "best_test_accuracy",
}
"""Curves of the first chart; the first two are shown when the page opens."""

CURVES = ("test_accuracy", "test_loss", "learning_rate")


def report_page(result: Result, axis: Axis | None = None) -> str:
    """Return the page as text. The same result gives the same text.

    axis: what the curves are drawn over, by default the sparsity. Raises SddError if the run has no
    value for it.
    """
    axis = axis or Axis()
    parts = {
        "TITLE": html_text(result.run),
        "VERDICT": html_text(result.phases.verdict),
        "FACTS": _facts(result, axis),
        "OVER": html_text(_over(axis)),
        "PHASES": _phases(result),
        "LEVELS": levels_table(result),
        "SETTINGS": html.escape(result.experiment.to_toml()),
        # The data must not end the script element that contains it.
        "DATA": json.dumps(_data(result, axis), allow_nan=False).replace("<", "\\u003c"),
    }
    page = files("sdd_core.report").joinpath("page.html").read_text(encoding="utf-8")
    # In one pass, so that inserted text is never taken for a placeholder.
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], page)


def _data(result: Result, axis: Axis) -> dict[str, Any]:
    """Return the data of the page's curves."""
    levels, phases = result.levels, result.phases
    names = dict.fromkeys(name for level in levels for name in level.metrics)
    metrics = {visible(name): [_number(level.number(name)) for level in levels]
               for name in names}
    metrics = {name: values for name, values in metrics.items()
               if any(value is not None for value in values)}
    layers: dict[str, list[float | None]] = {}
    for position, level in enumerate(levels):
        by_layer = level.metrics.get("sparsity_by_layer")
        for layer, value in (by_layer.items() if isinstance(by_layer, Mapping) else ()):
            layers.setdefault(visible(layer), [None] * len(levels))[position] = _number(value)
    run = group([result])[0]
    places = axis.places(run)
    if axis.is_sparsity:
        labels = [percent(level.sparsity).removesuffix(" %") for level in levels]
    else:
        labels = [short_number(value) for value in axis.values(run)]
    last = len(levels) - 1
    turns = (0, phases.valley, phases.peak, last) if phases.double_descent else (0, last // 2, last)
    return {
        "levels": [level.level for level in levels],
        "x": [_number(at) for at in places],
        "ticks": labels,
        "percent": [percent(level.sparsity).removesuffix(" %") for level in levels],
        "diverged": [level.diverged for level in levels],
        "phases": list(phases.named().items()) if in_order(places) else [],
        "accuracies": [(title, name) for title, name in ACCURACIES.items() if name in metrics],
        "metrics": metrics,
        "layers": layers,
        "chosen": sorted({turn for turn in turns if turn is not None}),
        "epochs": [
            {"number": [epoch["number"] for epoch in level.epochs],
             **{curve: [_number(epoch[curve]) for epoch in level.epochs] for curve in CURVES}}
            for level in levels
        ],
    }


def _over(axis: Axis) -> str:
    """Return what the curves are drawn over, in words."""
    if axis.is_sparsity:
        return ("Over sparsity in %, each level a point; equal steps are equal fractions of the "
                "remaining weights.")
    return f"Over {axis.label}, each level a point, the dense network at the left."


def _facts(result: Result, axis: Axis) -> str:
    """Return the key numbers as HTML."""
    run = group([result])[0]
    found = Findings(run)
    name, _, changed = result.noise.partition(", ")
    facts = [("label noise", name, changed),
             ("dense test accuracy", accuracy(result.levels[0].number("test_accuracy")), "")]
    for name, turn in (("valley", found.valley), ("peak", found.peak)):
        if turn:
            at, height = turn
            facts.append((name, accuracy(height.value), f"at {percent(at.value)} sparsity"))
    if threshold := found.interpolation_threshold:
        facts.append(("interpolation threshold", percent(threshold.value),
                      "training accuracy first drops below 99 % of its highest"))
    if advice := recommend(run, axis.name):
        facts.append(("recommended", percent(advice.sparsity), advice.reason))
    else:
        facts.append(("recommended", "none", why_none(run)))
    if alone := by_learning_distance(run, axis.name):
        facts.append(("by learning distance alone", percent(alone.sparsity), alone.reason))
    return "".join(
        f"<div><dt>{html_text(name)}</dt><dd>{html_text(value)}<small>{html_text(note)}</small></dd></div>"
        for name, value, note in facts
    )


def _phases(result: Result) -> str:
    """Return the table of the four phases as HTML; '' if there are none."""
    spans, test = result.phases.named(), result.curve("test_accuracy")
    if not spans:
        return ""
    rows = ""
    for name in ("light", "critical", "sweet", "collapsed"):
        cells = ["none", "", ""]
        if name in spans:
            first, last = spans[name]
            cells = [f"{first} to {last}",
                     f"{percent(result.sparsity[first])} to {percent(result.sparsity[last])}",
                     f"{accuracy(test[first])} to {accuracy(test[last])}"]
        mark = f'<span class="key" style="background:var(--{name})"></span>'
        rows += f"<tr><td>{mark}{name}</td>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"
    head = "".join(f"<th>{title}</th>" for title in ("phase", "levels", "sparsity",
                                                    "test accuracy"))
    table = f'<table class="phases"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<section><h2>Phases</h2><div class="wide">{table}</div></section>'


def _number(value: Any) -> float | None:
    """Return a finite number rounded to six digits, or None."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")
