"""Fields that hold a plugin: they accept an instance, a name, or a table of name and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from pydantic import BeforeValidator, ValidationInfo

from sdd_core.errors import SddError
from sdd_core.experiment.import_path import ImportedData, ImportedModel
from sdd_core.experiment.python_value import GivenData, GivenModel
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.kinds import DataSource, Plugin

DEFAULTS = {
    "data": "digits",
    "model": "mlp",
    "pruner": "imp",
    "retrain": "rewind",
    "optimizer": "sgd",
    "decay": "steps",
}
"""The plugins of the default experiment, by field. The label noise depends on the data (see
`usual_noise`); the other fields have no default plugin."""


def usual_noise(data: type[DataSource] | DataSource, *, asked: bool) -> dict[str, Any]:
    """Return the label noise of an experiment that does not name one, as a table of settings.

    This is the `default_noise` of the data's class. asked: True if options of label noise are set,
    such as `noise.rate=0.2`; the result is then symmetric noise instead of none.
    """
    usual = data.default_noise
    table = {"name": usual} if isinstance(usual, str) else dict(usual)
    return {"name": "symmetric"} if asked and table["name"] == "none" else table


def default_names(settings: Mapping[str, Any], plugins: Plugins) -> dict[str, str]:
    """Return the plugin of each section of `settings` that sets options but no name."""
    data = settings.get("data", DEFAULTS["data"])
    name = data.get("name", DEFAULTS["data"]) if isinstance(data, Mapping) else data
    return {**DEFAULTS, "noise": usual_noise(data_class(name, plugins), asked=True)["name"]}


def data_class(name: Any, plugins: Plugins) -> type[DataSource]:
    """Return the class of the data set with this name; `DataSource` for a user's own data."""
    try:
        found = plugins.find("data", name)[0] if isinstance(name, str) else DataSource
    except SddError:  # `module:function`, or an unknown name, which `Plugins.make` reports
        return DataSource
    return cast(type[DataSource], found)


class _UserObject(NamedTuple):
    """The plugins that wrap a user's own object: a Python value, or `module:function`."""

    given: type[GivenModel] | type[GivenData]
    imported: type[ImportedModel] | type[ImportedData]


_USER_OBJECTS = {
    "model": _UserObject(GivenModel, ImportedModel),
    "data": _UserObject(GivenData, ImportedData),
}


@dataclass(frozen=True)
class Choice(BeforeValidator):
    """Marks a field that takes a plugin and validates its value. kind: the plugin's kind."""

    kind: str = ""


def chosen(kind: str) -> Choice:
    """Return the mark of a field that takes a plugin of a kind; `resolve` lists the forms."""
    return Choice(lambda value, info: resolve(kind, value, info), kind=kind)


def resolve(kind: str, value: Any, info: ValidationInfo) -> Plugin | None:
    """Return the plugin that a field's value stands for.

        Imp(fraction=0.3)                   the plugin itself
        "imp", "sdd-other:imp"              its name, after its package if two have that name
        "torchvision:resnet50"              a name with its shorthand option (`Plugin.shorthand`)
        {"name": "imp", "fraction": 0.3}    its name and options
        {"fraction": 0.3}                   options of the field's default plugin
        "package.module:function"           a user's own model or data, also with arguments in a
                                            table
        network, Dataset, (train, test)     a user's own model or data, in Python
        None                                no plugin, if the field has no default

    `sdd_core.sweeps.settings` expands lists of these values before. Raises ValueError and SddError.
    """
    default = DEFAULTS.get(info.field_name or "")
    plugins = (info.context or {}).get("plugins") or load_plugins()
    if value is None and default is None and kind != "noise":
        return None
    if isinstance(value, Plugin):
        return plugins.complete(value)
    if kind in _USER_OBJECTS and not isinstance(value, str | Mapping):
        return _USER_OBJECTS[kind].given.of(value)
    table = {"name": value} if isinstance(value, str) else value
    if isinstance(table, Mapping) and "name" not in table:
        table = {**_default_table(kind, default, table, info), **table}
    if (made := _user_object(kind, table, plugins, info)) is not None:
        return made
    try:
        return plugins.make(kind, table)
    except SddError as error:
        raise ValueError(str(error)) from None


def _default_table(
    kind: str, default: str | None, table: Mapping[str, Any], info: ValidationInfo
) -> dict[str, Any]:
    """Return the table of the plugin that options without a name belong to."""
    if kind == "noise":
        data = info.data.get("data", DataSource)  # missing if it is invalid itself
        return usual_noise(data, asked=bool(table))
    return {} if default is None else {"name": default}


def _user_object(kind: str, table: Any, plugins: Plugins, info: ValidationInfo) -> Plugin | None:
    """Return the plugin for a user's own model or data that a table names; None if it names an
    installed plugin."""
    name = table.get("name") if isinstance(table, Mapping) else None
    if kind not in _USER_OBJECTS or not isinstance(name, str) or ":" not in name:
        return None
    prefix, _, rest = name.partition(":")
    options = {key: option for key, option in table.items() if key != "name"}
    if prefix == "given":  # from a run's record, which does not hold the value itself
        return _USER_OBJECTS[kind].given.model_validate({**options, "what": rest})
    if prefix in {kind, *plugins.shorthands(kind), *(row.distribution for row in plugins.rows)}:
        return None
    importing = not (info.context or {}).get("recorded")
    return _USER_OBJECTS[kind].imported.named(name, options, importing=importing)
