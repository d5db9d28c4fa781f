"""`sdd recommend`: how far to prune."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import click

from sdd_core.analysis.groups import group
from sdd_core.analysis.recommendation import recommend as recommend_one
from sdd_core.analysis.recommendation import recommended
from sdd_core.cli.completion import run_names
from sdd_core.cli.options import no_plugin_option, store_option, x_option
from sdd_core.cli.runs import end_with
from sdd_core.cli.table import named_results
from sdd_core.cli.terminal import echo
from sdd_core.plugin.discovery import load_plugins, warn_of_problems


@click.command()
@click.argument("names", metavar="[RUN|FILE]...", nargs=-1, shell_complete=run_names(files=True))
@x_option("What to save")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@store_option
@no_plugin_option
def recommend(
    names: tuple[str, ...], x: str, as_json: bool, store: Path, no_plugin: tuple[str, ...]
) -> None:
    """Recommend how far to prune, what it saves, and why.

    It is the level that saves most among those whose mean test accuracy is within one standard
    error of the best; without a test accuracy, the learning distance decides. RUN is a name from
    `sdd runs`, a pattern such as 'digits-*', or a folder; FILE is an experiment or sweep file
    (.toml) and stands for all its runs. Default: all runs in the store. Runs that differ only in
    their seed get one recommendation. If no level has learned anything, nothing is recommended.
    Runs that cannot be read are left out; the exit code is then 1.
    """
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    results, left_out = named_results(names, store, plugins)
    groups = group(results)
    if as_json:
        rows = [{"runs": one.label, "advice": advice and {
                    name: None if isinstance(value, float) and not math.isfinite(value) else value
                    for name, value in asdict(advice).items()}}
                for one in groups for advice in [recommend_one(one, x)]]
        click.echo(json.dumps(rows, allow_nan=False))
    else:
        for one in groups:
            said = recommended(one, x)
            echo(f"{one.label}: {said}" if len(groups) > 1 else said)
    end_with(left_out)
