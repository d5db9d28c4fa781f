"""Calls the observers of a run, each on its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pluggy

from sdd_core import hookspecs
from sdd_core.errors import SddError


class Observers:
    """The observers among the installed plugins, and those that were given for one run."""

    def __init__(self, installed: pluggy.PluginManager, given: Sequence[object]) -> None:
        own = pluggy.PluginManager("sdd")
        own.add_hookspecs(hookspecs)
        for observer in given:
            try:
                own.register(observer)
                own.check_pending()
            except (pluggy.PluginValidationError, ValueError) as error:
                raise SddError(f"observer {observer!r}: {error}") from None
        self._managers = (installed, own)

    def call(self, hook: str, **arguments: Any) -> None:
        """Call every implementation of a life-cycle hook. One that fails is reported by name on
        standard error; the run and the other observers go on."""
        for manager in self._managers:
            for implementation in getattr(manager.hook, hook).get_hookimpls():
                wanted = {name: arguments[name] for name in implementation.argnames}
                try:
                    implementation.function(**wanted)
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    print(f"sdd: warning: {implementation.plugin_name} failed in {hook}: {reason}",
                          file=sys.stderr)
