"""Checks of sparsity schedules."""

from __future__ import annotations

from functools import partial
from typing import Any

from sdd_core.testing.call import Check, call, call_twice, fault

USUAL = 25


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a sparsity schedule."""
    return Check.all(grows, deterministic, about=(plugin,))


def grows(plugin: Any) -> None:
    """Each level has a sparsity between 0 and 1, no less than the one before"""
    before = 0.0
    for level in range(1, _count(plugin) + 1):
        found = call(plugin, "sparsity", level)
        if not isinstance(found, int | float) or not 0 <= found < 1:
            raise fault(plugin, f"sparsity() gives {found!r} at level {level}; expected a number "
                                "from 0 to less than 1")
        if found < before:
            raise fault(plugin, f"sparsity() gives {found:g} at level {level} after {before:g}; "
                                "pruned weights never come back")
        before = found
    if before == 0:
        raise fault(plugin, "prunes nothing at any level")


def deterministic(plugin: Any) -> None:
    """A level's sparsity does not depend on earlier calls"""
    for level in (1, _count(plugin)):
        call_twice(plugin, "sparsity", partial(tuple[int], [level]))


def _count(plugin: Any) -> int:
    count = call(plugin, "levels")
    if count is not None and (not isinstance(count, int) or count < 1):
        raise fault(plugin, f"levels() gives {count!r}; expected a whole number from 1, or None")
    return count or USUAL
