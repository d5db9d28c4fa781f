"""Finds plugins, checks them one by one, and keeps those that fail apart from those that work."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

import pluggy
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from sdd_core.errors import FAILURES, SddError, did_you_mean, said
from sdd_core.installation import DISTRIBUTION
from sdd_core.output.notices import warn
from sdd_core.plugin import hookspecs
from sdd_core.plugin.base import article
from sdd_core.plugin.checks import incompatible, plugin_fault, read_title, refuse_wrappers
from sdd_core.plugin.kinds import KINDS, Metric, Plugin
from sdd_core.plugin.options import taken

GROUP = "sdd"
BLOCK_VARIABLE = "SDD_NO_PLUGIN"

REGISTRATION_HOOKS = {kind.hook: name for name, kind in KINDS.items()}
RECIPES = "sdd_recipes"


Status = Literal["ok", "blocked", "incompatible", "failed"]


@dataclass(frozen=True)
class Row:
    """A plugin as `sdd list-plugins` shows it.

    entry_point: the name under which its distribution announces it.
    status: 'ok', 'blocked' (by the user), 'incompatible' (made for other versions of the hooks)
        or 'failed'; `reason` says why it is not 'ok'.
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


class Plugins:
    """The plugins that are there, by kind and name."""

    def __init__(self, blocked: Iterable[str] = ()) -> None:
        self.hooks = pluggy.PluginManager("sdd")
        self.hooks.add_hookspecs(hookspecs)
        self.rows: list[Row] = []
        self.recipe_files: list[Path] = []
        self.blocked = tuple(sorted(blocked))
        self._blocked = set(self.blocked)
        self._unused_blocks = set(self._blocked)

    def __repr__(self) -> str:
        states = Counter(row.status for row in self.rows)
        return f"<Plugins: {', '.join(f'{count} {state}' for state, count in states.items())}>"

    def load(self, found: Iterable[EntryPoint]) -> None:
        """Load entry points, each on its own. This distribution's come first, the others in
        order of their distribution's and their own name, so that nothing depends on the order
        in which they were installed."""
        for entry_point in sorted(found, key=_load_order):
            dist = entry_point.dist
            origin = (dist.name if dist else "?", dist.version if dist else "?", entry_point.name)
            if entry_point.name in self._blocked or f"{origin[0]}:{origin[2]}" in self._blocked:
                self._unused_blocks -= {entry_point.name, f"{origin[0]}:{origin[2]}"}
                self._add("", entry_point.name, "", origin, "blocked", "blocked by the user")
                continue
            if reason := incompatible(entry_point.module):
                self._add("", entry_point.name, "", origin, "incompatible", reason)
                continue
            try:
                module = entry_point.load()
            except FAILURES as error:
                reason = f"import failed: {said(error)}"
                self._add("", entry_point.name, "", origin, "failed", reason)
                continue
            self.register(module, *origin)

    def register(self, module: object, distribution: str, version: str, entry_point: str) -> None:
        """Take in a module of hook implementations and the plugin classes it returns."""
        origin = (distribution, version, entry_point)
        identity = f"{distribution}:{entry_point}"
        if self.hooks.has_plugin(identity):
            reason = f"{distribution} announces {entry_point!r} twice"
            self._add("", entry_point, "", origin, "failed", reason)
            return
        try:
            self.hooks.register(module, name=identity)
            self.hooks.check_pending()
            refuse_wrappers(self.hooks, module)
        except Exception as error:  # PluginValidationError, and what a strange object may raise
            if self.hooks.has_plugin(identity):
                self.hooks.unregister(name=identity)
            self._add("", entry_point, "", origin, "failed", said(error))
            return
        implemented = {caller.name: caller for caller in self.hooks.get_hookcallers(module) or []}
        for hook in sorted(implemented.keys() & REGISTRATION_HOOKS.keys()):
            function = next(
                impl.function for impl in implemented[hook].get_hookimpls() if impl.plugin is module
            )
            self._take_classes(REGISTRATION_HOOKS[hook], hook, function, origin)
        if RECIPES in implemented:
            self._take_recipes(module, origin)
        if implemented.keys() - REGISTRATION_HOOKS.keys() - {RECIPES}:
            self._add("observer", entry_point, _first_line(module), origin)
        if not implemented:
            reason = "has no hook of sdd's; mark its functions with sdd_core.hookimpl"
            self._add("", entry_point, "", origin, "failed", reason)

    def _take_classes(
        self, kind: str, hook: str, function: Any, origin: tuple[str, str, str]
    ) -> None:
        try:
            classes = list(function())
        except FAILURES as error:
            self._add(kind, origin[2], "", origin, "failed", f"{hook} failed: {said(error)}")
            return
        for plugin in classes:
            fault = plugin_fault(plugin, kind)
            name = str(getattr(plugin, "name", None) or getattr(plugin, "__name__", repr(plugin)))
            spellings = {name, f"{kind}:{name}", f"{origin[0]}:{name}"}
            if fault:
                self._add(kind, str(name), "", origin, "failed", f"{hook}: {fault}")
            elif spellings & self._blocked:
                self._unused_blocks -= spellings
                self._add(kind, name, _first_line(plugin), origin, "blocked", "blocked by the user")
            else:
                taken = next(
                    (r for r in self.rows if (r.kind, r.name, r.status) == (kind, name, "ok")), None
                )
                self._add(kind, name, _first_line(plugin), origin, plugin=plugin)
                if taken:
                    reason = (
                        f"the name {name!r} is taken by {taken.distribution}; "
                        f"ask for this one as {origin[0]}:{name}"
                    )
                    self.rows[-1] = Row(
                        **{**self.rows[-1].__dict__, "status": "failed", "reason": reason}
                    )

    def _take_recipes(self, module: Any, origin: tuple[str, str, str]) -> None:
        try:
            files = [Path(file) for file in module.sdd_recipes()]
        except Exception as error:
            self._add("recipe", origin[2], "", origin, "failed", f"{RECIPES} failed: {said(error)}")
            return
        for file in files:
            try:
                title = read_title(file)
            except SddError as error:
                self._add("recipe", file.stem, "", origin, "failed", str(error))
                continue
            self.recipe_files.append(file)
            if title is not None:
                self._add("recipe", file.stem, title, origin)

    def _add(
        self,
        kind: str,
        name: str,
        description: str,
        origin: tuple[str, str, str],
        status: Status = "ok",
        reason: str = "",
        plugin: type[Plugin] | None = None,
    ) -> None:
        distribution, version, entry_point = origin
        row = Row(
            kind, name, description, distribution, version, entry_point, status, reason, plugin
        )
        self.rows.append(row)

    @property
    def problems(self) -> list[str]:
        """One line for each plugin that failed or is incompatible, and each block that named
        nothing."""
        failed = [
            f"plugin {row.name!r} of {row.distribution} {row.version}: {row.reason}"
            for row in self.rows
            if row.status in {"failed", "incompatible"}
        ]
        unused = [f"no plugin is called {name!r}, so none was blocked" for name in
                  sorted(self._unused_blocks)]
        return failed + unused

    def check_blocked(self, names: Iterable[str]) -> None:
        """Raises SddError, with the nearest names, for a name that is to be left out and that no
        plugin has."""
        for name in names:
            if name in self._unused_blocks:
                known = {one for row in self.rows for one in (row.name, row.entry_point)}
                hint = did_you_mean(name, known) or "`sdd list-plugins` lists them"
                raise SddError(f"no plugin is called {name!r}, so none can be left out; {hint}")

    def named(self, name: str) -> list[Row]:
        """Rows that `name`, or `kind:name`, or `distribution:name` means, of any kind."""
        return [row for row in self.rows if row.plugin and name in _spellings(row)]

    def get(self, kind: str, name: str) -> type[Plugin]:
        """The plugin class `name` of `kind`; `distribution:name` always works.

        Two strangers with one name: the first in order of distribution has the bare name, and
        only where this distribution's own plugins are not meant is it an error to use it.
        Raises SddError: unknown (with the nearest names), blocked, failed or ambiguous.
        """
        name = name.removeprefix(f"{kind}:")
        rows = [r for r in self.rows if r.kind == kind and r.plugin]
        exact = [r for r in rows if f"{r.distribution}:{r.name}" == name]
        bare = [r for r in rows if r.name == name]
        if exact:
            return exact[0].plugin  # type: ignore[return-value]
        if len(bare) > 1 and bare[0].distribution != DISTRIBUTION:
            choices = " or ".join(f"{r.distribution}:{r.name}" for r in bare)
            raise SddError(f"{kind} {name!r} comes from {len(bare)} packages; say {choices}")
        if bare:
            return bare[0].plugin  # type: ignore[return-value]
        why = next(
            (f"; {r.name!r} of {r.distribution} is {r.status}: {r.reason}"
             for r in self.rows
             if r.status != "ok" and name in {r.name, r.entry_point, f"{r.distribution}:{r.name}"}),
            "",
        )
        if not why:
            # A plugin that was not loaded cannot say which names it would have had.
            absent = [f"{r.distribution}:{r.entry_point} ({r.status})" for r in self.rows
                      if r.status != "ok" and not r.kind]
            why = f"; not loaded: {', '.join(absent)}" if absent else ""
        names = sorted({r.name for r in rows})
        alike = [one for one in names if one.lower() == name.lower()]
        hint = did_you_mean(name, names) or f"there are: {', '.join(names)}"
        if alike:
            hint = f"did you mean {' or '.join(alike)}?"
        if not names:
            hint = "none is installed"
        raise SddError(f"unknown {kind} {name!r}; {hint}{why}")

    def find(self, kind: str, name: str) -> tuple[type[Plugin], dict[str, Any]]:
        """The plugin class that a name stands for, and the option that follows a colon in it,
        where the class has such a shorthand. Raises SddError as `get` does."""
        prefix, _, rest = name.partition(":")
        if rest and prefix in self.shorthands(kind):
            plugin = self.get(kind, prefix)
            return plugin, {str(plugin.shorthand): rest}
        return self.get(kind, name), {}

    def make(self, kind: str, value: Any) -> Plugin:
        """The plugin that a name, or a table of its name and options, stands for.

        Raises SddError as `get` does, ValueError for what is neither, and pydantic's
        ValidationError for options that it does not take.
        """
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
            raise ValueError(f"expected {article(kind)}'s name, or a table with `name` and its "
                             f"options{self._not_this(kind, value)}")
        plugin, option = self.find(kind, table["name"])
        options = {key: given for key, given in table.items() if key != "name"}
        made = plugin.model_validate({**options, **option})
        if (full := self.spelling(plugin)) != plugin.name:
            made._full_name = full
        return self.complete(made)

    def _not_this(self, kind: str, value: Any) -> str:
        """What was given in place of a plugin, where it is a class or an object, and the names
        that come near."""
        if isinstance(value, Mapping | list | tuple | int | float | None):
            return ""
        given = value if isinstance(value, type) else type(value)
        got = f", got {'the class' if value is given else 'an object of'} {given.__name__}"
        names = {name.lower(): name for name in self.names(kind)}
        own = str(getattr(given, "name", given.__name__)).lower()
        hint = f"did you mean {names[own]!r}?" if own in names else did_you_mean(own, names)
        return f"{got}; {hint}" if hint else got

    def complete(self, plugin: Plugin) -> Plugin:
        """Return the plugin with those of its options that name plugins made; a table without a
        name is about the default one. Raises ValidationError."""
        made: dict[str, Plugin] = {}
        for option, kind in taken(type(plugin)).items():
            value, default = getattr(plugin, option), type(plugin).model_fields[option].default
            if isinstance(value, Mapping) and isinstance(default, str):
                value = {"name": default, **value}
            if isinstance(value, str | Mapping):
                with at(option, value):
                    made[option] = self.make(kind, value)
        return plugin.model_copy(update=made) if made else plugin

    def shorthands(self, kind: str) -> set[str]:
        """The names of the usable plugins of a kind that take an option after a colon."""
        return {r.name for r in self.rows
                if r.kind == kind and r.status == "ok" and r.plugin and r.plugin.shorthand}

    def default_metrics(self) -> tuple[Metric, ...]:
        """Every usable metric, built-in ones first; one that says so, or has an option without a
        default, has to be asked for."""
        classes = [r.plugin for r in self.rows if r.kind == "metric" and r.status == "ok"]
        return tuple(
            plugin()  # type: ignore[misc]
            for plugin in classes
            if plugin and plugin.default  # type: ignore[attr-defined]
            and not any(info.is_required() for info in plugin.model_fields.values())
        )

    def names(self, kind: str) -> list[str]:
        """Names of the usable plugins of a kind."""
        return sorted({r.name for r in self.rows if r.kind == kind and r.status == "ok"})

    def spelling(self, plugin: type[Plugin]) -> str:
        """The name by which `get` finds a plugin class: its own, or, where that means another
        one or several, with its distribution before it."""
        same = [r for r in self.rows if r.plugin and (r.kind, r.name) == (plugin.kind, plugin.name)]
        row = next((r for r in same if r.plugin is plugin), None)
        if row is None or len(same) == 1 or (row.status, row.distribution) == ("ok", DISTRIBUTION):
            return plugin.name
        return f"{row.distribution}:{row.name}"

    def origin(self, plugin: type[Plugin]) -> dict[str, str]:
        """Distribution and version that a plugin class comes from, for records."""
        row = next((r for r in self.rows if r.plugin is plugin), None)
        if row is None:
            return {"distribution": plugin.__module__, "version": "?"}
        return {"distribution": row.distribution, "version": row.version}


@contextmanager
def at(option: str, value: Any) -> Iterator[None]:
    """What is wrong with a plugin that is an option's value is wrong with that option."""
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


def load_plugins(blocked: tuple[str, ...] = ()) -> Plugins:
    """All installed plugins but those named in `blocked` or, separated by commas, in the
    environment variable SDD_NO_PLUGIN. Loaded once for each choice."""
    variable = os.environ.get(BLOCK_VARIABLE, "")
    named = filter(None, (name.strip() for name in variable.split(",")))
    return _loaded(frozenset({*blocked, *named}))


@cache
def _loaded(blocked: frozenset[str]) -> Plugins:
    plugins = Plugins(blocked)
    plugins.load(entry_points(group=GROUP))
    return plugins


def warn_of_problems(plugins: Plugins) -> None:
    """Say on standard error what is wrong with the installed plugins."""
    for problem in plugins.problems:
        warn(problem)


def _load_order(entry_point: EntryPoint) -> tuple[bool, str, str]:
    distribution = entry_point.dist.name if entry_point.dist else "?"
    return distribution != DISTRIBUTION, distribution, entry_point.name


def _spellings(row: Row) -> set[str]:
    return {row.name, f"{row.kind}:{row.name}", f"{row.distribution}:{row.name}"}


def _first_line(plugin: Any) -> str:
    # vars(): a class without a docstring must not show its base's
    doc = vars(plugin).get("__doc__") if isinstance(plugin, type) else plugin.__doc__
    return (doc or "").strip().split("\n")[0].rstrip(".")
