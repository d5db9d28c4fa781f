"""The hooks that `sdd` calls: everything that can be extended.

A plugin is a module (or any object) named by an entry point of the group `sdd`. It implements hooks
under the names below and marks them with `sdd_core.hookimpl`:

    from sdd_core import Pruner, hookimpl

    class Snip(Pruner):
        "Connection sensitivity |g * w|."
        name = "snip"
        def scores(self, level): ...

    @hookimpl
    def sdd_pruners():
        return [Snip]

Each kind of plugin (`sdd_core.plugin.kinds`) has one hook without arguments. It returns classes, so
registration is atomic and each class can be tested without `sdd`.

The other hooks are for observers (progress, trackers, reports). Their results are ignored. If an
observer fails, it is reported by name; the run and the other observers continue. An implementation
may omit arguments that it does not need. The hooks are called one at a time, in the order in which
things happened. While the files of a level are being written, the hooks that follow wait, so that
`sdd_level_start` and those of epochs may come a little late; if a write fails, they are not called.

A subcommand of `sdd` is not a hook but an entry point of the group `sdd.commands`, which is
imported when the command is used.

A plugin's module states the versions of these hooks that it supports: `sdd_requires = ">=1,<2"`.
With any other version the plugin is not loaded; `sdd list-plugins` shows the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from sdd_core.plugin.kinds import KINDS, Plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sdd_core.level.result import Epoch, LevelResult
    from sdd_core.plugin.run import ResultView, Run

VERSION = "1.1"
"""The version of the hooks and of the plugins' base classes. The first number increases when a
working plugin may stop working, the second when something is added (see docs/contract.md)."""

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
    """Return the files of recipes for `sdd reproduce NAME` (see `sdd_core.reproduce.recipes`), and
    of `scales.toml`."""
    raise NotImplementedError


@hookspec
def sdd_run_start(run: Run) -> None:
    """Called when a run starts or is resumed. `run` has the experiment and its folder."""


@hookspec
def sdd_level_start(run: Run, level: int, epochs: int) -> None:
    """Called before `level` is trained for `epochs`; not called for a level that is reused."""


@hookspec
def sdd_wait(run: Run, reason: str) -> None:
    """Called before a run waits for something other than its training. `reason` says for what in a
    few words, such as "compiling kernels"."""


@hookspec
def sdd_epoch_start(run: Run, level: int, epoch: int) -> None:
    """Called before epoch `epoch` (counted from 1) of `level`."""


@hookspec
def sdd_epoch_end(run: Run, level: int, epoch: Epoch) -> None:
    """Called after an epoch of `level` has been trained and tested."""


@hookspec
def sdd_level_end(run: Run, level: LevelResult) -> None:
    """Called when a level and its metrics are complete and on the disk, whether it was trained or
    reused. The next level may be training already; its hooks are called after this one.

    For this reason it cannot run the same experiment, or one that shares levels with it, in the
    same store: that run would wait for the level that is being trained, and is refused. Use another
    store, or `sdd_run_end`."""


@hookspec
def sdd_run_end(run: Run, result: ResultView) -> None:
    """Called when all levels are complete and on the disk."""
