"""Checks of retraining schedules, and of the retraining of ablations."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sdd_core.errors import SddError
from sdd_core.level.retraining import Dense, Retraining
from sdd_core.plugin.markers import hookimpl
from sdd_core.testing.call import Check, call_twice, fault, unchanged
from sdd_core.testing.fixtures import tiny_run

LEVELS = (1, 2, 3, 25)
"""The levels whose retraining is checked."""

INTERRUPTIONS = (3, 7, 9)
"""Numbers of begins and ends of levels and epochs before each interruption of a run: during the
training of the dense network, of the first level, and of the second one."""


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a schedule."""
    return Check.all(steps, hands_off, resumes, about=(plugin,))


def steps(plugin: Any) -> None:
    """It returns the start and the steps of training of each level, the same each time"""
    for dense in (one for level in LEVELS for one in dense_trainings(level)):
        found = call_twice(plugin, "retraining", partial(lambda one: (copy_of(one),), dense))
        check_retraining(plugin, found, dense)


def hands_off(plugin: Any) -> None:
    """It does not modify the record of the dense training"""
    dense = dense_trainings()[0]
    plugin.retraining(dense)
    unchanged(plugin, "retraining", "dense.learning_rates",
              dense_trainings()[0].learning_rates, dense.learning_rates)


def resumes(plugin: Any) -> None:
    """A resumed run equals an uninterrupted one bit for bit"""
    killed_and_resumed(plugin, retrain=plugin)


def dense_trainings(level: int = 1) -> list[Dense]:
    """Return dense trainings of 40 epochs with warm-up and a drop, of 7 steps and 1 step per
    epoch, for the retraining of a level."""
    rates = 0.1 * np.minimum(1, np.arange(1, 281) / 14) * np.where(np.arange(280) < 140, 1, 0.1)
    return [Dense(rates, 7, level), Dense(rates[::7].copy(), 1, level)]


def copy_of(dense: Dense) -> Dense:
    """Return a copy of a dense training."""
    return replace(dense, learning_rates=dense.learning_rates.copy())


def check_retraining(plugin: Any, found: Any, dense: Dense) -> None:
    """Raise Fault unless a level can be trained like that."""
    if not isinstance(found, Retraining):
        raise fault(plugin, f"retraining() returned {type(found).__name__}; expected a Retraining")
    try:
        found.check(plugin.name, dense, of_ablation=plugin.kind == "ablation")
    except SddError as error:
        what = str(error).removeprefix(f"retraining schedule {plugin.name!r} ")
        raise fault(plugin, f"retraining() {what}") from error
    except (TypeError, ValueError) as error:
        raise fault(plugin, f"retraining() returned fields of the wrong type: {error}") from error


def killed_and_resumed(
    plugin: Any, interruptions: tuple[int, ...] = INTERRUPTIONS, given: str = "dense", **parts: Any
) -> None:
    """Raise Fault unless a run with interruptions equals one without. given: the argument that the
    plugin may depend on, for the message."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            whole = tiny_run(folder / "whole", **parts)
            for after in interruptions:
                with suppress(_Interrupted):
                    tiny_run(folder / "resumed", observers=(_Interruption(after),), **parts)
            resumed = tiny_run(folder / "resumed", **parts)
        except SddError as error:
            raise fault(plugin, f"stops a run: {error}") from error
        one, other = (
            {
                str(file.relative_to(run.folder)): file.read_bytes()
                for file in sorted(run.folder.rglob("*"))
                if file.is_file() and file.name != ".lock"
            }
            for run in (whole, resumed)
        )
        differ = sorted(file for file in one.keys() | other.keys()
                        if one.get(file) != other.get(file))
        if differ:
            raise fault(plugin, "makes a resumed run differ from an uninterrupted one "
                                f"({differ[0]} differs); let it depend only on its options and "
                                f"`{given}`")


class _Interrupted(BaseException):
    """An interruption that acts like a kill, because the run does not catch it."""


class _Interruption:
    """An observer that interrupts a run after a number of events."""

    def __init__(self, after: int) -> None:
        self._left = after

    def _happened(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise _Interrupted

    @hookimpl
    def sdd_level_start(self) -> None:
        self._happened()

    @hookimpl
    def sdd_epoch_start(self) -> None:
        self._happened()

    @hookimpl
    def sdd_epoch_end(self) -> None:
        self._happened()

    @hookimpl
    def sdd_level_end(self) -> None:
        self._happened()
