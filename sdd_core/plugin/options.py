"""Options that are plugins, of training or of another plugin.

Such an option, for example `pruner.scope`, accepts a plugin's name, or a table of its name and
options. In an experiment it holds the plugin itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

from sdd_core.plugin.base import Plugin


@dataclass(frozen=True)
class PluginRef:
    """Marks an option that accepts a plugin of `kind` (its name, a table, or the plugin itself), or
    a value of the type `plain`.

    An experiment replaces names by plugins, because it knows the installed ones. A plugin whose
    options all have their defaults is serialised as its name.
    """

    kind: str
    plain: Any = str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            handler.generate_schema(self.plain),
            serialization=core_schema.plain_serializer_function_ser_schema(_brief, info_arg=True),
        )

    def _validate(self, value: Any, plain: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, Plugin) and value.kind != self.kind:
            raise ValueError(f"expected a plugin of kind {self.kind!r}, got {value.name!r} of kind "
                             f"{value.kind!r}")
        return value if isinstance(value, Plugin | str | Mapping) else plain(value)


def _brief(value: Any, info: SerializationInfo) -> Any:
    if not isinstance(value, Plugin):
        return value
    table = value.model_dump(mode=info.mode, context=info.context)
    usual = all(
        getattr(value, name) == option.get_default(call_default_factory=True)
        for name, option in type(value).model_fields.items()
    )
    return table["name"] if usual else table


def plugin_fields(model: type[BaseModel]) -> dict[str, str]:
    """Return the options of a plugin, or of training, that are plugins, with the kind of each."""
    return {
        name: mark.kind
        for name, info in model.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, PluginRef)
    }
