"""`sdd export`: write the network of a level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdd_core.cli.completion import names_of, run_names
from sdd_core.cli.options import Folder, Named, no_plugin_option, store_option
from sdd_core.cli.plugin_command import PluginCommand
from sdd_core.cli.runs import folder_of
from sdd_core.cli.terminal import echo
from sdd_core.output.text import percent
from sdd_core.plugin.discovery import load_plugins, warn_of_problems

if TYPE_CHECKING:
    from sdd_core.exports.export import Exported


class NewPath(Named):
    """A file or folder to be made."""

    expected = "a file or folder"

    def __init__(self) -> None:
        super().__init__(path_type=Path)


class ExportCommand(PluginCommand):
    """A command with a typed option for each field of the chosen format."""

    option, kind, usual = "format", "exporter", "state-dict"


@click.command(cls=ExportCommand)
@click.argument("name", metavar="RUN", shell_complete=run_names())
@click.option("--level", default="recommended", metavar="LEVEL", show_default=True,
              help="A level's number, recommended, best (by test accuracy), or a sparsity such as "
              "95%, which means the nearest level.")
@click.option("--format", default="state-dict", metavar="NAME", show_default=True,
              shell_complete=names_of("exporter"),
              help="Format; see `sdd list-plugins --kind exporter`.")
@click.option("--output", type=NewPath(), metavar="PATH",
              help="File or folder to write, which must not exist.  [default: in exports/ in the "
              "run's folder]")
@click.option("--data/--no-data", default=True, show_default=True,
              help="Load the data and compare on the whole test set; else only on random inputs.")
@click.option("--data-root", type=Folder(), help="Folder for data sets, also for downloads.")
@click.option("--trust", is_flag=True,
              help="Import the modules of the run's model and data even if they have changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as one JSON document.")
@store_option
@no_plugin_option
def export(
    name: str, level: str, output: Path | None, data: bool, data_root: Path | None, trust: bool,
    as_json: bool, store: Path, no_plugin: tuple[str, ...], **options: Any,
) -> None:
    """Write the network of a level of RUN to a file, load it, and compare it with the network.

    RUN is a name from `sdd runs`, or a run's folder. The file appears only if its logits are those
    of the network; a record in JSON is written beside it. Your own model, `module:function`, is
    imported, which executes it. If the module is not the one that the run imported, this needs
    --trust.
    """
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    folder = folder_of(name, store)
    from sdd_core.exports.export import export as export_level  # noqa: PLC0415 (imports torch)

    made = export_level(
        folder, format=ExportCommand.chosen(options), level=level, output=output, data=data,
        data_root=data_root, trust=trust, plugins=plugins,
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps({"path": str(made.path), **made.record}, allow_nan=False))
    else:
        _print(made)


def _print(made: Exported) -> None:
    record, checked = made.record, made.record["checked"]
    level = record["description"]
    echo(f"wrote {made.path}: {record['bytes']:,} bytes, level {level['level']}, "
         f"{percent(level['sparsity'])} sparse")
    difference = checked["difference"]
    equal = f"equal to {difference:.0e} of the largest" if difference else "equal bit for bit"
    run = record["run_test_accuracy"]
    known = "not measured" if run is None else f"{run:.4f}"
    if checked["test_examples"]:
        echo(f"test accuracy {checked['test_accuracy']:.4f} (run: {known}); logits {equal} on "
             f"{checked['test_examples']:,} test examples")
    else:
        echo(f"logits {equal} on random inputs only ({checked['not_tested']}); test accuracy of "
             f"the run: {known}")
    if record["facts"]:
        echo(", ".join(f"{fact} {_shown(value)}" for fact, value in record["facts"].items()))
    for note in record["notes"]:
        echo(f"note: {note}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):  # for example before and after
        return " to ".join(_shown(one) for one in value.values())
    return f"{value:,}" if isinstance(value, int | float) else str(value)
