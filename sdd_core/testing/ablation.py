"""Checks of ablations."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from sdd_core.errors import SddError
from sdd_core.level.retraining import Dense, Retraining
from sdd_core.pruning import prune
from sdd_core.testing.call import Check, call, call_twice, fault, same, unchanged
from sdd_core.testing.fixtures import TinySchedule, contents, levels, make_level, view_of
from sdd_core.testing.retrain import (
    check_retraining,
    copy_of,
    dense_trainings,
    killed_and_resumed,
)

EXEMPT = ("6.weight",)


def checks(plugin: Any) -> list[Check]:
    """Return the checks of an ablation."""
    return Check.all(masks, steps, hands_off, resumes, about=(plugin,))


def masks(plugin: Any) -> None:
    """It returns masks of the right names and shapes, with exempt layers unchanged"""
    for level in levels().values():
        found = call_twice(plugin, "masks", partial(lambda one: (view_of(one, EXEMPT),), level))
        try:
            found = prune.check_masks(found, level.masks, f"ablation {plugin.name!r}")
        except SddError as error:
            raise fault(plugin, str(error).removeprefix(f"ablation {plugin.name!r} ")) from error
        if not same(found[EXEMPT[0]], level.masks[EXEMPT[0]]):
            raise fault(plugin, f"masks() changes the exempt layer {EXEMPT[0]!r}")


def steps(plugin: Any) -> None:
    """It returns the start and the steps of training, the same each time"""
    for level in (1, 3):
        for dense in dense_trainings(level):
            given = partial(lambda one, level: (copy_of(one), _usual(one), level), dense, level)
            found = call_twice(plugin, "retraining", given)
            check_retraining(plugin, found, dense)


def hands_off(plugin: Any) -> None:
    """It does not modify its inputs"""
    view = view_of(make_level(0.5, 1))
    before = contents(view)
    call(plugin, "masks", view)
    for what, after in contents(view).items():
        unchanged(plugin, "masks", what, before[what], after)
    dense, usual = dense_trainings()[0], _usual(dense_trainings()[0])
    call(plugin, "retraining", dense, usual, 1)
    unchanged(plugin, "retraining", "the dense training", dense_trainings()[0], dense)
    unchanged(plugin, "retraining", "the schedule's retraining", _usual(dense), usual)


def resumes(plugin: Any) -> None:
    """A resumed run equals an uninterrupted one bit for bit"""
    killed_and_resumed(plugin, ablation=plugin)


def _usual(dense: Dense) -> Retraining:
    found = TinySchedule().retraining(dense)
    return replace(found, learning_rates=found.learning_rates.copy())
