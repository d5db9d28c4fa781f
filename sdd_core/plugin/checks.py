"""What keeps a plugin out: each question about one module, class or file."""

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
    """What keeps a module out whose `sdd_requires` excludes this version of the hooks, or nothing.

    It is read from the source: a module made for a later version need not even be importable.
    """
    try:
        spec = importlib.util.find_spec(module)
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
        body = ast.parse(source).body
    except Exception:  # what is wrong with it is said when it is imported
        return ""
    stated = next(filter(None, map(_requires, body)), "")
    try:
        fits = SpecifierSet(stated).contains(hookspecs.VERSION, prereleases=True)
    except InvalidSpecifier:
        return f"sdd_requires = {stated!r} is no range of versions; expected one such as \">=1,<2\""
    return "" if fits else (f"needs hooks {stated} of sdd, these are {hookspecs.VERSION}; install "
                            "a version of the plugin or of sdd that fits")


def _requires(statement: ast.stmt) -> str:
    """What follows after `sdd_requires =`, if that is what a statement of a module is."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return ""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    named = any(getattr(target, "id", "") == "sdd_requires" for target in targets)
    return str(statement.value.value) if named and isinstance(statement.value, ast.Constant) else ""


def refuse_wrappers(hooks: pluggy.PluginManager, module: object) -> None:
    """A wrapper would decide what the hooks of the other plugins return.

    Raises pluggy.PluginValidationError where the module has one.
    """
    for caller in hooks.get_hookcallers(module) or []:
        for impl in caller.get_hookimpls():
            if impl.plugin is module and (impl.wrapper or impl.hookwrapper):
                raise pluggy.PluginValidationError(
                    module, f"{caller.name} wraps the hooks of other plugins, which none may; mark "
                    "it with sdd_core.hookimpl alone")


def plugin_fault(plugin: Any, kind: str) -> str:
    """What keeps a class from being a plugin of `kind`, or nothing."""
    base = KINDS[kind]
    if not (inspect.isclass(plugin) and issubclass(plugin, base)):
        return f"returned {plugin!r}; expected subclasses of sdd_core.{base.__name__}"
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name or any(c in name for c in ":, \t\n="):
        return f"{plugin.__name__} needs a class attribute `name` without spaces, commas or colons"
    noise = getattr(plugin, "default_noise", "none")
    if not isinstance(noise.get("name") if isinstance(noise, Mapping) else noise, str):
        return (f"{plugin.__name__} has default_noise = {noise!r}; expected a label noise's name, "
                "or a table of its name and options")
    return ""


def read_title(file: Path) -> str | None:
    """The title of a recipe; None for a file of settings that recipes share. Raises SddError."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SddError(f"cannot read recipe {file}: {error}") from None
    return content.get("title")
