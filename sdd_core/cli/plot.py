"""`sdd plot`: draw runs in one figure."""

from __future__ import annotations

from pathlib import Path

import click

from sdd_core.analysis.axis import Axis
from sdd_core.analysis.comparison import compare
from sdd_core.analysis.findings import Findings
from sdd_core.analysis.groups import Group, group
from sdd_core.analysis.recommendation import recommended
from sdd_core.cli.completion import run_names
from sdd_core.cli.options import File, figure_options, no_plugin_option, store_option, x_option
from sdd_core.cli.runs import end_with
from sdd_core.cli.settings import parse_words
from sdd_core.cli.table import named_results
from sdd_core.cli.terminal import console, echo
from sdd_core.output.fitting import FittingTable
from sdd_core.output.text import percent
from sdd_core.plugin.discovery import load_plugins, warn_of_problems
from sdd_core.report.look import Look
from sdd_core.runs.table import STYLES as PHASES


@click.command()
@click.argument("names", metavar="[RUN|FILE]...", nargs=-1, shell_complete=run_names(files=True))
@click.option("--metric", "metrics", multiple=True, default=("test_accuracy",),
              show_default=True, metavar="NAME", help="Metric to draw; may be repeated.")
@x_option("What to draw over")
@click.option("--output", type=File(),
              default=Path("plot.png"), show_default=True,
              help="File to write, .png, .svg or .pdf; the numbers go to a .csv beside it.")
@click.option("--labels", default="", metavar="LIST",
              help="Names of the lines, in their order, such as clean,noisy.")
@click.option("--title", help="Title of the figure; '' for none.  [default: what the runs show]")
@figure_options
@store_option
@no_plugin_option
def plot(
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    x: str,
    output: Path,
    labels: str,
    title: str | None,
    width: float | None,
    font_size: float,
    legend: str,
    store: Path,
    no_plugin: tuple[str, ...],
) -> None:
    """Draw runs in one figure: means over seeds, with a band of one standard deviation.

    RUN is a name from `sdd runs`, a pattern such as 'digits-*', or a folder; FILE is an
    experiment or sweep file (.toml) and stands for all its runs. Default: all runs in the store.
    Runs that differ only in their seed form one line. Runs that cannot be read are left out; the
    exit code is then 1.
    """
    # matplotlib is slow to import
    from sdd_core.report.plot import (  # noqa: PLC0415
        check_form,
        groups_figure,
        renamed,
        write_figure,
    )

    check_form(output)
    look = Look(width, font_size, legend)
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    results, left_out = named_results(names, store, plugins)
    groups = renamed(group(results), parse_words(labels))
    metrics = tuple(dict.fromkeys(metrics))
    axis = Axis(x)
    figure = groups_figure(groups, metrics, title, look, axis)
    written = write_figure(figure, groups, metrics, output, axis)
    for one in groups:
        _print(one, x)
    # All pairs while these are few, else the first with each other one.
    first = groups if len(groups) <= 4 else groups[:1]
    for number, one in enumerate(first):
        for other in groups[number + 1:]:
            echo(compare(one, other).verdict)
    for file in written:
        echo(f"wrote {file}")
    end_with(left_out)


def _print(one: Group, x: str = "sparsity") -> None:
    """Print the findings of a group with their uncertainty, and the recommendation over `x`."""
    found = Findings(one)
    echo(f"{one.label}: {found.verdict}", style="bold")
    table = FittingTable("phase", "begins", "ends", "seeds")
    for name in PHASES:
        if reach := found.reaches.get(name):
            table.add_row(name, _between(reach.begins, reach.first),
                          _between(reach.ends, reach.last), f"{reach.seeds} of {len(one.results)}")
        else:
            table.add_row(name, "none")
    if found.reaches:
        console().print(table)
    if threshold := found.interpolation_threshold:
        echo(f"  interpolation threshold: {threshold.said(percent)}")
    echo(f"  recommended: {recommended(one, x)}")
    echo()


def _between(value: float, over_seeds: tuple[float, float] | None) -> str:
    """Return a sparsity of the mean curve, with the least and greatest over the seeds."""
    if over_seeds is None:
        return percent(value)
    return f"{percent(value)} ({percent(over_seeds[0])} to {percent(over_seeds[1])})"
