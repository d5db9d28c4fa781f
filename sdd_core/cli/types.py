"""Name the types of options for help and completion."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

from sdd_core.plugin.kinds import Plugin


def type_name(annotation: Any) -> str:
    """Return the readable name of a field's type: `integer`, `number`, `text`, `text list`, ..."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in {typing.Union, types.UnionType}:
        names = [type_name(one) for one in arguments if one is not type(None)]
        return " or ".join(dict.fromkeys(names))
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    if origin in {tuple, list}:
        return f"{type_name(arguments[0])} list"
    if isinstance(annotation, type) and issubclass(annotation, Plugin):
        return annotation.kind
    plain = {int: "integer", float: "number", bool: "boolean", str: "text", Path: "path"}
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())
