"""`sdd runs` and `sdd report`: list and report the runs in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sdd_core.analysis.groups import group
from sdd_core.analysis.recommendation import recommended
from sdd_core.cli.completion import run_names
from sdd_core.cli.options import (
    LEFT_OUT,
    Folder,
    figure_options,
    no_plugin_option,
    store_option,
    x_option,
)
from sdd_core.cli.terminal import console, echo
from sdd_core.errors import SddError
from sdd_core.files.entries import damaged_entries
from sdd_core.output.fitting import FittingTable
from sdd_core.output.notices import say
from sdd_core.plugin.discovery import Plugins, load_plugins, warn_of_problems
from sdd_core.report import phase_table, result_table, write_report
from sdd_core.report.look import Look
from sdd_core.runs.level_record import LevelRecord, trained_with
from sdd_core.runs.open_run import open_run
from sdd_core.runs.result import Result
from sdd_core.runs.run_folder import RunFolder
from sdd_core.runs.stored_runs import overview, run_folders


def find_run(name: str, store: Path, plugins: Plugins, *, to_resume: bool = False) -> RunFolder:
    """Return the run with a name, a unique beginning of a name, or a folder.

    to_resume: see `open_run`. Raises SddError when there is no such run or it cannot be read.
    """
    return open_run(folder_of(name, store), plugins, to_resume=to_resume)


def folder_of(name: str, store: Path) -> Path:
    """Return the folder of that run. Raises SddError when there is none, or several."""
    if Path(name).is_dir():
        return Path(name)
    folders = [folder for folder in run_folders(store) if folder.name.startswith(name)]
    exact = [folder for folder in folders if folder.name == name]
    if len(exact or folders) == 1:
        return (exact or folders)[0]
    if folders:
        raise SddError(f"{name!r} matches {len(folders)} runs in {store}; use a longer name: "
                       f"{', '.join(folder.name for folder in folders[:4])}")
    raise SddError(f"no run {name!r} in {store}; `sdd runs --store {store}` lists the runs")


def end_with(left_out: Sequence[object]) -> None:
    """End the command with exit code 1 if something was left out."""
    if left_out:
        raise click.exceptions.Exit(LEFT_OUT)


@click.command()
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@no_plugin_option
def runs(store: Path, as_json: bool, no_plugin: tuple[str, ...]) -> None:
    """List the runs in the store, and the damaged files that were set aside.

    A run that cannot be read is listed with the reason; the exit code is then 1.
    """
    load_plugins(no_plugin)
    rows: list[dict[str, Any]] = []
    unreadable = []
    for folder in run_folders(store):
        try:
            run = overview(folder)
        except SddError as error:
            unreadable.append(error)
            rows.append({"run": folder.name, "levels": None, "of": None, "verdict": str(error),
                         "trained": []})
        else:
            rows.append({"run": folder.name, "levels": run.levels, "of": run.of,
                         "verdict": run.phases.verdict, "trained": run.trained})
    if as_json:
        click.echo(json.dumps([row | {"trained": [*map(_trained, row["trained"])]}
                               for row in rows], allow_nan=False))
    elif not rows:
        echo(f"no runs in {store}; `sdd run` starts one")
    else:
        _print(rows)
    for entry in damaged_entries(store):
        (say if as_json else echo)(f"damaged, set aside: {entry}")
    end_with(unreadable)


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    table = FittingTable("run", "levels", "trained with", "finding", optional=["trained with"])
    for row in rows:
        levels = "?" if row["levels"] is None else f"{row['levels']}/{row['of']}"
        table.add_row(row["run"], levels, trained_with(row["trained"]), row["verdict"])
    console().print(table)


def _trained(record: LevelRecord | None) -> dict[str, Any] | None:
    """Return what trained a level for JSON."""
    if record is None:
        return None
    return {"level": record.level, "kernels": record.kernels, "instructions": record.instructions}


@click.command()
@click.argument("name", metavar="RUN", shell_complete=run_names())
@store_option
@click.option("--output", type=Folder(),
              help="Folder to write to.  [default: report/ in the run's folder]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@x_option("What to draw over")
@figure_options
@no_plugin_option
def report(
    name: str,
    store: Path,
    output: Path | None,
    as_json: bool,
    x: str,
    width: float | None,
    font_size: float,
    legend: str,
    no_plugin: tuple[str, ...],
) -> None:
    """Write the page (HTML), figure (PNG, SVG) and CSV of RUN, and print its table.

    RUN is a name from `sdd runs`, or a run's folder.
    """
    look = Look(width, font_size, legend)
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    result = find_run(name, store, plugins).result()
    if not result.levels:
        raise SddError(f"run {result.run} has no finished level yet; `sdd resume {result.folder}` "
                       "continues it")
    files = write_report(result, output or result.folder / "report", look, x)
    if as_json:
        click.echo(json.dumps(result.to_json(), allow_nan=False))
    else:
        print_result(result, files, x)


def print_result(result: Result, files: list[Path], x: str = "sparsity") -> None:
    """Print the table, the phases, the recommendation over `x` and the paths of the files on
    standard output."""
    output = console()
    output.print(result_table(result), "")
    if result.phases.named():
        output.print(phase_table(result), "")
    echo(result.phases.verdict, style="bold")
    if result.levels:
        echo(f"recommended: {recommended(group([result])[0], x)}")
    for file in files:
        echo(f"wrote {file}")
    echo(f"run folder {result.folder}")
