"""`sdd sweep`: run many experiments."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sdd_core.cli.interrupts import Interrupts
from sdd_core.cli.options import (
    File,
    Folder,
    checkpoint_option,
    no_plugin_option,
    store_option,
    tracker_option,
)
from sdd_core.cli.plugin_command import PluginCommand
from sdd_core.cli.settings import changes
from sdd_core.cli.terminal import console, echo
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.settings import override, read_toml
from sdd_core.observers.tracking import make_trackers
from sdd_core.output.fitting import FittingTable
from sdd_core.output.notices import say
from sdd_core.plugin.discovery import load_plugins, warn_of_problems
from sdd_core.runs.result import Result
from sdd_core.sweeps import execute_plan, make_executor
from sdd_core.sweeps.plan import Counts, Plan
from sdd_core.sweeps.progress import progress_for
from sdd_core.sweeps.settings import expansion
from sdd_core.sweeps.work import RunOptions

MANY = 1000
"""From this number of experiments on, progress in expanding them is reported."""

REPORT_EVERY = 5.0
"""Seconds between two such reports."""


class SweepCommand(PluginCommand):
    """A command with a typed option for each field of the chosen executor."""

    option, kind, usual = "executor", "executor", "local"
    left_out = ("workers",)


@click.command(cls=SweepCommand)
@click.argument("files", metavar="FILE...", nargs=-1, required=True,
                type=File())
@click.option("--set", "set_", multiple=True, metavar="FIELD=VALUE",
              help="Set any field, also to a list of values; may be repeated.")
@click.option("--executor", default="local", metavar="NAME", show_default=True,
              help="Where to run; see `sdd list-plugins --kind executor`.")
@click.option("--workers", type=click.IntRange(min=1),
              help="Number of experiments at a time.  [default: one per core]")
@click.option("--dry-run", is_flag=True, help="Print the work to do, without doing it.")
@store_option
@click.option("--data-root", type=Folder(),
              help="Folder for data sets, also for downloads.")
@click.option("--device", help="cpu, cuda, cuda:1, ...  [default: a GPU if there is one]")
@checkpoint_option
@tracker_option
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True,
              help="Print the results as one JSON document, a list.")
@no_plugin_option
def sweep(files: tuple[Path, ...], store: Path, no_plugin: tuple[str, ...], **options: Any) -> None:
    """Run or resume all experiments in FILE.

    FILE is an experiment file (TOML) in which any field may have a list of values: seed = [0, 1,
    2]. The experiments are the product of all lists; a field that is itself a list, such as
    model.widths, takes a list of lists. Levels that runs have in common are trained once. Failed
    runs are reported at the end; the exit code is then 1.
    """
    plugins = load_plugins(no_plugin)
    settings = [_settings(file, changes({"set_": options["set_"]})) for file in files]
    count, each = expansion(settings, plugins)
    experiments = each if options["quiet"] else _reported(each, count)
    executor = make_executor(_executor_options(options), plugins)
    trackers = make_trackers(options["trackers"], plugins)
    warn_of_problems(plugins)
    if options["dry_run"]:
        found = Counts.of(experiments, store)
        counts = {**vars(found), "to_train": found.levels - found.there}
        if options["as_json"]:
            click.echo(json.dumps(counts))
        else:
            _print_counts(counts)
        return
    plan = Plan.of(list(experiments))
    root = options["data_root"]
    place = RunOptions(store.absolute(), root and root.absolute(), options["device"],
                  options["checkpoint_minutes"], plugins.blocked, tuple(trackers))
    showing = progress_for(plan, place.store, sys.stderr, options["quiet"])
    with showing as progress, Interrupts() as interrupts:
        watched = interrupts.watching(progress)
        failures, results = execute_plan(plan, executor, place, watched)
    if options["as_json"]:
        click.echo(json.dumps([result.to_json() for result in results], allow_nan=False))
    elif options["quiet"]:
        for result in results:
            echo(result.folder)
    else:
        _print(results)
    for name, reason in failures.items():
        say(f"sdd: run {name} failed: {reason}")
    if failures:
        say(f"{len(failures)} of {len(plan.names)} runs failed; run the same command again to "
            "retry them")
        raise click.exceptions.Exit(1)


def _settings(file: Path, changed: list[tuple[str, Any]]) -> dict[str, Any]:
    settings = read_toml(file)
    for field, _ in changed:
        section, dot, _ = field.partition(".")
        if dot and isinstance(settings.get(section), list):
            raise SddError(f"--set {field}: {file} has a list for {section}; edit the file instead")
    return override(settings, changed)


def _reported(experiments: Iterator[Experiment], count: int) -> Iterator[Experiment]:
    """Yield the experiments, and where there are many, report how many are expanded so far."""
    since = time.monotonic()
    for number, experiment in enumerate(experiments):
        if count >= MANY and (number == 0 or time.monotonic() - since > REPORT_EVERY):
            since = time.monotonic()
            say(f"expanded {number:,} of {count:,} experiments")
        yield experiment


def _executor_options(options: dict[str, Any]) -> dict[str, Any]:
    workers = options["workers"]
    return SweepCommand.chosen(options) | ({} if workers is None else {"workers": workers})


def _print_counts(counts: dict[str, int]) -> None:
    echo(f"{counts['runs']} run{'s' * (counts['runs'] != 1)}")
    echo(f"{counts['levels']} level{'s' * (counts['levels'] != 1)}, {counts['shared']} of them "
         "shared by several runs")
    echo(f"{counts['there']} already in the store")
    echo(f"{counts['to_train']} to train")


def _print(results: list[Result]) -> None:
    table = FittingTable("run", "finding")
    for result in results:
        table.add_row(result.run, result.phases.verdict)
    console().print(table)
