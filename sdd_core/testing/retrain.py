"""What is asked of retraining schedules, and of ablations where they retrain."""

from __future__ import annotations

from contextlib import suppress
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

INTERRUPTIONS = (3, 7, 9)
"""After how many levels and epochs that begin or end a run is interrupted, and then again: in the
dense network's training, in the first level's, and in the second's."""


def checks(plugin: Any) -> list[Check]:
    """The checks of a schedule."""
    return Check.all(steps, hands_off, resumes, about=(plugin,))


def steps(plugin: Any) -> None:
    """It says where to start and which steps to train, the same whenever it is asked"""
    for dense in dense_trainings():
        found = call_twice(plugin, "retraining", partial(lambda one: (copy_of(one),), dense))
        check_retraining(plugin, found, dense)


def hands_off(plugin: Any) -> None:
    """It changes nothing of how the dense network trained"""
    dense = dense_trainings()[0]
    plugin.retraining(dense)
    unchanged(plugin, "retraining", "dense.learning_rates",
              dense_trainings()[0].learning_rates, dense.learning_rates)


def resumes(plugin: Any) -> None:
    """A run that is interrupted and goes on ends bit for bit as one that was not"""
    killed_and_resumed(plugin, retrain=plugin)


def dense_trainings() -> list[Dense]:
    """Dense trainings of 40 epochs, with drops and warm-up, of some batches and of one each."""
    rates = 0.1 * np.minimum(1, np.arange(1, 281) / 14) * np.where(np.arange(280) < 140, 1, 0.1)
    return [Dense(rates, 7), Dense(rates[::7].copy(), 1)]


def copy_of(dense: Dense) -> Dense:
    """The same training in an array of its own."""
    return Dense(dense.learning_rates.copy(), dense.steps_per_epoch)


def check_retraining(plugin: Any, found: Any, dense: Dense) -> None:
    """Raises Fault unless a level can train so."""
    if not isinstance(found, Retraining):
        raise fault(plugin, f"retraining() returned {type(found).__name__}; expected a Retraining")
    try:
        found.check(plugin.name, dense, of_ablation=plugin.kind == "ablation")
    except SddError as error:
        what = str(error).removeprefix(f"retraining schedule {plugin.name!r} ")
        raise fault(plugin, f"retraining() {what}") from error
    except (TypeError, ValueError) as error:
        raise fault(plugin, f"retraining() returned fields of the wrong type: {error}") from error


def killed_and_resumed(plugin: Any, **parts: Any) -> None:
    """Raises Fault unless a run of these parts is the same with interruptions as without."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            whole = tiny_run(folder / "whole", **parts)
            for after in INTERRUPTIONS:
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
            raise fault(plugin, f"makes a run that was interrupted end otherwise ({differ[0]} "
                                "differs); let it depend on its options and `dense` alone")


class _Interrupted(BaseException):
    """What a kill leaves behind, this does: nothing that the run does catches it."""


class _Interruption:
    """Interrupts a run."""

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
