"""The JSON schema of experiment files, with the options of every installed plugin."""

from __future__ import annotations

import inspect
import re
from copy import deepcopy
from typing import Any, cast

from pydantic import BaseModel

from sdd_core.experiment.choice import DEFAULTS, usual_noise
from sdd_core.experiment.experiment import Experiment, sections
from sdd_core.experiment.train import Train
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.kinds import DataSource, Plugin
from sdd_core.plugin.options import plugin_fields
from sdd_core.plugin.registry import PluginRecord

IMPORTABLE = {"model", "data"}
"""The kinds that may also be named as `module:function`."""


def experiment_schema(plugins: Plugins) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) for the experiment files that `Experiment.make` accepts.

    A section is a plugin's name, or a table whose `name` decides which options it has. Conditions
    on several values, such as increasing sparsities, are not part of the schema.
    """
    whole = Experiment.model_json_schema()
    definitions: dict[str, Any] = {"Train": whole["$defs"]["Train"]}
    _with_choices(definitions["Train"], Train, plugins, definitions)
    properties = whole["properties"]
    for section, kind in sections().items():
        default = DEFAULTS.get(section)
        properties[section] = {
            "description": properties[section]["description"],
            "anyOf": _choices(kind.kind, _nameless(section, plugins), plugins, definitions),
            **({"default": default} if default else {}),
        }
    properties["metrics"] = {
        "description": properties["metrics"]["description"],
        "type": "array",
        "items": {"anyOf": _choices("metric", set(), plugins, definitions)},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An experiment of sdd",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _nameless(section: str, plugins: Plugins) -> set[str]:
    """Return the plugins whose options a section may set without a name: the default one; for label
    noise, which depends on the data, the default of any data set."""
    if section != "noise":
        return {DEFAULTS[section]} if section in DEFAULTS else set()
    sources = [DataSource, *(row.plugin for row in plugins.rows if row.kind == "data")]
    return {usual_noise(cast(type[DataSource], one), asked=True)["name"] for one in sources if one}


def _choices(
    kind: str, nameless: set[str], plugins: Plugins, definitions: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the alternatives for a section of a kind, and add the table of each plugin to
    `definitions`. nameless: the plugins whose table needs no name."""
    rows = [row for row in plugins.rows if row.kind == kind and row.plugin]
    names = [name for row in rows if row.plugin and not _required(row.plugin)
             for name in _names(row, plugins)]
    choices: list[dict[str, Any]] = [{"enum": names}]
    for row in rows:
        assert row.plugin is not None
        key = ".".join((kind, *_names(row, plugins)[:1])).replace(":", ".")
        table = _table(row, key, plugins)
        _with_choices(table, row.plugin, plugins, definitions)
        if row.name in nameless and row.status == "ok":
            table["required"] = [name for name in table["required"] if name != "name"]
        definitions[key] = table
        choices.append({"$ref": f"#/$defs/{key}"})
        if row.plugin.shorthand and row.status == "ok":
            short = {"type": "string", "pattern": f"^{re.escape(row.name)}:."}
            definitions[f"{key}:"] = _shortened(table, row.plugin.shorthand, short)
            choices += [short, {"$ref": f"#/$defs/{key}:"}]
    if kind in IMPORTABLE:
        choices += _import_paths(kind, plugins)
    return choices


def _with_choices(
    schema: dict[str, Any],
    model: type[BaseModel],
    plugins: Plugins,
    definitions: dict[str, Any],
) -> None:
    """Add to a model's schema the plugins that each of its options accepts."""
    for option, kind in plugin_fields(model).items():
        field = schema["properties"][option]
        about = {key: field.pop(key) for key in ("description", "default", "title") if key in field}
        default = model.model_fields[option].default
        usual = {default} if isinstance(default, str) else set()
        # Values that are not plugins, such as a list of sparsities.
        plain = [one for one in field.get("anyOf", ()) if one != {"type": "string"}]
        schema["properties"][option] = {
            **about, "anyOf": [*plain, *_choices(kind, usual, plugins, definitions)],
        }  # fmt: skip


def _names(row: PluginRecord, plugins: Plugins) -> list[str]:
    """Return the names of a plugin in a file; the first is bare unless another one has that name.
    """
    assert row.plugin is not None
    return list(dict.fromkeys((plugins.spelling(row.plugin), f"{row.distribution}:{row.name}")))


def _table(row: PluginRecord, key: str, plugins: Plugins) -> dict[str, Any]:
    plugin = row.plugin
    assert plugin is not None
    # References of its options point into its own definition.
    schema = plugin.model_json_schema(ref_template=f"#/$defs/{key}/$defs/{{model}}")
    words = inspect.cleandoc(plugin.__doc__ or "")
    name = {"enum": _names(row, plugins), "description": words.split("\n")[0]}
    return {
        **schema,
        "title": row.name,
        "description": words,
        "properties": {"name": name, **schema.get("properties", {})},
        "required": ["name", *schema.get("required", ())],
    }


def _shortened(table: dict[str, Any], option: str, name: dict[str, Any]) -> dict[str, Any]:
    """Return the table of a plugin whose name holds an option after a colon."""
    short = deepcopy(table)
    del short["properties"][option]
    short["properties"]["name"] = name
    short["required"] = [field for field in short["required"] if field != option]
    return short


def _import_paths(kind: str, plugins: Plugins) -> list[dict[str, Any]]:
    """Return the alternatives for `package.module:function`, alone or with arguments."""
    known = {kind, *plugins.shorthands(kind), *(row.distribution for row in plugins.rows)}
    others = "|".join(re.escape(prefix) for prefix in sorted(known))
    name = {"type": "string", "pattern": rf"^(?!(?:{others}):)[^:]+:[^:]+$"}
    return [name, {"type": "object", "properties": {"name": name}, "required": ["name"]}]


def _required(plugin: type[Plugin]) -> bool:
    return any(info.is_required() for info in plugin.model_fields.values())
