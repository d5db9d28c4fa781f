"""`sdd reproduce`: run the experiments behind the paper's claims."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from sdd_core.cli.interrupts import Interrupts
from sdd_core.cli.options import Folder, no_plugin_option, store_option
from sdd_core.cli.terminal import console, echo
from sdd_core.errors import SddError
from sdd_core.output.fitting import FittingTable
from sdd_core.output.notices import say
from sdd_core.plugin.discovery import Plugins, load_plugins, warn_of_problems
from sdd_core.reproduce.recipes import SCALES, find_recipe, read_recipes
from sdd_core.sweeps import expand, make_executor
from sdd_core.sweeps.work import RunOptions


@click.command()
@click.argument("names", metavar="RECIPE...", nargs=-1)
@click.option("--list", "list_", is_flag=True, help="List the recipes and their topics.")
@click.option("--scale", type=click.Choice(SCALES), default="small", show_default=True,
              help="small: minutes on two cores; medium: hours; paper: the authors' settings.")
@click.option("--on", default="", metavar="TEXT",
              help="Run only data and models with this text in their title, such as lenet or "
              "cifar.  [default: all]")
@click.option("--output", type=Folder(), default="results",
              show_default=True, help="Folder for pages, figures and numbers.")
@click.option("--executor", default="local", metavar="NAME", show_default=True,
              help="Where to run; see `sdd list-plugins --kind executor`.")
@click.option("--workers", type=click.IntRange(min=1),
              help="Number of experiments at a time.  [default: one per core]")
@store_option
@click.option("--data-root", type=Folder(),
              help="Folder for data sets, also for downloads.")
@click.option("--device", help="cpu, cuda, cuda:1, ...  [default: a GPU if there is one]")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print one JSON document.")
@no_plugin_option
def reproduce(
    names: tuple[str, ...],
    list_: bool,
    scale: str,
    on: str,
    output: Path,
    executor: str,
    workers: int | None,
    store: Path,
    data_root: Path | None,
    device: str | None,
    quiet: bool,
    as_json: bool,
    no_plugin: tuple[str, ...],
) -> None:
    """Run the experiments behind a claim of the paper and draw its figure.

    Levels already in the store, from this or any other command, are reused. Experiments that
    cannot run, because their data set is missing, are left out and reported at the end; the exit
    code is then 1.
    """
    plugins = load_plugins(no_plugin)
    if list_ or not names:
        _list(plugins, as_json)
        return
    recipes = [find_recipe(name, plugins.recipe_files) for name in names]
    options = {"name": executor} | ({} if workers is None else {"workers": workers})
    chosen = make_executor(options, plugins)
    warn_of_problems(plugins)

    from sdd_core.reproduce.reproduce import prepare, reproduce  # noqa: PLC0415 (torch, matplotlib)
    from sdd_core.sweeps.progress import progress_for  # noqa: PLC0415

    prepared = [prepare(recipe, scale, plugins, on) for recipe in recipes]
    root = data_root and data_root.absolute()
    where = RunOptions(store.absolute(), root, device, blocked=plugins.blocked)
    failed = []
    for one in prepared:
        say(f"{one.recipe.name}: {one.recipe.title}")
        showing = progress_for(one.plan, where.store, sys.stderr, quiet)
        with showing as progress, Interrupts() as interrupts:
            watched = interrupts.watching(progress)
            made = reproduce(one, executor=chosen, where=where, progress=watched)
        for file in made.write(output):
            echo(f"wrote {file}")
        if made.failures:
            failed.append(f"{one.recipe.name}: {made.what_failed}")
    for line in failed:
        say(f"sdd: {line}")
    if failed:
        raise click.exceptions.Exit(1)


def _list(plugins: Plugins, as_json: bool) -> None:
    recipes = read_recipes(plugins.recipe_files)
    if not recipes:
        raise SddError("there are no recipes; `sdd list-plugins` lists plugins that were left out")
    counts = {
        recipe.name: {
            scale: len(expand([one for figure in figures for one in figure.settings], plugins))
            for scale, figures in recipe.figures.items()
        }
        for recipe in recipes
    }
    if as_json:
        click.echo(json.dumps([
            {"name": one.name, "title": one.title, "source": one.source, "claim": one.claim,
             "runs": counts[one.name]}
            for one in recipes
        ]))
        return
    table = FittingTable("recipe", "topic", "in the paper",
                         "runs: " + ", ".join(SCALES))
    for one in recipes:
        runs = " ".join(f"{counts[one.name][scale]:4}" for scale in SCALES)
        table.add_row(one.name, one.title, one.source, runs)
    console().print(table)
