"""`sdd check`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from sdd_core.cli.completion import names_of
from sdd_core.cli.options import Folder, no_plugin_option
from sdd_core.cli.plugins import unknown
from sdd_core.cli.terminal import echo
from sdd_core.errors import SddError
from sdd_core.experiment.settings import first_error, parse_value
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.registry import PluginRecord

if TYPE_CHECKING:
    from sdd_core.testing import Check


@click.command()
@click.argument("name", shell_complete=names_of())
@click.option("--set", "set_", multiple=True, metavar="OPTION=VALUE",
              help="Set an option of the plugin; may be repeated.")
@click.option("--data-root", type=Folder(),
              help="Folder with the data set's files.")
@no_plugin_option
def check(
    name: str, set_: tuple[str, ...], data_root: Path | None, no_plugin: tuple[str, ...]
) -> None:
    """Check that a plugin keeps its contract. Print one line per check; exit with code 1 if a check
    finds a fault.

    NAME may be written kind:name or distribution:name. To run the same checks in a plugin's own
    tests, use `sdd_core.testing`.
    """
    plugins = load_plugins(no_plugin)
    found = _row(name, plugins)
    from sdd_core.testing import Fault  # noqa: PLC0415 (imports torch)

    faults = 0
    for one in _checks(found, plugins, set_, data_root):
        try:
            one.run()
        except Fault as fault:
            faults += 1
            echo(f"FAULT  {one.says}: {fault}")
        else:
            echo(f"ok     {one.says}")
    if faults:
        raise click.exceptions.Exit(1)


def _row(name: str, plugins: Plugins) -> PluginRecord:
    rows = [row for row in plugins.named(name) if row.status == "ok" or ":" in name]
    rows += [row for row in plugins.rows if row.kind == "observer"
             and name in {row.name, f"observer:{row.name}", f"{row.distribution}:{row.name}"}]
    if not rows:
        raise SddError(unknown(name, plugins))
    if len(rows) > 1:
        choices = " or ".join(f"{row.kind}:{row.name}" for row in rows)
        raise SddError(f"{len(rows)} plugins are called {name!r}; use {choices}")
    return rows[0]


def _checks(
    row: PluginRecord, plugins: Plugins, settings: Iterable[str], root: Path | None
) -> list[Check]:
    from sdd_core.testing import checks, observer  # noqa: PLC0415

    if row.plugin is None:
        return observer.checks(plugins.hooks.get_plugin(f"{row.distribution}:{row.entry_point}"))
    options: dict[str, Any] = {}
    for text in settings:
        option, equals, value = text.partition("=")
        if not equals:
            raise SddError(f"--set {text!r} is not a setting; expected OPTION=VALUE")
        options[option.strip()] = parse_value(value.strip())
    needed = [option for option, info in row.plugin.model_fields.items() if info.is_required()]
    missing = [option for option in needed if option not in options]
    if missing:
        raise SddError(f"{row.kind} {row.name!r} has no default for {', '.join(missing)}; add "
                       f"--set {missing[0]}=...")
    try:
        plugin = row.plugin.model_validate(options)
    except ValidationError as error:
        raise SddError(f"--set {first_error(error)}") from None
    return checks(plugin, root=root) if row.kind == "data" else checks(plugin)
