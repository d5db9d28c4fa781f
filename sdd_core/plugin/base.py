"""What all plugins have in common."""

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
    """Marks an option that was not there from the beginning, `Annotated[int | None, AddedLater()]`.

    At its default it does not enter keys: levels that were trained before there was the option are
    found again. The default must mean what was done before.
    """


FOR_KEYS = {"for keys": True}
"""The context in which a value is dumped that a key is made of."""


class Frozen(BaseModel):
    """A validated value: unknown fields are refused, nothing can be changed afterwards."""

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
    """What all kinds have in common.

    kind, hook, title: what commands call the kind, the hook that returns its classes, and the title
        of its page in the docs. The kind's own class sets them. noun: what messages call a plugin
        of it, where that is not `kind`.
    name: what users type and what records hold. Never renamed, never taken over.
    revision: raise it when the same options no longer give the same results: levels that an
        earlier revision made are then trained again instead of being reused.
    source: the paper the method comes from, with the equation or section.
    shorthand: the option that what follows a colon sets: `torchvision:resnet50` is the plugin
        `torchvision` with its shorthand option at `resnet50`. Such plugins are named so in records.
    """

    kind: ClassVar[str]
    hook: ClassVar[str]
    title: ClassVar[str]
    noun: ClassVar[str] = ""
    name: ClassVar[str]
    revision: ClassVar[int] = 1
    source: ClassVar[str] = ""
    shorthand: ClassVar[str | None] = None

    # What a file has to call it where another package has a plugin of its name.
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
    """Return what messages call a plugin of this kind."""
    return plugin.noun or plugin.kind


def label(plugin: Plugin) -> str:
    """A plugin's name as a user wrote it; that of an imported model is its path."""
    return str(plugin.model_dump()["name"])
