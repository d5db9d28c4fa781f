"""The kinds of plugins that are options: of training, or of another plugin.

An option that takes a plugin, `pruner.scope`, takes its name, or a table of its name and options;
in an experiment it holds the plugin itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class PluginRef:
    """Marks an option that takes a plugin of a kind: its name, a table or the plugin itself, or
    else what `plain` is the type of.

    Names become plugins in an experiment: only there is it known which plugins there are. Written
    down is a name alone, where all options of the plugin are as they are by default.
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
            raise ValueError(f"expected a plugin of the kind {self.kind}, got the {value.kind} "
                             f"{value.name!r}")
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
    """The options of a plugin, or of training, that take a plugin, and the kind each takes."""
    return {
        name: mark.kind
        for name, info in model.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, PluginRef)
    }
