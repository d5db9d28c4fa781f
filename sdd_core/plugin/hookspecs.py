"""What can be extended: the hooks that `sdd` calls.

A plugin is a module (or any object) that an entry point of the group `sdd` names. It marks the
hooks it implements with `sdd_core.hookimpl`, under the names below:

    from sdd_core import Pruner, hookimpl

    class Snip(Pruner):
        "Connection sensitivity |g * w|."
        name = "snip"
        def scores(self, level): ...

    @hookimpl
    def sdd_pruners():
        return [Snip]

Each kind of plugin (`sdd_core.plugin.kinds`) has a hook without arguments. It returns classes, so
that registering is atomic and each class can be tested without `sdd`.

The other hooks are for observers (progress, trackers, reports). What they return is ignored. One
that fails is reported by name, while the run and the other observers go on. An implementation may
leave out arguments that it does not need.

A command under `sdd` is no hook but an entry point of the group `sdd.commands`, which is imported
when the command is used.

A plugin says for which versions of these hooks it was made, in its module: `sdd_requires =
">=1,<2"`. Outside of that range it is left out, and listed with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from sdd_core.plugin.kinds import KINDS, Plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sdd_core.level.level import Epoch
    from sdd_core.level.result import LevelResult
    from sdd_core.plugin.run import ResultView, Run

VERSION = "1.0"
"""Of the hooks and the base classes of plugins. The first number grows when a plugin that works
may stop working, the second when there is something new (see docs/contract.md)."""

hookspec = pluggy.HookspecMarker("sdd")


def _registration(kind: type[Plugin]) -> Callable[[], list[type[Plugin]]]:
    def hook() -> list[type[Plugin]]:
        raise NotImplementedError

    hook.__name__ = hook.__qualname__ = kind.hook
    hook.__doc__ = f"Return the classes of {kind.title.lower()}, see `sdd_core.{kind.__name__}`."
    return hookspec(hook)


# One hook for each kind of plugin: sdd_pruners, sdd_schedules, sdd_metrics, ...
globals().update({kind.hook: _registration(kind) for kind in KINDS.values()})


@hookspec
def sdd_recipes() -> list[Path]:
    """Files with recipes, `sdd reproduce NAME` (see `sdd_core.reproduce.recipes`); and beside them
    `scales.toml`."""
    raise NotImplementedError


@hookspec
def sdd_run_start(run: Run) -> None:
    """A run begins, or goes on: `run` has the experiment and its folder."""


@hookspec
def sdd_level_start(run: Run, level: int, epochs: int) -> None:
    """Training of `level` begins and will take `epochs`. Not called for a level that exists."""


@hookspec
def sdd_epoch_start(run: Run, level: int, epoch: int) -> None:
    """Epoch `epoch` (counted from 1) of `level` begins."""


@hookspec
def sdd_epoch_end(run: Run, level: int, epoch: Epoch) -> None:
    """An epoch of `level` has been trained and tested."""


@hookspec
def sdd_level_end(run: Run, level: LevelResult) -> None:
    """A level is there with its metrics, just trained or found in the store."""


@hookspec
def sdd_run_end(run: Run, result: ResultView) -> None:
    """All levels are there."""
