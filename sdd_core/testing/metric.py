"""Checks of metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from sdd_core.data.plain import finite, plain
from sdd_core.testing.call import Check, call, call_twice, fault, unchanged
from sdd_core.testing.fixtures import contents, devices, levels, make_level, view_of


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a metric; those of one that is not reproducible leave out whether equal
    levels have equal values."""
    reproducible = (determinism,) if plugin.reproducible else ()
    return Check.all(values, hands_off, *reproducible, about=(plugin,))


def values(plugin: Any) -> None:
    """Finite numbers, None, or such a number for each layer, under the same names at every level"""
    for device in devices():
        usual: set[str] | None = None
        for which, level in levels().items():
            found = call(plugin, "measure", view_of(level, device=device))
            _check_values(plugin, found, which)
            usual = set(found) if usual is None else usual
            for odd in sorted(usual ^ set(found)):
                where = f"not on {which}, as on others" if odd in usual else f"only on {which}"
                raise fault(plugin, f"gives {odd!r} {where}; return None for a missing number")


def _check_values(plugin: Any, found: Any, which: str) -> None:
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise fault(plugin, f"measure() returned {type(found).__name__}; expected a mapping from "
                            "names to values")
    for name, value in found.items():
        try:
            as_kept = plain(value)
            json.dumps(finite(as_kept), allow_nan=False)
        except Exception as error:
            raise fault(plugin, f"gives {name!r} a value that JSON cannot hold: {error}") from error
        if finite(as_kept) != as_kept:
            raise fault(plugin, f"gives {name!r} a value that is not finite, on {which}; return "
                                "None for a missing number")


def hands_off(plugin: Any) -> None:
    """It does not modify its inputs: weights, masks, data"""
    view = view_of(make_level(0.5, 1))
    before = contents(view)
    call(plugin, "measure", view)
    for what, after in contents(view).items():
        unchanged(plugin, "measure", what, before[what], after)


def determinism(plugin: Any) -> None:
    """Equal levels have equal values, and it draws only from level.generator"""
    for level in (make_level(), make_level(0.5, 1)):
        call_twice(plugin, "measure", partial(lambda one: (view_of(one),), level))
