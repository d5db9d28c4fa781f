"""The base class of all plugins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializationInfo,
    model_serializer,
)

from sdd_core.output.brief import Text, brief

Fraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class AddedLater:
    """Marks an option that a later version added: `Annotated[int | None, AddedLater()]`.

    At its default the option does not enter level keys, so levels trained before it existed are
    reused. The default must therefore mean the earlier behaviour.
    """


FOR_KEYS = {"for keys": True}
"""The pydantic context for dumping a value from which a key is computed."""


class Frozen(BaseModel):
    """A validated, immutable value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _written(self, handler: Any, info: SerializationInfo) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if info.context == FOR_KEYS:
            for name, option in type(self).model_fields.items():
                added = any(isinstance(mark, AddedLater) for mark in option.metadata)
                if added and getattr(self, name) == option.get_default(call_default_factory=True):
                    fields.pop(name, None)
        return fields

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, Text(brief(value))

    def __str__(self) -> str:
        return repr(self)


class Plugin(Frozen):
    """The base class of all kinds of plugins.

    kind, hook, title: the kind's name in commands, the hook that returns its classes, and the title
        of its page in the docs. The base class of each kind sets them.
    noun: the kind's name in messages, if that is not `kind`.
    name: the name that users type and records hold. Never rename a plugin or reuse its name.
    revision: increase it when the same options give other results than before. Levels of an
        earlier revision are then trained again instead of being reused.
    source: the paper that describes the method, with the equation or section.
    shorthand: the option that the text after a colon sets: `torchvision:resnet50` is the plugin
        `torchvision` with its shorthand option set to `resnet50`. Records use this form too.
    """

    kind: ClassVar[str]
    hook: ClassVar[str]
    title: ClassVar[str]
    noun: ClassVar[str] = ""
    name: ClassVar[str]
    revision: ClassVar[int] = 1
    source: ClassVar[str] = ""
    shorthand: ClassVar[str | None] = None

    # `distribution:name`, which files use if another package has a plugin with this name.
    _full_name: str = PrivateAttr(default="")

    @model_serializer(mode="wrap")
    def _written(self, handler: Any, info: SerializationInfo) -> dict[str, Any]:
        fields = Frozen._written(self, handler, info)
        name = self._full_name or self.name
        if self.shorthand and (option := fields.pop(self.shorthand)) is not None:
            name = f"{name}:{option}"
        return {"name": name, **fields}


def article(noun: str) -> str:
    """Return a noun with its article: a pruner, an optimizer."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def noun(plugin: Plugin | type[Plugin]) -> str:
    """Return the name of a plugin's kind in messages."""
    return plugin.noun or plugin.kind


def label(plugin: Plugin) -> str:
    """Return a plugin's name as a user writes it; for an imported model this is its path."""
    return str(plugin.model_dump()["name"])
