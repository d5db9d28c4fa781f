"""Calls the observers of a run, each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from sdd_core.errors import FAILURES, SddError, format_error
from sdd_core.output.notices import warn
from sdd_core.plugin import hookspecs
from sdd_core.randomness import fork_random_state


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
                reason = " ".join(str(error).split())
                raise SddError(f"observer {_name(observer)}: {reason}") from None
            if not own.get_hookcallers(observer):
                raise SddError(f"observer {_name(observer)} has no hook of sdd's; mark its methods "
                               "with sdd_core.hookimpl")
        self._managers = (installed, own)

    def call(self, hook: str, **arguments: Any) -> None:
        """Call every implementation of a life-cycle hook. One that fails is reported by name on
        standard error; the run and the other observers go on. What it draws from torch's global
        generators, the run does not notice."""
        for manager in self._managers:
            for implementation in getattr(manager.hook, hook).get_hookimpls():
                wanted = {name: arguments[name] for name in implementation.argnames}
                try:
                    with fork_random_state():
                        implementation.function(**wanted)
                except FAILURES as error:
                    given = manager is not self._managers[0]
                    name = _name(implementation.plugin) if given else implementation.plugin_name
                    warn(f"observer {name} failed in {hook}: {format_error(error)}")


def _name(observer: object) -> str:
    return getattr(observer, "__name__", type(observer).__qualname__)
