"""`sdd plot`: runs laid over one another."""

from __future__ import annotations

from pathlib import Path

import click

from sdd_core.cli.run import no_plugin_option, store_option
from sdd_core.cli.table import named_results
from sdd_core.findings import Findings, compare
from sdd_core.groups import Group, group
from sdd_core.plugin_manager import load_plugins, warn_of_problems
from sdd_core.recommendation import by_learning_distance, by_test_accuracy


@click.command()
@click.argument("names", metavar="[RUN|FILE]...", nargs=-1)
@click.option("--metric", "metrics", multiple=True, default=("test_accuracy",),
              show_default=True, metavar="NAME", help="What to draw; may be repeated.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False),
              default=Path("plot.png"), show_default=True,
              help="Where to write, .png, .svg or .pdf; the numbers go to a .csv beside it.")
@store_option
@no_plugin_option
def plot(
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    output: Path,
    store: Path,
    no_plugin: tuple[str, ...],
) -> None:
    """Draw runs over one another: means over seeds, with a band of one standard deviation.

    RUN is a name that `sdd runs` lists, a pattern such as 'digits-*', or a folder; FILE an
    experiment or sweep file (.toml), for all its runs. All the runs in the store if none is
    given. Runs that differ in their seed alone are one line.
    """
    # matplotlib takes its time
    from sdd_core.report.plot import (  # noqa: PLC0415
        check_form,
        groups_figure,
        write_figure,
    )

    check_form(output)
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    groups = group(named_results(names, store, plugins))
    metrics = tuple(dict.fromkeys(metrics))
    written = write_figure(groups_figure(groups, metrics), groups, metrics, output)
    for one in groups:
        click.echo(f"{one.label}: {Findings(one).verdict}")
        click.echo(_advice(one))
    for number, one in enumerate(groups):
        for other in groups[number + 1:]:
            click.echo(compare(one, other).verdict)
    for file in written:
        click.echo(f"wrote {file}")


def _advice(one: Group) -> str:
    parts = [f"  {by} {100 * advice.sparsity:.2f} % ({advice.why})"
             for by, advice in (("recommended by test accuracy:", by_test_accuracy(one)),
                                ("recommended by learning distance:", by_learning_distance(one)))
             if advice]
    return "\n".join(parts)
