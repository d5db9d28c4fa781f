"""Settings as text: in a TOML file and on a command line, and errors in them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdd_core.errors import SddError
from sdd_core.files.reading import LARGEST_SETTINGS, read_bytes


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in an experiment file. Raises SddError if it cannot be read."""
    try:
        content = read_bytes(path, LARGEST_SETTINGS)
    except FileNotFoundError:
        raise SddError(f"cannot read experiment file {path}: there is no such file") from None
    return parse_toml(content, path)


def parse_toml(content: bytes, path: Path) -> dict[str, Any]:
    """Return the settings in the content of an experiment file. Raises SddError if it is invalid.
    """
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SddError(f"cannot read experiment file {path}: {error}") from None
    except (ValueError, RecursionError) as error:  # also limits of Python: nesting, long integers
        raise SddError(f"experiment file {path} is not valid TOML: {error}") from None


def override(settings: Mapping[str, Any], changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the settings with dotted fields changed, such as `("train.epochs", 30)`. Choosing
    another plugin for a section drops the options of the previous one."""
    merged = dict(settings)
    # Names first: `pruner.batches=4` is an option of the pruner chosen in the same call.
    for field, value in sorted(changes, key=lambda one: (not one[0].endswith(".name"),
                                                         one[0].count("."))):
        section, _, option = field.partition(".")
        merged[section] = (
            _changed(section, merged.get(section, {}), option, value) if option else value
        )
    return merged


def _changed(field: str, value: Any, option: str, new: Any) -> dict[str, Any]:
    """Return a section, or an option that is a plugin, with an option set. Raises SddError if it
    is neither a name nor a table."""
    if not isinstance(value, str | Mapping):
        raise SddError(f"{field}: expected a name or a table of settings in which to set "
                       f"{field}.{option}, got {_brief(value)}")
    table = {"name": value} if isinstance(value, str) else dict(value)
    first, _, rest = option.partition(".")
    if first == "name" and table.get("name", new) != new:
        return {"name": new}
    before = table.get(first, {})
    if rest:
        return {**table, first: _changed(f"{field}.{first}", before, rest, new)}
    # Choosing the same plugin again keeps its options.
    same = isinstance(before, Mapping) and before.get("name") == new
    return table if same else {**table, first: new}


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_value(text: str) -> Any:
    """Parse a value from the command line: as TOML if it is valid TOML, else as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def first_error(error: ValidationError) -> str:
    """Return a one-line message about the first unknown or invalid field."""
    # Defaults made from other fields fail when those fields are invalid; that is not the cause.
    errors = [one for one in error.errors() if one["type"] != "default_factory_not_called"]
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list, such as [1, 2]")
    if first["type"] == "extra_forbidden":
        what = "there is no such setting; `sdd show` and `sdd run --help` list all settings"
    if first["type"] == "missing":
        what = "is required"
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
    """Return every setting under its dotted name. sections: the ones that name a plugin."""
    fields: dict[str, Any] = {}
    for name, value in nested.items():
        field = before + name
        if isinstance(value, Mapping):
            fields |= dotted(value, sections, f"{field}.")
            if before and "name" in value:  # an option that is a plugin is one setting
                fields[field] = fields.pop(f"{field}.name")
        elif isinstance(value, list):
            fields[field] = ",".join(str(one["name"] if isinstance(one, Mapping) else one)
                                     for one in value)
        else:
            # A section without a plugin has no options, only the name None.
            fields[f"{field}.name" if field in sections else field] = value
    return fields
