"""Calls of a run's observers, each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from sdd_core.errors import FAILURES, SddError, format_error
from sdd_core.output.notices import warn
from sdd_core.plugin import hookspecs
from sdd_core.randomness import fork_random_state


class Observers:
    """The installed plugins that observe runs, and the observers of one run.

    Raises SddError if an observer of the run is invalid or has no hook.
    """

    def __init__(self, installed: pluggy.PluginManager, observers: Sequence[object]) -> None:
        of_run = pluggy.PluginManager("sdd")
        of_run.add_hookspecs(hookspecs)
        for observer in observers:
            try:
                of_run.register(observer)
                of_run.check_pending()
            except (pluggy.PluginValidationError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise SddError(f"observer {_name(observer)}: {reason}") from None
            if not of_run.get_hookcallers(observer):
                raise SddError(f"observer {_name(observer)} has no hook of sdd's; mark its methods "
                               "with sdd_core.hookimpl")
        self._installed, self._of_run = installed, of_run

    def call(self, hook: str, **arguments: Any) -> None:
        """Call every implementation of a life-cycle hook.

        An observer that fails is reported by name on standard error; the run and the other
        observers continue. Draws from torch's global generators do not affect the run.
        """
        for manager in (self._installed, self._of_run):
            for implementation in getattr(manager.hook, hook).get_hookimpls():
                wanted = {name: arguments[name] for name in implementation.argnames}
                try:
                    with fork_random_state():
                        implementation.function(**wanted)
                except FAILURES as error:
                    name = (implementation.plugin_name if manager is self._installed
                            else _name(implementation.plugin))
                    warn(f"observer {name} failed in {hook}: {format_error(error)}")


def _name(observer: object) -> str:
    return getattr(observer, "__name__", type(observer).__qualname__)
