"""Names of parameters, and patterns for them."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

LISTED = 6
"""The largest number of names to give in one list."""


def layer_of(name: str) -> str:
    """Return the name of a parameter's layer: `fc` for `fc.weight` and for
    `fc.parametrizations.weight.original1`."""
    head, parametrised, _ = f".{name}".partition(".parametrizations.")
    return (head if parametrised else head.rpartition(".")[0])[1:]


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern (fnmatch) matches a parameter's name or its layer's name."""
    return fnmatchcase(name, pattern) or fnmatchcase(layer_of(name), pattern)


def listed(names: Collection[object]) -> str:
    """Return names as a list in a line, of which only the first ones are given."""
    first, more = list(names)[:LISTED], len(names) - LISTED
    return ", ".join(map(str, first)) + (f" and {more} more" if more > 0 else "")
