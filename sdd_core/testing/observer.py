"""Checks of observers: modules or objects with life-cycle hooks."""

from __future__ import annotations

import inspect
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pluggy

from sdd_core.plugin import hookspecs
from sdd_core.plugin.markers import hookimpl
from sdd_core.testing.call import Check, Fault, call, global_seed
from sdd_core.testing.fixtures import tiny_run


def checks(observer: object) -> list[Check]:
    """Return the checks of an observer."""
    return Check.all(hooks, listens, about=(observer,))


def hooks(observer: object) -> None:
    """Its hooks exist in sdd and have known arguments"""
    manager = pluggy.PluginManager("sdd")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(observer)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise _fault(observer, str(error)) from error
    if not manager.get_hookcallers(observer):
        raise _fault(observer, "has no hook of sdd's; mark its functions with sdd_core.hookimpl")


def listens(observer: object) -> None:
    """It receives a complete run without raising or drawing from a global generator"""
    manager = pluggy.PluginManager("sdd")
    manager.add_hookspecs(hookspecs)
    manager.register(observer)
    # The events are replayed after the run, because during it an error is only a warning.
    with TemporaryDirectory() as folder:
        log = _Log()
        tiny_run(Path(folder), observers=(log,))
        for hook, arguments in log.heard:
            for implementation in getattr(manager.hook, hook).get_hookimpls():
                wanted = {name: arguments[name] for name in implementation.argnames}
                with global_seed(1):
                    call(_Named(observer, implementation.function), hook, *wanted.values())


class _Named:
    """An observer's hook in the form that `call` expects."""

    kind = "observer"

    def __init__(self, observer: object, function: Any) -> None:
        self.__name__ = self.name = _name(observer)
        self._function = function

    def __getattr__(self, hook: str) -> Any:
        return self._function


class _Log:
    """An observer that records the events of a run."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []

    @hookimpl
    def sdd_run_start(self, run: Any) -> None:
        self.heard.append(("sdd_run_start", {"run": run}))

    @hookimpl
    def sdd_level_start(self, run: Any, level: Any, epochs: Any) -> None:
        self.heard.append(("sdd_level_start", {"run": run, "level": level, "epochs": epochs}))

    @hookimpl
    def sdd_wait(self, run: Any, reason: Any) -> None:
        self.heard.append(("sdd_wait", {"run": run, "reason": reason}))

    @hookimpl
    def sdd_epoch_start(self, run: Any, level: Any, epoch: Any) -> None:
        self.heard.append(("sdd_epoch_start", {"run": run, "level": level, "epoch": epoch}))

    @hookimpl
    def sdd_epoch_end(self, run: Any, level: Any, epoch: Any) -> None:
        self.heard.append(("sdd_epoch_end", {"run": run, "level": level, "epoch": epoch}))

    @hookimpl
    def sdd_level_end(self, run: Any, level: Any) -> None:
        self.heard.append(("sdd_level_end", {"run": run, "level": level}))

    @hookimpl
    def sdd_run_end(self, run: Any, result: Any) -> None:
        self.heard.append(("sdd_run_end", {"run": run, "result": result}))


def _fault(observer: object, what: str) -> Fault:
    return Fault(f"observer {_name(observer)!r}: {' '.join(what.split())}")


def _name(observer: object) -> str:
    return observer.__name__ if inspect.ismodule(observer) else type(observer).__qualname__
