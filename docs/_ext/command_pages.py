"""The reference of the command line, out of the commands themselves: `docs/commands.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pages import cell, text, write

from sdd_core.cli import COMMANDS, main
from sdd_core.cli.types import type_name
from sdd_core.experiment.train import Train


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write_page(Path(app.srcdir) / "commands"))
    return {"parallel_read_safe": True}


def write_page(folder: Path) -> None:
    """All commands on one page."""
    write(folder, {"index": _page()})


def _page() -> Iterator[str]:
    yield "# Commands\n"
    yield ("`sdd COMMAND --help` says the same. A mistake is one line on standard error and exit "
           "code 2; what was done, but not for all runs, has exit code 1, and what Ctrl-C ends "
           "130.\n")
    with click.Context(main, info_name="sdd") as context:
        for name in COMMANDS:
            command = main.get_command(context, name)
            assert command is not None
            yield from _command(command, click.Context(command, context, name), f"sdd {name}")
    yield "## Options of training\n\nFields of `train`, as options of `sdd run`.\n"
    yield "| option | type | default | |\n|---|---|---|---|"
    for field, info in Train.model_fields.items():
        default = "" if info.default is None else str(info.default)
        cells = (f"`--train.{field}`", type_name(info.annotation), default, info.description or "")
        yield "| " + " | ".join(map(cell, cells)) + " |"
    yield "\nOptions of plugins stand on [their pages](../plugins/index.md)."


def _command(command: click.Command, context: click.Context, name: str) -> Iterator[str]:
    yield f"## {name}\n"
    yield "```text\n" + command.get_usage(context).removeprefix("Usage: ") + "\n```\n"
    yield text(inspect.cleandoc(command.help or "")) + "\n"
    records = [param.get_help_record(context) for param in command.get_params(context)
               if isinstance(param, click.Option)]
    yield "| option | |\n|---|---|"
    for record in records:
        if record and not record[0].startswith("-h"):
            yield f"| {cell(f'`{record[0]}`')} | {cell(record[1])} |"
    yield ""
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield from _command(found, click.Context(found, context, sub), f"{name} {sub}")
