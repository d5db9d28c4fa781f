"""`sdd list-plugins` and `sdd show`."""

from __future__ import annotations

import inspect
import json
from typing import Any

import click
from pydantic.fields import FieldInfo

from sdd_core.cli.completion import names_of
from sdd_core.cli.options import no_plugin_option
from sdd_core.cli.settings import noise_of
from sdd_core.cli.terminal import console, echo
from sdd_core.cli.types import type_name
from sdd_core.errors import SddError, did_you_mean
from sdd_core.experiment.experiment import field_of
from sdd_core.output.fitting import FittingTable
from sdd_core.plugin.base import article
from sdd_core.plugin.discovery import Plugins, load_plugins, warn_of_problems
from sdd_core.plugin.kinds import KINDS, DataSource
from sdd_core.plugin.registry import PluginRecord


@click.command("list-plugins")
@click.option("--kind", type=click.Choice([*KINDS, "recipe", "observer"]),
              help="Only plugins of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@no_plugin_option
def list_plugins(kind: str | None, as_json: bool, no_plugin: tuple[str, ...]) -> None:
    """List the installed plugins. Those that failed or are blocked are listed with the reason."""
    plugins = load_plugins(no_plugin)
    order = [*KINDS, "recipe", "observer", ""]
    rows = sorted(plugins.rows, key=lambda row: order.index(row.kind))
    rows = [row for row in rows if kind is None or row.kind in {kind, ""}]
    if as_json:
        fields = ("kind", "name", "description", "distribution", "version", "entry_point",
                  "status", "reason")
        document = [{field: getattr(row, field) for field in fields} for row in rows]
        click.echo(json.dumps(document))
        return
    warn_of_problems(plugins)
    table = FittingTable("kind", "name", "description", "distribution", "version",
                         optional=("version", "distribution"))
    for row in rows:
        text = row.description if row.status == "ok" else f"{row.status.upper()}: {row.reason}"
        style = {"ok": "", "blocked": "dim"}.get(row.status, "red")
        cells = (row.kind or "?", row.name, text, row.distribution, row.version)
        table.add_row(*cells, style=style)
    console().print(table)


@click.command()
@click.argument("name", shell_complete=names_of())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@no_plugin_option
def show(name: str, as_json: bool, no_plugin: tuple[str, ...]) -> None:
    """Show a plugin's options (types, defaults, bounds) and its source.

    NAME may be written kind:name or distribution:name.
    """
    plugins = load_plugins(no_plugin)
    rows = [row for row in plugins.named(name) if row.status == "ok" or ":" in name]
    if not rows:
        raise SddError(unknown(name, plugins))
    if as_json:
        click.echo(json.dumps([_document(row) for row in rows]))
        return
    for row in rows:
        _print(row)


def unknown(name: str, plugins: Plugins) -> str:
    """Return the error for a name that no plugin has, with the reason or the nearest names."""
    names = sorted({row.name for row in plugins.rows if row.status == "ok"})
    why = next((f"; it is {row.status}: {row.reason}" for row in plugins.rows
                if name in {row.name, row.entry_point} and row.status != "ok"), "")
    hint = (not why and did_you_mean(name, names)) or "`sdd list-plugins` lists them"
    return f"no plugin is called {name!r}{why}; {hint}"


def _print(row: PluginRecord) -> None:
    plugin = row.plugin
    assert plugin is not None
    echo(f"{row.name}, {article(row.noun)} of {row.distribution} {row.version}",
                 style="bold")
    for line in inspect.cleandoc(plugin.__doc__ or "").splitlines():
        echo(line)
    if plugin.source:
        echo()
        echo(f"Source: {plugin.source}")
    if issubclass(plugin, DataSource):
        echo()
        echo(f"Default label noise: {noise_of(plugin)}")
    if plugin.model_fields:
        table = FittingTable("option", "type", "default", "bounds", "")
        for option, info in plugin.model_fields.items():
            cells = (dotted(row, option), type_name(info.annotation), default(info),
                     bounds(info), info.description or "")
            table.add_row(*cells)
        echo()
        console().print(table)
    echo()
    echo(f"Example: {example(row)}")
    echo()


def _document(row: PluginRecord) -> dict[str, Any]:
    plugin = row.plugin
    assert plugin is not None
    return {
        "kind": row.kind,
        "name": row.name,
        "distribution": row.distribution,
        "version": row.version,
        "description": inspect.cleandoc(plugin.__doc__ or ""),
        "source": plugin.source,
        "options": plugin.model_json_schema()["properties"] if plugin.model_fields else {},
    }


def example(row: PluginRecord) -> str:
    """Return a command that uses a plugin, with the values of required options in capitals."""
    plugin = row.plugin
    assert plugin is not None
    required = [name for name, info in plugin.model_fields.items() if info.is_required()]
    name = row.name
    if plugin.shorthand in required:
        required.remove(plugin.shorthand)
        name += f":{plugin.shorthand.upper()}"
    if row.kind == "executor":
        return f"sdd sweep FILE --executor={name}"
    if row.kind == "exporter":
        options = "".join(f" --format.{one}={one.upper()}" for one in required)
        return f"sdd export RUN --format={name}{options}"
    given = "".join(f" --{dotted(row, one)}={one.upper()}" for one in required)
    section = (field_of(row.kind) or row.kind).replace("_", "-")
    return f"sdd run --{section}={name}{given}"


def dotted(row: PluginRecord, option: str) -> str:
    """Return an option's name in an experiment, such as `pruner.fraction`."""
    section = field_of(row.kind)
    return f"{section}.{option}" if section else option


def default(info: FieldInfo) -> str:
    """Return a field's default as text, such as `0.2`."""
    if info.is_required():
        return "(required)"
    value = info.get_default()
    return "(none)" if value is None else str(value)


def bounds(info: FieldInfo) -> str:
    """Return a field's limits as text, such as `> 0, < 1`."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "pattern": "matches"}
    return ", ".join(
        f"{sign} {getattr(limit, name)}"
        for limit in _limits(info)
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    )


def _limits(info: FieldInfo) -> list[Any]:
    # Optional fields carry their limits one level down: Annotated[float, Gt(0)] | None.
    inner = [limit for part in getattr(info.annotation, "__args__", ())
             for limit in getattr(part, "__metadata__", ())]
    limits = (*info.metadata, *inner)
    return [limit for one in limits for limit in getattr(one, "metadata", [one])]
