"""Checks of learning-rate schedules."""

from __future__ import annotations

from typing import Any

from sdd_core.errors import SddError
from sdd_core.testing.call import Check, call, call_twice, fault
from sdd_core.training.learning_rates import checked_factors

STEPS = (1, 2, 7, 480)


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a learning-rate schedule."""
    return Check.all(factors, deterministic, about=(plugin,))


def factors(plugin: Any) -> None:
    """A factor of 0 or more for every step of a training, however long; not all of them 0"""
    for steps in STEPS:
        found = call(plugin, "factors", steps)
        try:
            checked_factors(plugin, steps, found)
        except SddError as error:
            raise fault(plugin, str(error).removeprefix(f"decay {plugin.name!r} ")) from error
        if not found.any():
            raise fault(plugin, f"factors() are all 0 over {steps} step(s); nothing would train")


def deterministic(plugin: Any) -> None:
    """Equal trainings have equal factors"""
    call_twice(plugin, "factors", lambda: (STEPS[-1],))
