"""Checks of plugins: each examines one module, class or file."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sdd_core.errors import SddError
from sdd_core.plugin import hookspecs
from sdd_core.plugin.kinds import KINDS


def incompatible(module: str) -> str:
    """Return why a module does not fit this version of the hooks; '' if it fits.

    `sdd_requires` is read from the source, because a module for a later version may fail to import.
    """
    try:
        spec = importlib.util.find_spec(module)
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
        body = ast.parse(source).body
    except Exception:  # importing the module reports what is wrong with it
        return ""
    stated = next(filter(None, map(_requires, body)), "")
    try:
        fits = SpecifierSet(stated).contains(hookspecs.VERSION, prereleases=True)
    except InvalidSpecifier:
        return (f"sdd_requires = {stated!r} is not a range of versions; expected one such as "
                "\">=1,<2\"")
    return "" if fits else (f"needs hooks {stated} of sdd, but this sdd has {hookspecs.VERSION}; "
                            "install a version of the plugin or of sdd that fits")


def _requires(statement: ast.stmt) -> str:
    """Return the value of the statement `sdd_requires = ...`; '' for any other statement."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return ""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    named = any(getattr(target, "id", "") == "sdd_requires" for target in targets)
    return str(statement.value.value) if named and isinstance(statement.value, ast.Constant) else ""


def refuse_wrappers(hooks: pluggy.PluginManager, module: object) -> None:
    """Raise pluggy.PluginValidationError if a module has a hook wrapper, which would change what
    the hooks of other plugins return."""
    for caller in hooks.get_hookcallers(module) or []:
        for impl in caller.get_hookimpls():
            if impl.plugin is module and (impl.wrapper or impl.hookwrapper):
                raise pluggy.PluginValidationError(
                    module, f"{caller.name} wraps the hooks of other plugins, which is not "
                    "allowed; mark it with sdd_core.hookimpl without arguments")


def plugin_fault(plugin: Any, kind: str) -> str:
    """Return why an object is not a valid plugin class of `kind`; '' if it is."""
    base = KINDS[kind]
    if not (inspect.isclass(plugin) and issubclass(plugin, base)):
        return f"returned {plugin!r}; expected subclasses of sdd_core.{base.__name__}"
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name or any(c in name for c in ":, \t\n="):
        return f"{plugin.__name__} needs a class attribute `name` without spaces, commas or colons"
    noise = getattr(plugin, "default_noise", "none")
    if not isinstance(noise.get("name") if isinstance(noise, Mapping) else noise, str):
        return (f"{plugin.__name__} has default_noise = {noise!r}; expected the name of a label "
                "noise, or a table of its name and options")
    return ""


def read_title(file: Path) -> str | None:
    """Return the title of a recipe; None for a file of settings that recipes share. Raises SddError
    if the file cannot be read."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SddError(f"cannot read recipe {file}: {error}") from None
    return content.get("title")
