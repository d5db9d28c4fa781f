"""Checks of executors."""

from __future__ import annotations

from typing import Any

from sdd_core.errors import SddError
from sdd_core.testing.call import Check, fault


def checks(plugin: Any) -> list[Check]:
    """Return the checks of an executor."""
    return Check.all(tasks, about=(plugin,))


def tasks(plugin: Any) -> None:
    """Its workers execute tasks and pass on their errors"""
    try:
        pool = plugin.open(2)
    except SddError as error:
        raise fault(plugin, f"has no workers: {error}") from error
    try:
        numbers = [pool.submit(_ratio, 12, number) for number in range(1, 5)]
        wrong = pool.submit(_refuse, "too sparse")
        if [number.result(120) for number in numbers] != [12, 6, 4, 3]:
            raise fault(plugin, "gives other results than the tasks have")
        raised = wrong.exception(120)
        if not isinstance(raised, SddError) or "too sparse" not in str(raised):
            raise fault(plugin, f"turns a task's SddError into {raised!r}")
    finally:
        pool.shutdown()


def _ratio(one: int, other: int) -> float:
    return one / other


def _refuse(reason: str) -> None:
    raise SddError(reason)
