"""Checks of every plugin: a name, descriptions, and options that a file can hold."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from sdd_core.plugin.checks import plugin_fault
from sdd_core.testing.call import Check, fault, with_options

HUGE = 10**30


def checks(plugin: Any) -> list[Check]:
    """Return the checks of any plugin."""
    return Check.all(named, documented, bounded, written, about=(plugin,))


def named(plugin: Any) -> None:
    """A name that users can type, and a docstring whose first line describes it."""
    wrong = plugin_fault(type(plugin), plugin.kind)
    if wrong:
        raise fault(plugin, wrong)
    if not inspect.cleandoc(vars(type(plugin)).get("__doc__") or "").split("\n")[0].strip():
        raise fault(plugin, "has no docstring, whose first line `sdd list-plugins` shows")
    revision = plugin.revision
    if not isinstance(revision, int) or revision < 1:
        raise fault(plugin, f"has revision {revision!r}; expected a whole number from 1")


def documented(plugin: Any) -> None:
    """Every option has a type and a description."""
    properties = _properties(plugin)
    for option, info in type(plugin).model_fields.items():
        if not (info.description or "").strip():
            raise fault(plugin, f"option {option!r} has no description; give "
                                "Field(..., description=...)")
        if not properties[option].keys() & {"type", "anyOf", "enum", "const", "$ref", "allOf",
                                            "oneOf"}:
            raise fault(plugin, f"option {option!r} accepts anything; give it a type")


def bounded(plugin: Any) -> None:
    """Unknown options and impossible values are refused, and options cannot be changed later."""
    # 'allow' is for plugins that pass options on; the receiver may refuse them.
    if plugin.model_config.get("extra") == "ignore":
        raise fault(plugin, "ignores unknown options; keep extra='forbid'")
    if not plugin.model_config.get("frozen"):
        raise fault(plugin, "can be changed after it was made; keep frozen=True")
    for option, info in type(plugin).model_fields.items():
        default = info.get_default(call_default_factory=False)
        if not info.is_required() and info.default_factory is None and not _accepts(
            plugin, {option: default}
        ):
            raise fault(plugin, f"option {option!r} has the default {default!r}, which its own "
                                "bounds refuse")
    for option, schema in _properties(plugin).items():
        for number, several in _numbers(schema):
            outside = [[value] if several else value for value in _outside(number)]
            for value in outside:
                if _accepts(plugin, {option: value}):
                    raise fault(plugin, f"option {option!r} accepts {value!r}, outside its bounds")
            ends = [[end] if several else end for end in (-HUGE, HUGE)]
            if all(_accepts(plugin, {option: end}) for end in ends):
                raise fault(plugin, f"option {option!r} accepts every number; give it bounds, "
                                    "Field(..., ge=..., le=...)")
            if number["type"] == "number":
                for value in (float("nan"), float("inf")):
                    if _accepts(plugin, {option: [value] if several else value}):
                        raise fault(plugin, f"option {option!r} accepts {value}; give its field "
                                            "allow_inf_nan=False")


def written(plugin: Any) -> None:
    """Its options survive a TOML file and JSON."""
    for options in _settings(plugin):
        try:
            made = type(plugin).model_validate(options)
        except ValidationError:
            continue  # impossible combinations of options
        _round_trip(plugin, made)


def _round_trip(plugin: Any, made: Any) -> None:
    try:
        dumped = _without_none(made.model_dump(mode="json"))
        text = json.dumps(dumped, allow_nan=False)
        read = tomllib.loads(tomli_w.dumps(dumped))
    except Exception as error:
        raise fault(plugin, "has an option that no experiment file can hold; use numbers, text, "
                            f"booleans, lists or tables of them: {error}") from error
    for where, value in (("TOML", read), ("JSON", json.loads(text))):
        _, colon, rest = value.pop("name").partition(":")
        if plugin.shorthand and colon:
            value[plugin.shorthand] = rest
        try:
            back = type(plugin).model_validate(value)
        except ValidationError as error:
            raise fault(plugin, f"does not accept its options as {where} has them: "
                                f"{error.errors()[0]['msg']}") from error
        for option in type(plugin).model_fields:
            if getattr(back, option) != getattr(made, option):
                raise fault(plugin, f"option {option!r} = {getattr(made, option)!r} comes back "
                                    f"from {where} as {getattr(back, option)!r}")


def _settings(plugin: Any) -> Iterator[dict[str, Any]]:
    """Yield the plugin's options, and variants with one other value."""
    given = {name: getattr(plugin, name) for name in plugin.model_fields_set}
    yield given
    for option, schema in _properties(plugin).items():
        for value in _values(schema):
            yield {**given, option: value}


def _values(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield some values that a JSON schema allows."""
    for part in (schema, *schema.get("anyOf", ())):
        yield from part.get("enum", ())
        kind = part.get("type")
        if kind == "boolean":
            yield from (False, True)
        elif kind == "null":
            yield None
        elif kind in {"integer", "number"}:
            yield from _inside(part)
        elif kind == "array":
            yield from ([value] for value in _values(part.get("items", {})))
        elif kind == "object":
            values = part.get("additionalProperties")
            if isinstance(values, Mapping):
                yield from ({"1": value} for value in _values(values))


def _inside(number: Mapping[str, Any]) -> list[float]:
    low = number.get("minimum", number.get("exclusiveMinimum"))
    high = number.get("maximum", number.get("exclusiveMaximum"))
    if low is None and high is None:
        return [1]
    if low is None or high is None:
        return [low + 1 if high is None else high - 1]
    return [(low + high) // 2 if number["type"] == "integer" else low + (high - low) / 4]


def _outside(number: Mapping[str, Any]) -> list[float]:
    """Return values just outside the bounds in a JSON schema of a number."""
    beyond = {"minimum": -1, "exclusiveMinimum": 0, "maximum": 1, "exclusiveMaximum": 0}
    return [number[bound] + step for bound, step in beyond.items() if bound in number]


def _numbers(schema: Mapping[str, Any], several: bool = False) -> Iterator[tuple[Any, bool]]:
    """Yield the schemas of numbers in an option's schema, and whether they are in a list."""
    if schema.get("type") in {"integer", "number"} and "enum" not in schema:
        yield schema, several
    for part in schema.get("anyOf", ()):
        # Each alternative, such as a list or a single number, is checked on its own.
        yield from _numbers(part, several)
    if schema.get("type") == "array" and not several:
        yield from _numbers(schema.get("items", {}), True)


def _properties(plugin: Any) -> dict[str, Any]:
    try:
        return dict(type(plugin).model_json_schema().get("properties", {}))
    except Exception as error:
        raise fault(plugin, "has an option that no experiment file can hold; use numbers, text, "
                            f"booleans, lists or tables of them: {error}") from error


def _accepts(plugin: BaseModel, options: dict[str, Any]) -> bool:
    try:
        with_options(plugin, **options)
    except ValidationError:
        return False
    return True


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


