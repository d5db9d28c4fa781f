"""Options that several commands have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, get_args

import click

from sdd_core.cli.completion import names_of
from sdd_core.plugin.discovery import load_plugins
from sdd_core.report.look import Legend

LEFT_OUT = 1
"""The exit code of what was done, but not for all runs."""

class Named(click.Path):
    """A path that has a name: '' would be the current folder."""

    expected: ClassVar[str]

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if value == "":
            self.fail(f"an empty name; expected {self.expected}", param, ctx)
        return super().convert(value, param, ctx)


class Folder(Named):
    """A folder, to be made or there."""

    expected = "a folder, '.' for this one"

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)


class File(Named):
    """A file, to be made or there."""

    expected = "a file"

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)


class Minutes(click.FloatRange):
    """0 or more, and a number: nan is neither above nor below anything."""

    name = "minutes"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        minutes = super().convert(value, param, ctx)
        if math.isnan(minutes):
            self.fail(f"{value} is no number of minutes", param, ctx)
        return minutes


store_option = click.option(
    "--store",
    type=Folder(),
    default="runs",
    envvar="SDD_STORE",
    show_default=True,
    show_envvar=True,
    help="Folder for runs and the levels they share.",
)
checkpoint_option = click.option(
    "--checkpoint-minutes", type=Minutes(), default=2.0, show_default=True,
    help="How much work a crash may cost.",
)


def _left_out(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[
    str, ...
]:
    """The plugins that are to be left out. Raises SddError: there is no such plugin."""
    if names and not ctx.resilient_parsing:
        load_plugins(names).check_blocked(names)
    return names


no_plugin_option = click.option(
    "--no-plugin", multiple=True, metavar="NAME", shell_complete=names_of(), callback=_left_out,
    help="Leave a plugin out; may be repeated.",
)
tracker_option = click.option(
    "--tracker", "trackers", multiple=True, metavar="NAME", shell_complete=names_of("tracker"),
    help="Send settings and curves there too; may be repeated.  "
    "`sdd list-plugins --kind tracker`",
)


def figure_options(command: Any) -> Any:
    """How figures look; see `sdd_core.report.look.Look`."""
    for option in reversed(
        [
            click.option("--width", type=float, metavar="INCHES",
                         help="Width of the figure; the height follows."),
            click.option("--font-size", type=float, default=10.0, metavar="POINTS",
                         show_default=True, help="Size of its text."),
            click.option("--legend", type=click.Choice(get_args(Legend)), default="best",
                         show_default=True, help="Where the legend stands."),
        ]
    ):
        command = option(command)
    return command


def _named(option: str, kind: str, says: str) -> Any:
    return click.option(option, metavar="NAME", shell_complete=names_of(kind), help=says)


def place_options(command: Any) -> Any:
    """Options that say where and how, and do not change the result."""
    for option in reversed(
        [
            store_option,
            click.option("--data-root", type=Folder(),
                         help="Folder where data sets are looked for and downloaded to."),
            click.option("--device", help="cpu, cuda, cuda:1, ...; a GPU if there is one."),
            click.option("--threads", type=click.IntRange(min=1), help="Threads of torch."),
            checkpoint_option,
            tracker_option,
            click.option("--quiet", "-q", is_flag=True, help="No progress."),
            click.option("--json", "as_json", is_flag=True,
                         help="Print the result as one JSON document."),
            no_plugin_option,
        ]
    ):
        command = option(command)
    return command


def experiment_options(command: Any) -> Any:
    """FILE and the options that say what the experiment is."""
    for option in reversed(
        [
            click.argument("file", required=False, type=File()),
            _named("--pruner", "pruner", "Which weights go.  [default: imp]"),
            _named("--retrain", "retrain", "How a pruned level trains.  [default: rewind]"),
            _named("--data", "data", "Data set.  [default: digits]"),
            _named("--noise", "noise", "Label noise."),
            _named("--model", "model", "Network, torchvision:NAME, timm:NAME or "
                   "package.module:function.  [default: mlp]"),
            _named("--loss", "loss", "What training minimises.  [default: cross-entropy]"),
            _named("--ablation", "ablation", "What is changed about each level."),
            click.option("--levels", type=int, help="How often to prune.  [default: 25]"),
            click.option("--seed", type=int, help="Of every stream of randomness.  [default: 0]"),
            click.option("--kernels", type=click.Choice(["auto", "none"]),
                         help="'none': plain dense arithmetic under masks.  [default: auto]"),
            click.option("--set", "set_", multiple=True, metavar="FIELD=VALUE",
                         help="Set any field of the experiment; may be repeated."),
        ]
    ):
        command = option(command)
    return command
