"""Look plugins up by kind and name, and make them from settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from sdd_core.errors import SddError, did_you_mean
from sdd_core.installation import DISTRIBUTION
from sdd_core.plugin.base import article, noun
from sdd_core.plugin.kinds import KINDS, Metric, Plugin
from sdd_core.plugin.options import plugin_fields

Status = Literal["ok", "blocked", "incompatible", "failed"]


@dataclass(frozen=True)
class PluginRecord:
    """A plugin as `sdd list-plugins` shows it.

    entry_point: the name of its entry point.
    status: 'ok', 'blocked' (by the user), 'incompatible' (made for other versions of the hooks)
        or 'failed'. reason: why it is not 'ok'.
    """

    kind: str
    name: str
    description: str
    distribution: str
    version: str
    entry_point: str
    status: Status = "ok"
    reason: str = ""
    plugin: type[Plugin] | None = None

    @property
    def noun(self) -> str:
        """The name of its kind in messages."""
        return noun(KINDS[self.kind]) if self.kind in KINDS else self.kind


class Registry:
    """The plugins by kind and name. rows: one record for each, including those that failed."""

    def __init__(self) -> None:
        self.rows: list[PluginRecord] = []

    def named(self, name: str) -> list[PluginRecord]:
        """Return the rows, of any kind, for `name`, `kind:name` or `distribution:name`."""
        return [row for row in self.rows if row.plugin and name in _spellings(row)]

    def get(self, kind: str, name: str) -> type[Plugin]:
        """Return the plugin class `name` of `kind`; `distribution:name` always works.

        If several distributions have a plugin of this name, the bare name means the built-in one,
        and is an error if none of them is built in.

        Raises SddError if the plugin is unknown (with the nearest names), blocked, failed or
        ambiguous.
        """
        name = name.removeprefix(f"{kind}:")
        rows = [r for r in self.rows if r.kind == kind and r.plugin]
        exact = [r for r in rows if f"{r.distribution}:{r.name}" == name]
        bare = [r for r in rows if r.name == name]
        if exact:
            return exact[0].plugin  # type: ignore[return-value]
        if len(bare) > 1 and bare[0].distribution != DISTRIBUTION:
            choices = " or ".join(f"{r.distribution}:{r.name}" for r in bare)
            raise SddError(f"{noun(KINDS[kind])} {name!r} comes from {len(bare)} packages; use "
                           f"{choices}")
        if bare:
            return bare[0].plugin  # type: ignore[return-value]
        why = next(
            (f"; {r.name!r} of {r.distribution} is {r.status}: {r.reason}"
             for r in self.rows
             if r.status != "ok" and name in {r.name, r.entry_point, f"{r.distribution}:{r.name}"}),
            "",
        )
        if not why:
            # The names of a plugin that was not loaded are unknown, so list all of them.
            absent = [f"{r.distribution}:{r.entry_point} ({r.status})" for r in self.rows
                      if r.status != "ok" and not r.kind]
            why = f"; not loaded: {', '.join(absent)}" if absent else ""
        names = sorted({r.name for r in rows})
        alike = [one for one in names if one.lower() == name.lower()]
        hint = did_you_mean(name, names) or f"available: {', '.join(names)}"
        if alike:
            hint = f"did you mean {' or '.join(alike)}?"
        if not names:
            hint = "none is installed"
        raise SddError(f"unknown {noun(KINDS[kind])} {name!r}; {hint}{why}")

    def find(self, kind: str, name: str) -> tuple[type[Plugin], dict[str, Any]]:
        """Return the plugin class for a name, and the option set by the text after a colon, if the
        class has a shorthand. Raises SddError as `get` does."""
        prefix, _, rest = name.partition(":")
        if rest and prefix in self.shorthands(kind):
            plugin = self.get(kind, prefix)
            return plugin, {str(plugin.shorthand): rest}
        return self.get(kind, name), {}

    def make(self, kind: str, value: Any) -> Plugin:
        """Return the plugin for a name, or for a table of its name and options.

        Raises SddError as `get` does, ValueError for any other value, and pydantic's
        ValidationError for invalid options.
        """
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
            raise ValueError(f"expected {article(noun(KINDS[kind]))}'s name, or a table with "
                             f"`name` and its options{self._got(kind, value)}")
        plugin, option = self.find(kind, table["name"])
        options = {key: value for key, value in table.items() if key != "name"}
        made = plugin.model_validate({**options, **option})
        if (full := self.spelling(plugin)) != plugin.name:
            made._full_name = full
        return self.complete(made)

    def _got(self, kind: str, value: Any) -> str:
        """Return the end of an error message: the class or object that was passed instead of a
        plugin, and similar names; '' for plain values."""
        if isinstance(value, Mapping | list | tuple | int | float | None):
            return ""
        cls = value if isinstance(value, type) else type(value)
        got = f", got {'the class' if value is cls else 'an object of'} {cls.__name__}"
        names = {name.lower(): name for name in self.names(kind)}
        name = str(getattr(cls, "name", cls.__name__)).lower()
        hint = f"did you mean {names[name]!r}?" if name in names else did_you_mean(name, names)
        return f"{got}; {hint}" if hint else got

    def complete(self, plugin: Plugin) -> Plugin:
        """Return the plugin with the plugins that its options name. A table without a name sets
        options of the default plugin. Raises ValidationError."""
        made: dict[str, Plugin] = {}
        for option, kind in plugin_fields(type(plugin)).items():
            value, default = getattr(plugin, option), type(plugin).model_fields[option].default
            if isinstance(value, Mapping) and isinstance(default, str):
                value = {"name": default, **value}
            if isinstance(value, str | Mapping):
                with at(option, value):
                    made[option] = self.make(kind, value)
        return plugin.model_copy(update=made) if made else plugin

    def shorthands(self, kind: str) -> set[str]:
        """Return the names of the usable plugins of a kind that accept an option after a colon."""
        return {r.name for r in self.rows
                if r.kind == kind and r.status == "ok" and r.plugin and r.plugin.shorthand}

    def default_metrics(self) -> tuple[Metric, ...]:
        """Return every usable metric, built-in ones first, except those with `default = False` or
        with required options."""
        classes = [r.plugin for r in self.rows if r.kind == "metric" and r.status == "ok"]
        return tuple(
            plugin()  # type: ignore[misc]
            for plugin in classes
            if plugin and plugin.default  # type: ignore[attr-defined]
            and not any(info.is_required() for info in plugin.model_fields.values())
        )

    def names(self, kind: str) -> list[str]:
        """Return the names of the usable plugins of a kind."""
        return sorted({r.name for r in self.rows if r.kind == kind and r.status == "ok"})

    def spelling(self, plugin: type[Plugin]) -> str:
        """Return the name by which `get` finds a plugin class: its name, or `distribution:name` if
        the bare name is ambiguous or means another plugin."""
        same = [r for r in self.rows if r.plugin and (r.kind, r.name) == (plugin.kind, plugin.name)]
        row = next((r for r in same if r.plugin is plugin), None)
        if row is None or len(same) == 1 or (row.status, row.distribution) == ("ok", DISTRIBUTION):
            return plugin.name
        return f"{row.distribution}:{row.name}"

    def origin(self, plugin: type[Plugin]) -> dict[str, str]:
        """Return the distribution and version of a plugin class, for records."""
        row = next((r for r in self.rows if r.plugin is plugin), None)
        if row is None:
            return {"distribution": plugin.__module__, "version": "?"}
        return {"distribution": row.distribution, "version": row.version}


@contextmanager
def at(option: str, value: Any) -> Iterator[None]:
    """Report errors of the plugin that is the value of an option as errors of that option."""
    try:
        yield
    except (SddError, ValueError) as error:
        wrong: Sequence[Any] = [{"loc": (), "msg": str(error)}]
        if isinstance(error, ValidationError):
            wrong = error.errors()
        raise ValidationError.from_exception_data(option, [
            InitErrorDetails(
                type=PydanticCustomError(one.get("type", "value_error"), "{m}", {"m": one["msg"]}),
                loc=(option, *one["loc"]),
                input=one.get("input", value),
            )
            for one in wrong
        ]) from None


def _spellings(row: PluginRecord) -> set[str]:
    return {row.name, f"{row.kind}:{row.name}", f"{row.distribution}:{row.name}"}
