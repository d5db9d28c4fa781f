"""Run a recipe and write its results: figures, numbers, a page."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from sdd_core.analysis.comparison import compare
from sdd_core.analysis.findings import Findings
from sdd_core.analysis.groups import Group, group
from sdd_core.analysis.prediction import check_learning_distance, rank_correlation
from sdd_core.errors import SddError
from sdd_core.experiment.keys import run_name
from sdd_core.files.atomic import write_atomic
from sdd_core.output.text import markdown_text, one_line, percent
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.kinds import Executor
from sdd_core.report.curves import (
    Curve,
    curves_csv,
    curves_figure,
    curves_table,
    read_curves,
    telling_levels,
)
from sdd_core.report.plot import groups_figure, write_beside, write_figure
from sdd_core.reproduce.recipes import Figure, Recipe
from sdd_core.runs.result import Result
from sdd_core.sweeps import execute_plan, expand
from sdd_core.sweeps.plan import Plan
from sdd_core.sweeps.progress import duration
from sdd_core.sweeps.scheduler import Progress
from sdd_core.sweeps.settings import distinct
from sdd_core.sweeps.work import RunOptions


@dataclass(frozen=True)
class Prepared:
    """The plan of a recipe at a scale.

    on: text in the titles of the chosen data and models; empty: all of them.
    figures: the figures with the names of their runs.
    """

    recipe: Recipe
    scale: str
    on: str
    figures: tuple[tuple[Figure, tuple[str, ...]], ...]
    plan: Plan


@dataclass(frozen=True)
class Shown:
    """A figure of a recipe with its runs."""

    figure: Figure
    groups: tuple[Group, ...]

    @property
    def results(self) -> list[Result]:
        """The results of all its runs."""
        return [result for one in self.groups for result in one.results]

    def curves(self, metrics: Sequence[str]) -> list[Curve]:
        """Return the curves of its groups, at the key levels of the first group's phases."""
        levels = telling_levels(self.groups[0])
        return [curve for one in metrics for curve in read_curves(self.groups, one, levels)]


@dataclass(frozen=True)
class Reproduction:
    """The results of a recipe at a scale.

    left_out: figures with failed runs. failures: the reasons by run name.
    levels, trained: numbers of all levels, and of those trained now, in `seconds` on `machine`; the
    others were in the store.
    """

    of: Prepared
    shown: tuple[Shown, ...]
    left_out: tuple[Figure, ...]
    failures: Mapping[str, str]
    levels: int
    trained: int
    seconds: float
    machine: str

    @property
    def what_failed(self) -> str:
        """The figures that were left out and the first reason, in one line."""
        name, reason = next(iter(self.failures.items()))
        titles = ", ".join(dict.fromkeys(figure.base for figure in self.left_out))
        return (f"{len(self.failures)} of {len(self.of.plan.names)} runs failed, of "
                f"{titles}; {name}: {reason}")

    def write(self, folder: Path) -> list[Path]:
        """Write the page `<recipe>-<scale>.md`, each figure as SVG with its numbers as CSV, and the
        effort as JSON; if only some data and models were chosen, the names contain that choice.

        Return their paths, the page first. Raises SddError for an unwritable folder.
        """
        recipe = self.of.recipe
        stem = "-".join([recipe.name, self.of.scale, *re.findall(r"[a-z0-9]+", self.of.on.lower())])
        page = folder / f"{stem}.md"
        files = [page]
        images = []
        figures = [figure for figure, _ in self.of.figures]
        for one in self.shown:
            number = figures.index(one.figure) + 1
            name = stem if len(figures) == 1 else f"{stem}-{number}"
            image = folder / f"{name}.svg"
            figure = groups_figure(one.groups, recipe.metrics, title="")
            files += write_figure(figure, one.groups, recipe.metrics, image)
            images.append(image.name)
            if curves := one.curves(recipe.curves):
                beside = image.with_stem(f"{name}-curves")
                files += write_beside(curves_figure(curves), curves_csv(curves), beside)
        write_atomic(page, _page(self.remembered(folder / f"{stem}.json"), images))
        return files

    def remembered(self, file: Path) -> Reproduction:
        """Return a copy with the larger effort, of this one and the one recorded in `file`, and
        record it there. The page thus states the effort of training, not of reading the store."""
        now = {name: getattr(self, name) for name in ("levels", "trained", "seconds", "machine")}
        try:
            before = json.loads(file.read_text())
            took, takes = ((one["trained"], one["seconds"]) for one in (before, now))
            if before["levels"] == self.levels and took > takes:
                now = {name: before[name] for name in now}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # it is missing, or damaged, which is no loss
        write_atomic(file, json.dumps(now) + "\n")
        return replace(self, **now)


def prepare(recipe: Recipe, scale: str, plugins: Plugins, on: str = "") -> Prepared:
    """Plan the runs of a recipe at a scale, on the data and models with `on` in their title.

    Raises SddError for an impossible setting, or if no title contains `on`.
    """
    chosen = [one for one in recipe.figures[scale] if on.lower() in one.base.lower()]
    if not chosen:
        titles = ", ".join(dict.fromkeys(repr(one.base) for one in recipe.figures[scale]))
        raise SddError(f"--on {on!r}: no title of recipe {recipe.name} at scale {scale} contains "
                       f"it; there are {titles}")
    experiments = [expand(figure.settings, plugins) for figure in chosen]
    names = [tuple(map(run_name, some)) for some in experiments]
    plan = Plan.of(distinct(chain.from_iterable(experiments)))
    return Prepared(recipe, scale, on, tuple(zip(chosen, names, strict=True)), plan)


def reproduce(
    prepared: Prepared, *, executor: Executor, where: RunOptions, progress: Progress
) -> Reproduction:
    """Execute a recipe's runs, or read them from the store.

    Figures with failed runs are left out. Raises SddError with the first failed run if no figure is
    left; the other runs are kept.
    """
    plan, began = prepared.plan, time.monotonic()
    before = len(plan.there(where.store))
    failures, results = execute_plan(plan, executor, where, progress)
    seconds = time.monotonic() - began
    levels = len(plan.there(where.store))
    by_name = {result.run: result for result in results}
    shown, left_out = [], []
    for figure, names in prepared.figures:
        if failures.keys() & set(names):
            left_out.append(figure)
        else:
            shown.append(Shown(figure, tuple(group(by_name[name] for name in names))))
    made = Reproduction(prepared, tuple(shown), tuple(left_out), failures, levels, levels - before,
                        seconds, _machine())
    if not shown:
        raise SddError(made.what_failed)
    return made


def _page(made: Reproduction, images: Sequence[str]) -> str:
    recipe = made.of.recipe
    on = f" --on {shlex.quote(made.of.on)}" if made.of.on else ""
    runs = {result.run for one in made.shown for result in one.results}
    parts = [
        f"# {markdown_text(recipe.title)} ({made.of.scale})",
        f"> {markdown_text(recipe.claim)}\n>\n> {markdown_text(recipe.source)} of He, Xie, Zhu & "
        "Qin (2022), arXiv:2206.08684",
        *([markdown_text(recipe.note)] if recipe.note else []),
        f"    sdd reproduce {recipe.name} --scale {made.of.scale}{on}",
        f"{len(runs)} runs, {made.levels} levels; {_took(made)}. Lines are means over the seeds, "
        "bands one standard deviation.",
    ]
    for one, image in zip(made.shown, images, strict=True):
        parts += _section(one, image, recipe)
    parts += [f"Left out, as runs failed: {markdown_text(f'{one.base}: {one.title}')}."
              for one in made.left_out]
    return "\n\n".join(parts) + "\n"


def _took(made: Reproduction) -> str:
    took = f"{duration(made.seconds)} on {made.machine}"
    if made.trained == 0:
        return f"all of them were in the store, from other recipes, and measured in {took}"
    return f"{made.trained} of them were trained and measured in {took}"


def _section(one: Shown, image: str, recipe: Recipe) -> list[str]:
    title = markdown_text(f"{one.figure.base}: {one.figure.title}")
    numbers = Path(image).with_suffix(".csv").name
    parts = [f"## {title}", f"![{title}]({image})", f"[The numbers of this figure]({numbers})",
             _table(one.groups)]
    parts.append("\n".join(f"- {_name(each)}: {markdown_text(Findings(each).verdict)}"
                           for each in one.groups))
    if recipe.compare:
        first, *others = one.groups
        parts.append("\n".join(f"- {markdown_text(compare(first, other).verdict)}"
                               for other in others))
    if recipe.correlate:
        parts.append(_correlations(one.groups, recipe.correlate))
    if "learning_distance" in recipe.correlate:
        # Runs with an ablation do not test pruning alone.
        pruned = [result for result in one.results if result.experiment.ablation is None]
        parts.append(f"The distance as a prediction: {check_learning_distance(pruned).verdict}.")
    if curves := one.curves(recipe.curves):
        beside = f"{Path(image).stem}-curves"
        parts += [f"![{title}, along lines]({beside}.svg)",
                  f"[The numbers of these curves]({beside}.csv)", curves_table(curves)]
    return [part for part in parts if part]


def _name(one: Group) -> str:
    """Return a group's label with the number of its seeds."""
    return f"{markdown_text(one.label)} ({len(one.seeds)} seeds)"


def _table(groups: Sequence[Group]) -> str:
    rows = ["| | dense | valley | peak | light | critical | sweet | collapsed |",
            "|---|---|---|---|---|---|---|---|"]
    for one in groups:
        found = Findings(one)
        dense = one.statistics("test_accuracy").mean[0]
        turns = [f"{turn[1].value:.3f} at {percent(turn[0].value)}" if turn else "none"
                 for turn in (found.valley, found.peak)]
        spans = [_span(one, phase) for phase in ("light", "critical", "sweet", "collapsed")]
        cells = [markdown_text(one.label), f"{dense:.3f}", *turns, *spans]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _span(one: Group, phase: str) -> str:
    span = one.phases.named().get(phase)
    if span is None:
        return "none"
    return f"{percent(one.sparsity[span[0]])} to {percent(one.sparsity[span[1]])}"


def _correlations(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    """Return a table of each group's rank correlation over levels, between the mean of each metric
    and the mean test accuracy."""
    rows = ["| | " + " | ".join(f"`{one_line(one)}`" for one in metrics) + " |",
            "|---" * (len(metrics) + 1) + "|"]
    for one in groups:
        test = one.statistics("test_accuracy").mean
        cells = []
        for metric in metrics:
            pairs = zip(one.statistics(metric).mean, test, strict=True)
            known = [pair for pair in pairs if not any(map(math.isnan, pair))]
            cells.append(f"{rank_correlation(known):+.2f}" if known else "not measured")
        rows.append(f"| {one.label} | " + " | ".join(cells) + " |")
    return ("Spearman's rank correlation with test accuracy, over the levels of the mean "
            "curves:\n\n" + "\n".join(rows))


def _machine() -> str:
    return f"{os.cpu_count()} cores ({platform.machine()})"
