"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, get_args

import click

from sdd_core.cli.completion import names_of
from sdd_core.plugin.discovery import load_plugins
from sdd_core.report.look import Legend

LEFT_OUT = 1
"""Exit code of a command that left out some runs."""


class Named(click.Path):
    """A path that is not empty: '' would mean the current folder."""

    expected: ClassVar[str]

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if value == "":
            self.fail(f"an empty name; expected {self.expected}", param, ctx)
        return super().convert(value, param, ctx)


class Folder(Named):
    """A folder, which may not exist yet."""

    expected = "a folder, '.' for this one"

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)


class File(Named):
    """A file, which may not exist yet."""

    expected = "a file"

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)


class Minutes(click.FloatRange):
    """A number of minutes, 0 or more. Click's range check lets nan through."""

    name = "minutes"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        minutes = super().convert(value, param, ctx)
        if math.isnan(minutes):
            self.fail(f"{value} is not a number of minutes", param, ctx)
        return minutes


store_option = click.option(
    "--store",
    type=Folder(),
    default="runs",
    envvar="SDD_STORE",
    show_default=True,
    show_envvar=True,
    help="Folder for runs and the levels that they share.",
)
checkpoint_option = click.option(
    "--checkpoint-minutes", type=Minutes(), default=2.0, show_default=True,
    help="Time between checkpoints; a crash loses at most so much work.",
)


def _left_out(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[
    str, ...
]:
    """Check the names of plugins to leave out. Raises SddError for an unknown plugin."""
    if names and not ctx.resilient_parsing:
        load_plugins(names).check_blocked(names)
    return names


no_plugin_option = click.option(
    "--no-plugin", multiple=True, metavar="NAME", shell_complete=names_of(), callback=_left_out,
    help="Leave a plugin out; may be repeated.",
)
tracker_option = click.option(
    "--tracker", "trackers", multiple=True, metavar="NAME", shell_complete=names_of("tracker"),
    help="Experiment tracker to log to; may be repeated.  See `sdd list-plugins --kind tracker`.",
)


def x_option(what: str) -> Any:
    """Return the option of the axis. what: what is done over it."""
    return click.option(
        "--x", default="sparsity", show_default=True, metavar="NAME",
        help=f"{what}: sparsity, macs, parameters, bytes (what is kept of them), or any metric.",
    )


def figure_options(command: Any) -> Any:
    """Add the options for the look of figures; see `sdd_core.report.look.Look`."""
    for option in reversed(
        [
            click.option("--width", type=float, metavar="INCHES",
                         help="Width of the figure; the height is in proportion."),
            click.option("--font-size", type=float, default=10.0, metavar="POINTS",
                         show_default=True, help="Size of the text."),
            click.option("--legend", type=click.Choice(get_args(Legend)), default="best",
                         show_default=True, help="Place of the legend."),
        ]
    ):
        command = option(command)
    return command


def _named(option: str, kind: str, says: str) -> Any:
    return click.option(option, metavar="NAME", shell_complete=names_of(kind), help=says)


def place_options(command: Any) -> Any:
    """Add the options that do not change the result: places, device, output."""
    for option in reversed(
        [
            store_option,
            click.option("--data-root", type=Folder(),
                         help="Folder for data sets, also for downloads."),
            click.option("--device", help="cpu, cuda, cuda:1, ...  [default: a GPU if there is "
                         "one]"),
            click.option("--threads", type=click.IntRange(min=1), help="Number of torch threads."),
            checkpoint_option,
            tracker_option,
            click.option("--quiet", "-q", is_flag=True, help="Show no progress."),
            click.option("--json", "as_json", is_flag=True,
                         help="Print the result as one JSON document."),
            no_plugin_option,
        ]
    ):
        command = option(command)
    return command


def experiment_options(command: Any) -> Any:
    """Add FILE and the options that define the experiment."""
    return click.argument("file", required=False, type=File())(network_options(command))


def network_options(command: Any) -> Any:
    """Add the options that define the experiment, without FILE."""
    for option in reversed(
        [
            _named("--pruner", "pruner", "Method that chooses the weights to prune.  "
                   "[default: imp]"),
            _named("--retrain", "retrain", "Retraining schedule of a pruned level.  "
                   "[default: rewind]"),
            _named("--data", "data", "Data set.  [default: digits]"),
            _named("--noise", "noise", "Label noise."),
            _named("--model", "model", "Network, torchvision:NAME, timm:NAME or "
                   "package.module:function.  [default: mlp]"),
            _named("--loss", "loss", "Training loss.  [default: cross-entropy]"),
            _named("--sparse-training", "sparse-training", "Method that moves the masks of a level "
                   "while it trains."),
            _named("--ablation", "ablation", "Change to each level, to isolate one effect."),
            click.option("--levels", type=int, help="Number of prunings.  [default: 25]"),
            click.option("--seed", type=int, help="Seed for all random choices.  [default: 0]"),
            click.option("--kernels", type=click.Choice(["auto", "none"]),
                         help="Sparse kernels; none: dense arithmetic with masks.  "
                         "[default: auto]"),
            click.option("--set", "set_", multiple=True, metavar="FIELD=VALUE",
                         help="Set any field of the experiment; may be repeated."),
        ]
    ):
        command = option(command)
    return command
