"""Discovery of plugins: find, load and check each one; a plugin that fails affects no other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from sdd_core.errors import FAILURES, SddError, did_you_mean, format_error
from sdd_core.installation import DISTRIBUTION
from sdd_core.output.notices import warn
from sdd_core.plugin import hookspecs
from sdd_core.plugin.checks import incompatible, plugin_fault, read_title, refuse_wrappers
from sdd_core.plugin.kinds import KINDS, Plugin
from sdd_core.plugin.registry import PluginRecord, Registry, Status

GROUP = "sdd"
BLOCK_VARIABLE = "SDD_NO_PLUGIN"

REGISTRATION_HOOKS = {kind.hook: name for name, kind in KINDS.items()}
RECIPES = "sdd_recipes"


class Plugins(Registry):
    """The installed plugins. Each is loaded and checked on its own; failures are recorded."""

    def __init__(self, blocked: Iterable[str] = ()) -> None:
        super().__init__()
        self.hooks = pluggy.PluginManager("sdd")
        self.hooks.add_hookspecs(hookspecs)
        self.recipe_files: list[Path] = []
        self.blocked = tuple(sorted(blocked))
        self._blocked = set(self.blocked)
        self._unused_blocks = set(self._blocked)

    def __repr__(self) -> str:
        states = Counter(row.status for row in self.rows)
        return f"<Plugins: {', '.join(f'{count} {state}' for state, count in states.items())}>"

    def load(self, found: Iterable[EntryPoint]) -> None:
        """Load entry points, each on its own. This distribution's come first, then the others by
        distribution and name, so that the order of installation does not matter."""
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
                reason = f"import failed: {format_error(error)}"
                self._add("", entry_point.name, "", origin, "failed", reason)
                continue
            self.register(module, *origin)

    def register(self, module: object, distribution: str, version: str, entry_point: str) -> None:
        """Register a module of hook implementations and the plugin classes that they return.
        A module or class that fails is recorded with the reason."""
        origin = (distribution, version, entry_point)
        identity = f"{distribution}:{entry_point}"
        if self.hooks.has_plugin(identity):
            reason = f"{distribution} has two entry points {entry_point!r}"
            self._add("", entry_point, "", origin, "failed", reason)
            return
        try:
            self.hooks.register(module, name=identity)
            self.hooks.check_pending()
            refuse_wrappers(self.hooks, module)
        except Exception as error:  # PluginValidationError, or anything that the object raises
            if self.hooks.has_plugin(identity):
                self.hooks.unregister(name=identity)
            self._add("", entry_point, "", origin, "failed", format_error(error))
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
            reason = f"{hook} failed: {format_error(error)}"
            self._add(kind, origin[2], "", origin, "failed", reason)
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
                first = next(
                    (r for r in self.rows if (r.kind, r.name, r.status) == (kind, name, "ok")), None
                )
                self._add(kind, name, _first_line(plugin), origin, plugin=plugin)
                if first:
                    reason = (
                        f"the name {name!r} is taken by {first.distribution}; "
                        f"use {origin[0]}:{name} for this one"
                    )
                    self.rows[-1] = PluginRecord(
                        **{**self.rows[-1].__dict__, "status": "failed", "reason": reason}
                    )

    def _take_recipes(self, module: Any, origin: tuple[str, str, str]) -> None:
        try:
            files = [Path(file) for file in module.sdd_recipes()]
        except Exception as error:
            reason = f"{RECIPES} failed: {format_error(error)}"
            self._add("recipe", origin[2], "", origin, "failed", reason)
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
        row = PluginRecord(
            kind, name, description, distribution, version, entry_point, status, reason, plugin
        )
        self.rows.append(row)

    @property
    def problems(self) -> list[str]:
        """One line for each failed or incompatible plugin and each blocked name that is unknown."""
        failed = [
            f"plugin {row.name!r} of {row.distribution} {row.version}: {row.reason}"
            for row in self.rows
            if row.status in {"failed", "incompatible"}
        ]
        unused = [f"no plugin is called {name!r}, so none was blocked" for name in
                  sorted(self._unused_blocks)]
        return failed + unused

    def check_blocked(self, names: Iterable[str]) -> None:
        """Raise SddError, with the nearest names, if no plugin has one of the blocked `names`."""
        for name in names:
            if name in self._unused_blocks:
                known = {one for row in self.rows for one in (row.name, row.entry_point)}
                hint = did_you_mean(name, known) or "`sdd list-plugins` lists them"
                raise SddError(f"no plugin is called {name!r}, so it cannot be blocked; {hint}")


def load_plugins(blocked: tuple[str, ...] = ()) -> Plugins:
    """Return all installed plugins except those named in `blocked` or, separated by commas, in the
    environment variable SDD_NO_PLUGIN. The result is cached for each set of blocked names."""
    variable = os.environ.get(BLOCK_VARIABLE, "")
    named = filter(None, (name.strip() for name in variable.split(",")))
    return _loaded(frozenset({*blocked, *named}))


@cache
def _loaded(blocked: frozenset[str]) -> Plugins:
    plugins = Plugins(blocked)
    plugins.load(entry_points(group=GROUP))
    return plugins


def warn_of_problems(plugins: Plugins) -> None:
    """Print one line on standard error for each problem of the installed plugins."""
    for problem in plugins.problems:
        warn(problem)


def _load_order(entry_point: EntryPoint) -> tuple[bool, str, str]:
    distribution = entry_point.dist.name if entry_point.dist else "?"
    return distribution != DISTRIBUTION, distribution, entry_point.name


def _first_line(plugin: Any) -> str:
    # vars(): a class without a docstring must not show that of its base class.
    doc = vars(plugin).get("__doc__") if isinstance(plugin, type) else plugin.__doc__
    return (doc or "").strip().split("\n")[0].rstrip(".")
