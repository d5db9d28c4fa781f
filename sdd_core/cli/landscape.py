"""`sdd landscape`: the loss around the weights of a run's levels."""

from __future__ import annotations

from pathlib import Path

import click

from sdd_core.cli.completion import run_names
from sdd_core.cli.options import File, figure_options, no_plugin_option, store_option
from sdd_core.cli.runs import find_run
from sdd_core.cli.terminal import echo
from sdd_core.errors import SddError
from sdd_core.plugin.discovery import load_plugins
from sdd_core.report.look import Look


@click.command()
@click.argument("name", metavar="RUN", shell_complete=run_names())
@click.option("--levels", default="", metavar="LIST",
              help="Levels to draw, such as 0,10,25.  [default: six, evenly spread]")
@click.option("--plane", is_flag=True,
              help="Draw contours over a plane of two random directions; needs landscape with "
              "dimensions = 2.")
@click.option("--output", type=File(),
              default=Path("landscape.png"), show_default=True,
              help="File to write, .png, .svg or .pdf; the numbers go to a .csv beside it.")
@figure_options
@store_option
@no_plugin_option
def landscape(
    name: str,
    levels: str,
    plane: bool,
    output: Path,
    width: float | None,
    font_size: float,
    legend: str,
    store: Path,
    no_plugin: tuple[str, ...],
) -> None:
    """Draw the training loss along a random direction from the weights of RUN's levels.

    RUN is a name from `sdd runs`, or a run's folder; it must have the metric `landscape`.
    """
    # matplotlib is slow to import
    from sdd_core.report.landscape import landscape_figure, plane_figure  # noqa: PLC0415
    from sdd_core.report.plot import check_form, write_beside  # noqa: PLC0415

    check_form(output)
    look = Look(width, font_size, legend)
    try:
        chosen = [int(word) for word in levels.split(",") if word.strip()]
    except ValueError:
        raise SddError(f"--levels {levels!r} is not a list of levels; expected, for example, "
                       "0,10,25") from None
    result = find_run(name, store, load_plugins(no_plugin)).result()
    draw = plane_figure if plane else landscape_figure
    for file in write_beside(*draw(result, chosen, look), output):
        echo(f"wrote {file}")
