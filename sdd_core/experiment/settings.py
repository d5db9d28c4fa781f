"""Settings as text: in a TOML file, on a command line, and what is wrong with them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
)

from sdd_core.errors import SddError
from sdd_core.files.reading import LARGEST_SETTINGS, read_bytes


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in an experiment file. Raises SddError when it cannot be read."""
    try:
        content = read_bytes(path, LARGEST_SETTINGS)
    except FileNotFoundError:
        raise SddError(f"cannot read experiment file {path}: there is no such file") from None
    return parse_toml(content, path)


def parse_toml(content: bytes, path: Path) -> dict[str, Any]:
    """The settings in the content of an experiment file. Raises SddError when there are none."""
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SddError(f"cannot read experiment file {path}: {error}") from None
    except (ValueError, RecursionError) as error:  # of Python itself: nested too deep, too long
        raise SddError(f"experiment file {path} is not valid TOML: {error}") from None


def override(settings: Mapping[str, Any], changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Settings with dotted fields set, `("train.epochs", 30)`. Choosing another plugin for a
    section drops the options of the one before, which are not its own."""
    merged = dict(settings)
    # Names first: `pruner.batches=4` belongs to the pruner that is chosen beside it.
    for field, value in sorted(changes, key=lambda one: (not one[0].endswith(".name"),
                                                         one[0].count("."))):
        section, _, option = field.partition(".")
        merged[section] = (
            _changed(section, merged.get(section, {}), option, value) if option else value
        )
    return merged


def _changed(field: str, value: Any, option: str, new: Any) -> dict[str, Any]:
    """A section, or an option that is a plugin, with an option set. Raises SddError: it is neither
    a name nor a table."""
    if not isinstance(value, str | Mapping):
        raise SddError(f"{field}: expected a name or a table of settings, to set {field}.{option} "
                       f"in, got {_brief(value)}")
    table = {"name": value} if isinstance(value, str) else dict(value)
    first, _, rest = option.partition(".")
    if first == "name" and table.get("name", new) != new:
        return {"name": new}
    before = table.get(first, {})
    if rest:
        return {**table, first: _changed(f"{field}.{first}", before, rest, new)}
    # Choosing an option's plugin once more leaves that plugin's own options as they are.
    same = isinstance(before, Mapping) and before.get("name") == new
    return table if same else {**table, first: new}


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_value(text: str) -> Any:
    """What a value on the command line means: TOML where it is TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def first_error(error: ValidationError) -> str:
    """What is wrong with settings, in one line: the first field that is unknown or impossible."""
    # A default that is made from other fields cannot be made when those are wrong.
    errors = [one for one in error.errors() if one["type"] != "default_factory_not_called"]
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list, such as [1, 2]")
    if first["type"] == "extra_forbidden":
        what = "there is no such setting; `sdd show` and `sdd run --help` list what there is"
    if first["type"] == "missing":
        what = "has to be given"
    said_already = first["type"] in {"value_error", "extra_forbidden", "missing"}
    got = "" if said_already else f" (got {first['input']!r})"
    more = len(errors) - 1
    also = f" (and {more} more)" if more else ""
    return (f"{field}: " if field else "") + what[:1].lower() + what[1:] + got + also


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return value


def dotted(
    nested: Mapping[str, Any], sections: Collection[str], before: str = ""
) -> dict[str, Any]:
    """Return every setting under its dotted name. sections: those that name a plugin."""
    fields: dict[str, Any] = {}
    for name, value in nested.items():
        field = before + name
        if isinstance(value, Mapping):
            fields |= dotted(value, sections, f"{field}.")
            if before and "name" in value:  # with options or without them, one setting
                fields[field] = fields.pop(f"{field}.name")
        elif isinstance(value, list):
            fields[field] = ",".join(str(one["name"] if isinstance(one, Mapping) else one)
                                     for one in value)
        else:
            # A section without a plugin has no options, and its name is what is missing.
            fields[f"{field}.name" if field in sections else field] = value
    return fields
